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
from gendesign.structure.memory import Memory, remembers
from gendesign.structure.types import Candidate, Generator, Verdict

Tell = Callable[[int], None]  # told how many more candidates are done
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
    """One shard from nothing, or from where it was interrupted, to its renamed folder."""
    memory, timings = Memory(folder.begun(number)), {}

    def stage(name: str, make: Callable[[Tell], list[Candidate]]) -> list[Candidate]:
        start, before, told = time.perf_counter(), memory.recalled, 0

        def tell(done: int) -> None:
            nonlocal told
            told += done
            progress.stage(name, done)

        found = memory.once(name, lambda: make(tell))
        tell(len(found) - told)  # all of them where the stage was over before an interruption
        timings[name] = time.perf_counter() - start + memory.recalled - before
        return found

    candidates = stage("generate", lambda tell: generated(stages.generator, indices, seed, memory, tell))
    if stages.relax is not None:
        candidates = stage("relax", lambda tell: relax_usable(stages.relax, candidates, tell))
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


def generated(generator: Generator, indices: Sequence[int], seed: int, memory: Memory, tell: Tell) -> list[Candidate]:
    """One candidate per attempt, in their order; generators that remember are given the shard's memory."""
    found = []
    for candidate in generator.generate(indices, seed=seed, **({"memory": memory} if remembers(generator) else {})):
        found.append(candidate)
        tell(1)
    return in_order(found, indices, seed, generator.name)


def in_order(candidates: Sequence[Candidate], indices: Sequence[int], seed: int, generator: str) -> list[Candidate]:
    """One candidate per attempt, in the order of the attempts; an attempt that gave nothing becomes a failure."""
    found = {candidate.index: candidate for candidate in candidates}
    return [
        found.get(index)
        or Candidate(Atoms(), index, generator, seed, failure="the generator returned nothing for this attempt")
        for index in indices
    ]


def relax_usable(relax: Callable, candidates: Sequence[Candidate], tell: Tell) -> list[Candidate]:
    """Relax the candidates that did not fail before; the failed ones keep their places."""
    usable = [candidate for candidate in candidates if candidate.failure is None]
    tell(len(candidates) - len(usable))
    seen = 0

    def report(finished: int, total: int) -> None:
        nonlocal seen
        tell(finished - seen)
        seen = finished

    relaxed = iter(relax(usable, report) if usable else [])
    return [candidate if candidate.failure is not None else next(relaxed) for candidate in candidates]


def finish_verdict(candidate: Candidate) -> Verdict:
    """Whether the attempt ended with a structure, and why not."""
    return Verdict(candidate.index, FINISHED, candidate.failure is None, reason=candidate.failure or "")
