"""How fast the page of `gendesign view` answers: first frame, frames a second, Cancel.

python -m scripts.view.measure [RECORD] writes docs/benchmarks/viewer.json. It needs `make view`, and Chromium, which
draws without a GPU.
"""

import sys
import tempfile
import time
from pathlib import Path

import ase.io
from ase.build import bulk

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "run"), str(ROOT / "tests" / "view")]
from browser import Browser  # noqa: E402
from served import Served  # noqa: E402

from gendesign.benchmark.record import table, write  # noqa: E402
from gendesign.structure.types import Row  # noqa: E402

TURNS = 6  # seconds of turning and of watching
RUN = (
    "generator.n_heavy_atoms=10", "n=10", "shard_size=10", "workers=0", "generator.steps=120", "generator.particles=10",
    "generator.families=5", "generator.finishing.sweeps=3", "generator.finishing.rough_steps=10",
)  # fmt: skip
# Milliseconds from the click to the first picture of a growing molecule.
FIRST = """new Promise((done) => {
  const begun = performance.now(), stage = document.getElementById("stage");
  document.getElementById("generate").click();
  const look = () => Number(stage.dataset.growing) > 0 ? done(performance.now() - begun) : requestAnimationFrame(look);
  look();
})"""
TURN = """new Promise((done) => {
  const begun = performance.now();
  let pictures = 0;
  const next = () => {
    const seconds = (performance.now() - begun) / 1000;
    if (seconds > %d) return done(pictures / seconds);
    window.gendesign.stage.turn(2);
    pictures += 1;
    requestAnimationFrame(next);
  };
  next();
})"""
SEEN, STATE = "window.gendesign.state.framesSeen || 0", "window.gendesign.state"
CANCEL = """new Promise((done) => {
  const begun = performance.now(), job = [...window.gendesign.state.jobs.values()].at(-1).name;
  document.querySelector(`[data-job="${job}"] [data-act=cancel]`).click();
  const ended = () => window.gendesign.state.jobs.get(job).state === "cancelled";
  const look = () => ended() ? done(performance.now() - begun) : setTimeout(look, 5);
  look();
})"""


def of_generation(place: Path, rounds: int = 3) -> list[Row]:
    """A generation of ten molecules of ten heavy atoms, watched and cancelled."""
    first, rates, ends = [], [], []
    with Served(place, *RUN) as server, Browser(place / "chromium") as page:
        page.visit(server.address)
        page.wait(f"document.body.dataset.started && {STATE}.ready")
        for _ in range(rounds):
            time.sleep(3)  # what the page asks for meanwhile
            first.append(page.evaluate(FIRST) / 1000)
            begun, seen = time.perf_counter(), page.evaluate(SEEN)
            time.sleep(TURNS)
            rates.append((page.evaluate(SEEN) - seen) / (time.perf_counter() - begun))
            ends.append(page.evaluate(CANCEL) / 1000)
    n = len(first)
    return [
        Row("click to first frame, the slowest", max(first), "s", n, "<= 0.5"),
        Row("100 growing heavy atoms, the slowest", min(rates), "frames/s", n, ">= 5"),
        Row("Cancel, the slowest", max(ends), "s", n, "<= 1"),
    ]


def of_turning(place: Path) -> list[Row]:
    """A structure of 1,000 atoms that turns."""
    place.mkdir()
    ase.io.write(place / "large.extxyz", bulk("Si", cubic=True) * (5, 5, 5))
    with Served(place, "large.extxyz") as server, Browser(place / "chromium") as page:
        page.visit(server.address)
        page.wait("Number(document.getElementById('stage').dataset.atoms) >= 1000")
        time.sleep(2)
        rate = page.evaluate(TURN % TURNS)
    return [Row("1,000 atoms turn, drawn by the processor", rate, "frames/s", 1, ">= 20")]


def main(record: str = "docs/benchmarks") -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [*of_generation(place), *of_turning(place / "turning")]
    print(table(rows))
    write(rows, Path(record) / "viewer.json", "cpu")  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
