"""The process that an engine runs in: it starts on first use, after a fork, and once more if it dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any
from weakref import finalize

import numpy as np
import torch

from gendesign.errors import UserError
from gendesign.potential.engines.wire import Arrays, Fields, receive, send
from gendesign.processes.children import ONE_THREAD, PRIVATE

SERVER = "gendesign.potential.engines.server"
ATTEMPTS = 2  # the second one in a new process
LAST_LINES, LONGEST = 3, 400  # of what a dead process wrote


@dataclass(frozen=True)
class _Running:
    """A running process; `owner` is the process that started it."""

    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    written: IO[bytes]
    owner: int


class EngineProcess:
    """A server process with one model.

    name: of the potential, in messages. folders: first on the path of the process. settings: backend, weights, head,
    device and dtype, as server.py reads them. A process that forks does not share its server with its children: each
    starts one of its own when it first needs it. The server ends with the process that started it, also after SIGKILL.
    """

    def __init__(self, name: str, folders: Sequence[str], settings: Mapping[str, Any]) -> None:
        self.name, self.folders, self.settings = name, tuple(folders), dict(settings)
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """Id of the running process, None if there is none."""
        running = self._running
        return running.process.pid if running is not None and running.owner == os.getpid() else None

    def start(self) -> Fields:
        """Start the process unless it runs; cutoff (Angstrom) and atomic numbers of its model.

        Raises UserError if the model cannot be loaded.
        """
        if self.pid is not None:
            return {}
        self._running = None  # one of the parent's, which ends with the parent
        self._running = running = _start(self.folders, self.settings)
        finalize(self, _end, running)
        try:  # without a time limit: on a busy machine the import of a package takes minutes
            fields, _ = receive(running.connection)
        except (EOFError, OSError) as error:
            raise UserError(f"potential {self.name}: its process did not start ({self._death()})") from error
        except BaseException:  # Ctrl-C
            self.close()
            raise
        if "error" in fields:
            self.close()
            raise UserError(
                f"potential {self.name} cannot be loaded ({fields['error']}); "
                "install it again with gendesign install, or choose another potential"
            )
        about: Fields = fields["ready"]
        return about

    def call(self, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Fields, Arrays]:
        """The answer to a request. A process that dies is started again once.

        Raises UserError with its last lines if it dies again, or if the model raises an error, and
        torch.OutOfMemoryError if memory runs out.
        """
        for attempt in range(ATTEMPTS):
            self.start()
            assert self._running is not None
            try:
                send(self._running.connection, fields, arrays)
                answer, results = receive(self._running.connection)
                break
            except (EOFError, OSError) as error:
                how = self._death()
                if attempt + 1 == ATTEMPTS:
                    raise UserError(
                        f"potential {self.name}: its process died {ATTEMPTS} times on the same structures ({how}); "
                        "give fewer atoms at once, or choose another potential"
                    ) from error
            except BaseException:  # Ctrl-C between a request and its answer
                self.close()
                raise
        if answer.get("memory"):
            raise torch.OutOfMemoryError(f"potential {self.name}: {answer['error']}")
        if "error" in answer:
            raise UserError(
                f"potential {self.name} failed ({answer['error']}); look at the structures, or choose another potential"
            )
        return answer, results

    def close(self) -> None:
        """End the process."""
        if self._running is not None:
            _end(self._running)
            self._running = None

    def _death(self) -> str:
        """End the process and say how it died, with what it wrote last."""
        running, self._running = self._running, None
        assert running is not None
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(1.0)
        status = running.process.poll()
        written = _last_lines(running.written)
        _end(running)
        if status is None:
            how = "no answer"
        elif status < 0:
            how = f"{signal.Signals(-status).name}" + (", often for lack of memory" if status == -9 else "")
        else:
            how = f"status {status}"
        return f"{how}; it wrote: {written}" if written else how

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}


def _start(folders: Sequence[str], settings: Mapping[str, Any]) -> _Running:
    here, there = socket.socketpair()
    # For the kernel the parent has ended when the thread that started the process has ended.
    parent = os.getpid() if threading.current_thread() is threading.main_thread() else None
    content = json.dumps({**settings, "descriptor": there.fileno(), "parent": parent})
    paths = os.pathsep.join([*folders, *(path or "." for path in sys.path)])
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": paths}
    environment.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # mace-torch sets it
    written = tempfile.TemporaryFile()  # noqa: SIM115  # read when the process has died
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", SERVER, content],
        env=environment,
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=written,
        stderr=written,
    )
    there.close()
    PRIVATE.add(here)  # a copy in a child would hide from the server that its parent has ended
    return _Running(process, here, written, os.getpid())


def _end(running: _Running) -> None:
    if running.owner != os.getpid():
        return
    running.connection.close()
    running.written.close()
    running.process.kill()
    running.process.wait()


def _last_lines(file: IO[bytes]) -> str:
    """The last lines that a process wrote, joined."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 4096))
    lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-LAST_LINES:])[-LONGEST:]
