"""The results folder: shards that are either finished or absent, one writer, one configuration."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gendesign.errors import SettingsError, UserError
from gendesign.processes.children import PRIVATE
from gendesign.run.settings import flatten

SUMMARY = "summary.json"
LOCK = ".lock"
COUNT = "settings.n"  # of a run's identity: how many candidates it is asked for
BEGUN = "shards/.*.begun/*.json"  # steps that shards under way have kept


@dataclass(frozen=True)
class Folder:
    """An opened results folder of the run with this identity (resolved settings, input files, weights).

    grown: the smaller numbers of candidates that the run was asked for earlier.
    """

    path: Path
    identity: dict[str, Any]
    grown: tuple[int, ...] = ()

    def shard(self, number: int) -> Path:
        """The folder of a finished shard."""
        return self.path / "shards" / f"{number:05d}"

    def finished(self, number: int) -> bool:
        """Whether a shard is finished."""
        return self.shard(number).is_dir()

    def begun(self, number: int) -> Path:
        """The folder with the steps of an unfinished shard."""
        return self.path / "shards" / f".{number:05d}.begun"

    def write_shard(self, number: int, write: Callable[[Path], object]) -> None:
        """`write(folder)` fills a temporary folder, which is fsynced and renamed: the shard is complete or absent."""
        final = self.shard(number)
        temporary = final.with_name(f".{final.name}.partial")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        temporary.rename(final)
        _sync(final.parent)
        shutil.rmtree(self.begun(number), ignore_errors=True)

    def replace(self, name: str, write: Callable[[Path], object]) -> None:
        """`write(path)` makes a file at the top anew; a reader finds the old content or the new, never a part."""
        temporary = self.path / f".{name}.partial"
        try:
            write(temporary)
            _sync(temporary)
            temporary.replace(self.path / name)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # on a full disk its part would take the room
            raise


def check_folder(path: Path, identity: dict[str, Any]) -> None:
    """Raise SettingsError for a folder without write permission, with other files, or with another run."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise SettingsError(f"output={path}: {existing} is a file; give the name of a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingsError(f"output={path}: {existing} is not writable; give another folder")
    if existing != path:
        return
    if not (path / SUMMARY).is_file():
        if any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise SettingsError(f"output={path} holds other files and no {SUMMARY}; give a new or empty folder")
        return
    _compare(path, identity)


@contextmanager
def open_folder(path: Path, identity: dict[str, Any], kept: str = "shards/[0-9]*") -> Iterator[Folder]:
    """Create or reopen a results folder and hold its lock; raises SettingsError as `check_folder` does.

    An error removes the folder if it holds nothing that matches the glob `kept`. Steps of an unfinished shard keep it
    as well, unless the error asks for other settings, for which these steps are useless.
    """
    check_folder(path, identity)
    before = {entry.name for entry in path.iterdir()} if path.exists() else None
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / LOCK, "w")  # noqa: SIM115 - held open, and so locked, until the run ends
    except OSError as error:
        raise SettingsError(f"output={path} cannot be created ({error.strerror}); give another folder") from None
    with lock:
        try:
            # The kernel drops this lock when the process dies, kill -9 included: no stale locks to clean up.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"output={path} is in use by another process; wait for it or stop it") from None
        PRIVATE.add(lock)
        try:
            grown = _growth(path, identity)
            folder = Folder(path, json.loads(json.dumps(identity)), grown)
            if not (path / SUMMARY).is_file() or grown != _read_summary(path).get("grown", ()):
                content = {"identity": identity, "grown": grown}
                folder.replace(SUMMARY, lambda file: file.write_text(to_json(content)))
            yield folder
        except Exception as error:
            patterns = [kept] if _asks_for_other_settings(error) else [kept, BEGUN]
            if not any(match for pattern in patterns for match in path.glob(pattern)):
                with suppress(OSError):  # a disk that is read-only by now
                    _empty(path, before)
            raise
        finally:
            PRIVATE.discard(lock)


def _asks_for_other_settings(error: Exception) -> bool:
    """Whether other settings would mend the error; a full disk is a UserError that they would not mend."""
    return isinstance(error, UserError) and not isinstance(error.__cause__, OSError)


def to_json(content: Any) -> str:
    """Indented JSON with a fixed order."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / SUMMARY).read_text())
        return {**content, "identity": dict(content["identity"]), "grown": tuple(content.get("grown", ()))}
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"output={path}: its {SUMMARY} cannot be read; give another folder") from None


def _growth(path: Path, identity: dict[str, Any]) -> tuple[int, ...]:
    """The smaller numbers of candidates that a folder was asked for earlier, whose shards stay as they are."""
    if not (path / SUMMARY).is_file():
        return ()
    before = _read_summary(path)
    n, wanted = (content.get("settings", {}).get("n") for content in (before["identity"], identity))
    begun = any(path.glob("shards/[0-9]*")) or any(path.glob(BEGUN))
    return (*before["grown"], n) if n is not None and wanted != n and begun else before["grown"]


def _compare(path: Path, identity: dict[str, Any]) -> None:
    """Raise SettingsError where the run in the folder has another identity; a larger `n` is a run that grows."""
    before = flatten(_read_summary(path)["identity"])
    now = flatten(json.loads(json.dumps(identity)))
    if identity.get("weights") is None:  # the first check runs before the model is loaded
        now["weights"] = before.get("weights")
    n, wanted = before.get(COUNT), now.get(COUNT)
    if isinstance(n, int) and isinstance(wanted, int):
        if wanted < n:
            raise SettingsError(
                f"output={path} holds a run of n={n}, now n={wanted}: give n={n} or more, or another output"
            )
        before[COUNT] = wanted  # a run may grow
    different = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if different:
        shown = "; ".join(_difference(key, before.get(key), now.get(key)) for key in different[:4])
        more = f" and {len(different) - 4} more" if len(different) > 4 else ""
        unfinished = any(path.glob(BEGUN)) and not any(path.glob("shards/[0-9]*"))
        instead = "another output" + (", or remove the folder, where no shard is finished" if unfinished else "")
        raise SettingsError(f"output={path} holds a run with other settings ({shown}{more}); give {instead}")


def _empty(path: Path, before: set[str] | None) -> None:
    """Remove what a run without a finished shard has written, so that the same folder takes other settings.

    Entries that the folder had `before` stay, except those of an earlier run; None: there was no folder before.
    """
    for entry in path.iterdir():
        if entry.name in (before or ()) and entry.name not in ("shards", SUMMARY, LOCK):
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if before is None:
        path.rmdir()


def _difference(key: str, before: Any, now: Any) -> str:
    if key == "weights":
        return "the weights of the potential have changed"
    if key.startswith("files."):
        name = key.removeprefix("files.")
        return f"{name} has changed" if before and now else f"{name} was {'not ' if now else ''}read before"
    return f"{key.removeprefix('settings.')} was {before}, now {now}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
