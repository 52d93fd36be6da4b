"""Run one job of the kit until its time is up: python -m scripts.gpu.job JOB [key=value ...]; run.sh calls this.

Environment: OUT, folder of the results; DEADLINE, seconds since the epoch at which the job must have ended.
"""

import importlib
import json
import os
import platform
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)

import torch  # noqa: E402

from gendesign.errors import UserError  # noqa: E402

JOBS = {
    "organic": "scripts.gpu.training",
    "organic-cc": "scripts.gpu.training",
    "diffusion": "scripts.gpu.diffusion",
    "molecules": "scripts.gpu.molecules",
    "relaxations": "scripts.gpu.relaxations",
    "acac": "scripts.gpu.acac",
}


@dataclass
class Job:
    """What every job gets: its name, options, folder of results, and the time at which it must have ended."""

    name: str
    options: dict[str, Any]
    out: Path
    deadline: float
    device: torch.device
    begun: float = field(default_factory=time.time)

    def take(self, key: str, usual: Any) -> Any:
        """An option, removed from those left; `usual` where it was not given."""
        return self.options.pop(key, usual)

    def refuse_rest(self) -> None:
        """Raise UserError for options that the job does not have."""
        if self.options:
            raise UserError(f"the job {self.name} has no option {', '.join(self.options)}; see scripts/gpu/README.md")

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    def write(self, row: dict[str, Any]) -> None:
        """Append a line of JSON to results.jsonl and print it."""
        about = {"job": self.name, "device": device_name(self.device), "torch": torch.__version__,
                 "seconds": round(time.time() - self.begun, 1)}  # fmt: skip
        line = json.dumps({**about, **row})
        with open(self.out / "results.jsonl", "a") as handle:
            handle.write(line + "\n")
        print(line, flush=True)


def device_name(device: torch.device) -> str:
    """The name of the GPU, or the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"


def value_of(text: str) -> Any:
    """A number, list or truth value in JSON, or else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main(name: str, *pairs: str) -> int:
    """Run the job `name`; the exit status."""
    if name not in JOBS:
        raise UserError(f"no job {name!r}; the jobs are {', '.join(JOBS)}")
    if any("=" not in pair for pair in pairs):
        raise UserError(f"options are key=value, got {' '.join(pairs)}")
    out = Path(os.environ.get("OUT") or "results/gpu")
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU; nothing changes on a CPU without it
    options = dict(pair.split("=", 1) for pair in pairs)
    deadline = float(os.environ.get("DEADLINE") or time.time() + 540)
    job = Job(name, {key: value_of(text) for key, text in options.items()}, out, deadline, device)
    importlib.import_module(JOBS[name]).run(job)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
