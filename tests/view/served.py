"""A server of `gendesign view` in a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# A generation of seconds: three heavy atoms, nothing relaxed or screened.
QUICK = (
    "generator.n_heavy_atoms=3", "generator.steps=25", "generator.particles=4", "generator.families=2",
    "generator.finishing.sweeps=0",
    "generator.finishing.rough_steps=1", "relaxation=null", "screening=null", "workers=0",
    "n=2", "shard_size=1",
)  # fmt: skip
PATIENCE = 180.0  # seconds on a busy machine
ENDED = ("finished", "cancelled", "failed", "interrupted")


class Served:
    """`gendesign view` in `folder`, with its scene in scene/. Use it in a `with` statement."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        view = [sys.executable, "-P", "-m", "gendesign.cli", "view", "--no-browser", "--scene", "scene"]
        paths = os.pathsep.join(path or "." for path in sys.path)
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        self.errors = open(folder / "errors.txt", "w")  # noqa: SIM115 - closed in __exit__
        self.process = subprocess.Popen(
            [*view, *QUICK, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        line = self.process.stdout.readline()
        assert line.startswith("gendesign view: http://127.0.0.1:"), (line, (folder / "errors.txt").read_text())
        self.address = line.split()[-1]
        self.base, _, self.token = self.address.partition("/?token=")

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    def end(self, number: int) -> None:
        """Send a signal and wait until the server has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)
        self.errors.close()

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The JSON or the bytes of an answer; HTTPError for refusals."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with urlopen(
            Request(f"{self.base}/{path}", data, {"x-token": self.token, **(headers or {})}), timeout=PATIENCE
        ) as got:
            content = got.read()
            return json.loads(content) if "json" in got.headers.get("content-type", "") else content

    def refusal(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """Status and reason of a request that is refused."""
        try:
            self.ask(path, body, headers)
        except HTTPError as error:
            return error.code, json.loads(error.read())["error"]
        raise AssertionError(f"{path} was not refused")

    def job(self, name: str) -> dict[str, Any]:
        """A run as the page sees it."""
        return next(job for job in self.ask("api/state")["jobs"] if job["name"] == name)

    def wait(self, name: str, states: tuple[str, ...] = ENDED) -> dict[str, Any]:
        """A run when it is in one of `states`."""
        end = time.monotonic() + PATIENCE
        while (job := self.job(name))["state"] not in states:
            assert time.monotonic() < end, job
            time.sleep(0.1)
        return job
