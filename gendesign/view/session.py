"""What a server holds: the scene, its structures, the runs and the folders that are open."""

import asyncio
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from gendesign.errors import UserError
from gendesign.structure.files import write_atomically
from gendesign.structure.types import Candidate
from gendesign.view.client import Warm
from gendesign.view.events import Events
from gendesign.view.jobs import Jobs
from gendesign.view.results import Results
from gendesign.view.scene import Scene, new_structure
from gendesign.view.settings import VERBS
from gendesign.view.structures import Store, to_atoms, to_json
from gendesign.view.words import Inputs, generate_words, prior_words, shown_path, structure_words

UPLOADS = (".xyz", ".extxyz", ".sdf", ".sd", ".mol", ".cif", ".pdb", ".ent", ".vasp", ".stl", ".obj", ".ply", ".txt",
           ".csv", ".dat", ".npy", ".mol2", ".cube", ".gen", ".xsf")  # fmt: skip
FIRST = {"n": "4", "shard_size": "1"}  # settings of a new scene: each molecule is shown when it is done
MOST_UPLOADS = 1 << 30  # bytes of all uploads together


class Session:
    """One scene in a folder, and what belongs to it.

    given: words of the command line, the defaults of runs. opened: results folders and files to look at.
    """

    def __init__(self, folder: Path, given: Sequence[str], opened: Sequence[Path]) -> None:
        self.folder, self.given = folder, list(given)
        self.events = Events()
        self.store = Store(folder / "structures")
        self.inputs = Inputs(folder / "inputs", self.store)
        self.scene = Scene(folder, lambda: self.events.tell("scene", self.scene.state()))
        if self.scene.revision == 0 and not any(word.startswith(("n=", "experiment=")) for word in given):
            self.scene.change({"settings": {"generate": dict(FIRST)}})
        self.warm = Warm(self.given, folder / "answers", lambda ready: self.events.tell("ready", ready))
        self.jobs = Jobs(folder, self.warm, self.events.tell)
        self.opened = {f"open-{number}": Results(path) for number, path in enumerate(opened)}
        self._of_jobs: dict[str, Results] = {}

    def start(self) -> None:
        """Start the warm process and the queue of runs."""
        self.warm.start()
        self.jobs.start()

    async def close(self) -> None:
        """End everything that was started."""
        self.events.close()
        await self.jobs.close()
        await self.warm.close()

    # results

    def folders(self) -> list[dict[str, Any]]:
        """The galleries: what was opened, then the runs, the newest first."""
        rows = [{"name": name, "title": short, "path": str(self.opened[name].path)} for name, short in self._titles()]
        runs = [{"name": name, "title": name} for name in reversed(self.jobs.jobs) if self.jobs.results(name).is_dir()]
        return [*rows, *runs]

    def _titles(self) -> Iterator[tuple[str, str]]:
        """Names of what was opened, each with the last parts of its path that tell it from the others."""
        parts = {name: results.path.resolve().parts for name, results in self.opened.items()}
        for name, own in parts.items():
            others = [other for key, other in parts.items() if key != name]
            count = next((k for k in range(1, len(own)) if all(o[-k:] != own[-k:] for o in others)), 1)
            yield name, "/".join(own[-count:])

    def results(self, name: str) -> Results:
        """The gallery of this name; raises UserError."""
        if name in self.opened:
            return self.opened[name]
        path = self.jobs.results(self.jobs.job(name).name)
        if not path.is_dir():
            raise UserError(f"{name} has no results yet")
        return self._of_jobs.setdefault(name, Results(path))

    def watched(self, name: str) -> dict[str, Any]:
        """The structure that an unfinished run has reached, without one where it has kept none."""
        atoms = self.results(name).growing()
        return {"structure": None if atoms is None else to_json(atoms, name)}

    def chosen(self, picked: Sequence[Any]) -> list[Candidate]:
        """The candidates that pairs of a gallery's name and an index name."""
        return [self.results(str(name)).candidate(int(index)) for name, index in picked]

    # runs

    def words(self, verb: str, request: Mapping[str, Any]) -> list[str]:
        """The words of a run without its output; raises UserError.

        request: `structures`, numbers of structures of the scene, and `candidates`, pairs of a gallery's name and an
        index; `free`, the atoms that may move, by the number of a structure or by "shown" for the candidates, where not
        all of them may; `settings` besides those of the scene.
        """
        if verb not in VERBS[:3]:
            raise UserError(f"'{verb[:30]}' cannot be started here; allowed are {', '.join(VERBS[:3])}")
        if verb == "generate":
            return generate_words(self.scene.content, self.given, self.inputs)
        scene = self.scene.content
        if extra := request.get("settings"):
            settings = {**scene["settings"], verb: {**scene["settings"].get(verb, {}), **extra}}
            scene = {**scene, "settings": settings}
        return structure_words(verb, scene, self._targets(request), self.given, self.inputs)

    def _targets(self, request: Mapping[str, Any]) -> list[tuple[Atoms, list[int]]]:
        rows = self.scene.content["structures"]
        free = {str(key): set(map(int, atoms)) for key, atoms in dict(request.get("free") or {}).items()}
        targets: list[tuple[Atoms, list[int]]] = []
        for number in map(int, request.get("structures") or ()):
            if not 0 <= number < len(rows):
                raise UserError("this structure is no longer in the scene; select it again")
            atoms = to_atoms(self.store.get(rows[number]["file"]), rows[number]["pose"])
            held = _others(len(atoms), free[str(number)]) if free.get(str(number)) else rows[number]["fixed"]
            targets.append((atoms, [k for k in held if k < len(atoms)]))
        for candidate in self.chosen(request.get("candidates") or ()):
            if len(candidate.atoms):
                held = _others(len(candidate.atoms), free["shown"]) if free.get("shown") else []
                targets.append((candidate.atoms, held))
        return targets

    # structures of the scene

    def add(self, contents: Sequence[Mapping[str, Any]], role: str = "shown", label: str = "add a structure") -> None:
        """Add structures to the scene."""
        rows = [new_structure(self.store.add(content), str(content["name"]), role) for content in contents]
        self.scene.change({"structures": [*self.scene.content["structures"], *rows]}, label)

    async def upload(self, name: str, body: bytes) -> dict[str, Any]:
        """Keep a dropped file and read it; raises UserError for what cannot be used."""
        name = Path(name.replace("\\", "/")).name[-80:]
        suffix = Path(name).suffix.lower()
        if suffix not in UPLOADS:
            raise UserError(f"{name or 'a file without a name'} is of no known kind; allowed are {' '.join(UPLOADS)}")
        if not body:
            raise UserError(f"{name} is empty")
        folder = self.folder / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        if sum(path.stat().st_size for path in folder.iterdir()) + len(body) > MOST_UPLOADS:
            raise UserError(f"{shown_path(folder)} holds {MOST_UPLOADS >> 30} GB; remove what is no longer needed")
        path = _unused(folder, re.sub(r"[^\w.-]", "_", Path(name).stem)[:60].lstrip("."), suffix, body)
        write_atomically(path, body)
        content = await self.warm.call("read_file", path=str(path), name=name)
        if content["kind"] == "structures":
            self.add(content.pop("structures"), label=f"drop {name}")
        else:
            self.scene.change({"prior": {"kind": "file", "file": path.name}}, f"drop {name}")
        return {**content, "file": path.name}

    async def hydrogenate(self, number: int, atoms: Sequence[int]) -> None:
        """Replace a structure of the scene by itself with hydrogens, at all heavy atoms or at some."""
        rows = list(self.scene.content["structures"])
        if not 0 <= number < len(rows):
            raise UserError("this structure is no longer in the scene; select it again")
        content = await self.warm.call(
            "hydrogenate", structure=self.store.get(rows[number]["file"]), chosen=list(atoms)
        )
        place = {old: new for new, old in enumerate(content.pop("kept"))}
        renumbered = {key: [place[k] for k in rows[number][key] if k in place] for key in ("fixed", "attachments")}
        rows[number] = {**rows[number], "file": self.store.add(content), **renumbered}
        self.scene.change({"structures": rows}, "hydrogenate")

    async def prior(self) -> dict[str, Any]:
        """The cloud of the prior that the scene has; no points without a prior."""
        if self.scene.content["prior"]["kind"] == "none":
            return {"points": [], "n": None}
        words = generate_words(self.scene.content, self.given, self.inputs)[1:]
        if not prior_words(self.scene.content, self.inputs):
            return {"points": [], "n": None}
        wanted = ("generator/prior=", "generator.prior.", "generator.n_heavy_atoms=", "generator=", "experiment=")
        result: dict[str, Any] = await self.warm.call(
            "prior_points", words=[word for word in words if word.startswith(wanted)]
        )
        return result

    async def gallery(self, name: str) -> dict[str, Any]:
        """The rows of a gallery."""
        return await asyncio.to_thread(self.results(name).rows)


def _unused(folder: Path, stem: str, suffix: str, body: bytes) -> Path:
    """A path for an upload; another file of the same name stays, as a run may read it."""
    names = (
        f"{stem or 'file'}{number}{suffix}" for number in itertools.chain([""], (f"-{k}" for k in itertools.count(2)))
    )
    paths = (folder / name for name in names)
    return next(path for path in paths if not path.exists() or path.read_bytes() == body)


def _others(count: int, chosen: set[int]) -> list[int]:
    return [k for k in range(count) if k not in chosen]
