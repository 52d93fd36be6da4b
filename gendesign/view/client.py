"""The warm process as the server sees it: runs and tools started, followed, ended; a dead one is replaced."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from gendesign.errors import UserError
from gendesign.processes.children import ONE_THREAD

GRACE = 0.4  # seconds that a process has to end by itself
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a dead process is replaced
LOST = -signal.SIGKILL  # the status of what ended with the warm process


class Running:
    """A run or a tool in a process of its own; `ended` is set to its exit status, negative for a signal."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.cancelled = False

    async def end(self) -> None:
        """End it and everything it has started: first politely, after GRACE by force."""
        self.cancelled = True
        self._signal(signal.SIGINT)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), GRACE)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.pid is not None and not self.ended.done():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


class Warm:
    """Starts `python -m gendesign.view.warm` and keeps it running. `told` hears when it is ready, and when not."""

    def __init__(self, given: Sequence[str], folder: Path, told: Callable[[bool], None] = lambda _: None) -> None:
        self.given, self.folder, self.told = list(given), folder, told
        self.ready = asyncio.Event()
        self._running: dict[str, Running] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, without waiting until it is ready."""
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """End the process and all runs."""
        for running in list(self._running.values()):
            await running.end()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def run(self, words: Sequence[str], log: Path, environment: dict[str, str]) -> Running:
        """Start a command."""
        return await self._request({"words": list(words), "log": str(log), "environment": environment})

    async def call(self, function: str, limit: float = 60.0, **arguments: Any) -> Any:
        """The answer of a function of tools.py; raises UserError for its errors and after `limit` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        answer = self.folder / f"{uuid4().hex}.json"
        log = answer.with_suffix(".log")
        running = await self._request(
            {"call": function, "arguments": arguments, "answer": str(answer), "log": str(log)}
        )
        try:
            await asyncio.wait_for(asyncio.shield(running.ended), limit)
            if not answer.is_file():
                raise UserError(f"{function.replace('_', ' ')} failed: {_last_line(log)}")
            content = json.loads(answer.read_text())
        except TimeoutError:
            await running.end()
            raise UserError(f"{function.replace('_', ' ')} took more than {limit:g} s and was ended") from None
        finally:
            for path in (answer, log):
                path.unlink(missing_ok=True)
        if "error" in content:
            raise UserError(content["error"])
        return content["result"]

    async def _request(self, request: dict[str, Any]) -> Running:
        await self.ready.wait()
        running = Running()
        name = uuid4().hex
        self._running[name] = running
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": name, **request}).encode() + b"\n")
        with suppress(ConnectionError):
            await self._process.stdin.drain()
        return running

    async def _serve(self) -> None:
        pause = FIRST_PAUSE
        while True:
            paths = os.pathsep.join(path or "." for path in sys.path)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "gendesign.view.warm", *self.given,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": paths},
            )  # fmt: skip
            assert self._process.stdout is not None
            async for line in self._process.stdout:
                self._heard(json.loads(line))
            pause = FIRST_PAUSE if self.ready.is_set() else 2 * pause  # one that never starts is not tried all the time
            self.ready.clear()
            self.told(False)
            for running in self._running.values():
                running._signal(signal.SIGKILL)
                if not running.ended.done():
                    running.ended.set_result(LOST)
            self._running.clear()
            await asyncio.sleep(min(pause, LONGEST_PAUSE))

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("ready"):
            self.ready.set()
            self.told(True)
        elif "pid" in message:
            running = self._running[message["id"]]
            running.pid = message["pid"]
            if running.cancelled:
                running._signal(signal.SIGKILL)
        elif "status" in message:
            running = self._running.pop(message["id"])
            if not running.ended.done():
                running.ended.set_result(message["status"])


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1][:200] if lines else "its process ended"
