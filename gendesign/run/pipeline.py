"""One run: generate -> relax -> screen, shard by shard, into a results folder."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from gendesign.run.folder import Folder, to_json
from gendesign.run.merge import CANDIDATES, TIMINGS, VERDICTS, rebuild
from gendesign.run.records import FINISHED, write_verdicts
from gendesign.run.stages import Progress, Stages
from gendesign.structure.files import write_extxyz
from gendesign.structure.types import Candidate, Verdict

AT_ONCE = 5  # candidates per call of the screening: enough for its workers, few enough for a bar that moves
PATIENCE = 10  # between shards the merged files are rebuilt only when that costs less than a tenth of the time


def run(stages: Stages, folder: Folder, *, n: int, seed: int, shard_size: int, progress: Progress) -> dict[str, Any]:
    """Make the shards that are missing, rebuild the merged files, and return the content of summary.json."""
    total = -(-n // shard_size)
    finished = sum(folder.finished(number) for number in range(total))
    progress.shard(finished, total)
    built, cost = time.monotonic(), 0.0
    for number in range(total):
        if folder.finished(number):
            continue
        indices = range(number * shard_size, min(n, (number + 1) * shard_size))
        make_shard(stages, folder, number, indices, seed=seed, progress=progress)
        finished += 1
        progress.shard(finished, total)
        if finished < total and time.monotonic() - built >= PATIENCE * cost:
            start = time.monotonic()
            rebuild(stages, folder, total)
            built, cost = time.monotonic(), time.monotonic() - start
    return rebuild(stages, folder, total)


def make_shard(
    stages: Stages, folder: Folder, number: int, indices: Sequence[int], *, seed: int, progress: Progress
) -> None:
    """One shard from nothing to its renamed folder."""
    candidates, timings = [], {}
    start = time.perf_counter()
    for candidate in stages.generator.generate(indices, seed=seed):
        candidates.append(candidate)
        progress.stage("generate", 1)
    candidates = in_order(candidates, indices, seed, stages.generator.name)
    timings["generate"] = time.perf_counter() - start
    if stages.relax is not None:
        start = time.perf_counter()
        candidates = relax_usable(stages.relax, candidates, progress)
        timings["relax"] = time.perf_counter() - start
    verdicts = [finish_verdict(candidate) for candidate in candidates]
    if stages.screen is not None:
        start = time.perf_counter()
        for first in range(0, len(candidates), AT_ONCE):
            few = candidates[first : first + AT_ONCE]
            verdicts += stages.screen(few)
            progress.stage("screen", len(few))
        timings["screen"] = time.perf_counter() - start
    verdicts.sort(key=lambda verdict: verdict.candidate)

    def write(temporary: Path) -> None:
        write_extxyz(candidates, temporary / CANDIDATES)
        write_verdicts(temporary / VERDICTS, verdicts)
        (temporary / TIMINGS).write_text(to_json({"candidates": len(candidates), "seconds": timings}))

    folder.write_shard(number, write)


def in_order(candidates: Sequence[Candidate], indices: Sequence[int], seed: int, generator: str) -> list[Candidate]:
    """One candidate per attempt, in the order of the attempts; an attempt that gave nothing becomes a failure."""
    found = {candidate.index: candidate for candidate in candidates}
    return [
        found.get(index)
        or Candidate(Atoms(), index, generator, seed, failure="the generator returned nothing for this attempt")
        for index in indices
    ]


def relax_usable(relax: Callable, candidates: Sequence[Candidate], progress: Progress) -> list[Candidate]:
    """Relax the candidates that did not fail before; the failed ones keep their places."""
    usable = [candidate for candidate in candidates if candidate.failure is None]
    progress.stage("relax", len(candidates) - len(usable))
    seen = 0

    def report(finished: int, total: int) -> None:
        nonlocal seen
        progress.stage("relax", finished - seen)
        seen = finished

    relaxed = iter(relax(usable, report) if usable else [])
    return [candidate if candidate.failure is not None else next(relaxed) for candidate in candidates]


def finish_verdict(candidate: Candidate) -> Verdict:
    """Whether the attempt ended with a structure, and why not."""
    return Verdict(candidate.index, FINISHED, candidate.failure is None, reason=candidate.failure or "")
