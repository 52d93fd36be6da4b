"""One shard of a run: generate -> relax -> screen, from where it was interrupted to its renamed folder."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from gendesign.processes import SERIAL, Failure, Spread
from gendesign.run.folder import Folder, to_json
from gendesign.run.merge import CANDIDATES, TIMINGS, VERDICTS
from gendesign.run.records import FINISHED, write_verdicts
from gendesign.run.stages import Stages
from gendesign.structure.files import write_extxyz
from gendesign.structure.step_cache import NO_CACHE, StepCache, caches_steps
from gendesign.structure.types import Candidate, Generator, Verdict

Tell = Callable[[tuple[str, int]], None]  # told (stage, how many more candidates are done with it)
AT_ONCE = 5  # candidates per call of the screening: enough for its workers, few enough for a bar that moves


def make_shard(
    stages: Stages, folder: Folder, number: int, indices: Sequence[int], seed: int, tell: Tell, spread: Spread = SERIAL
) -> None:
    """Make the shard, going on from the steps that an interrupted attempt has kept, and write it."""
    if folder.finished(number):  # by a worker that died before it could say so
        return
    cache = StepCache(folder.begun(number), spread=spread)
    write_shard(folder, number, *judged(stages, indices, seed, cache, tell))


def make_alone(stages: Stages, index: int, seed: int) -> tuple[list[Candidate], list[Verdict], dict[str, float]]:
    """What `make_shard` makes, of a single candidate."""
    return judged(stages, [index], seed, NO_CACHE, lambda _: None)


def judged(
    stages: Stages, indices: Sequence[int], seed: int, cache: StepCache, tell: Tell
) -> tuple[list[Candidate], list[Verdict], dict[str, float]]:
    """The candidates of a shard, their verdicts, and the seconds that each stage took."""
    timings: dict[str, float] = {}

    def stage(name: str, make: Callable[[Callable[[int], None]], list[Candidate]]) -> list[Candidate]:
        start, before, done = time.perf_counter(), cache.seconds_saved, 0

        def progress(more: int) -> None:
            nonlocal done
            done += more
            tell((name, more))

        candidates = cache.get_or_make(name, lambda: make(progress))
        tell((name, len(candidates) - done))  # all of them where the stage was over before an interruption
        timings[name] = time.perf_counter() - start + cache.seconds_saved - before
        return candidates

    candidates = stage("generate", lambda progress: generated(stages.generator, indices, seed, cache, progress))
    if stages.relax is not None:
        candidates = stage("relax", lambda progress: relax_usable(stages.relax, candidates, progress))
    verdicts = [finish_verdict(candidate) for candidate in candidates]
    if stages.screen is not None:
        start = time.perf_counter()
        verdicts += screened(stages, candidates, cache.spread, tell)
        timings["screen"] = time.perf_counter() - start
    verdicts.sort(key=lambda verdict: verdict.candidate)
    return candidates, verdicts, timings


def screened(stages: Stages, candidates: Sequence[Candidate], spread: Spread, tell: Tell) -> list[Verdict]:
    """Verdicts on each candidate, a few candidates at a time."""
    parts = [candidates[first : first + AT_ONCE] for first in range(0, len(candidates), AT_ONCE)]
    own = spread.resident(stages)
    if own is stages:
        verdicts = []
        for part in parts:
            verdicts += stages.screen(part)
            tell(("screen", len(part)))
        return verdicts
    answers = spread.map([(_screen, (own, part)) for part in parts])
    tell(("screen", len(candidates)))
    verdicts = []
    for part, answer in zip(parts, answers, strict=True):
        verdicts += died_screening(part, answer) if isinstance(answer, Failure) else answer
    return verdicts


def _screen(stages: Stages, candidates: Sequence[Candidate]) -> list[Verdict]:
    return stages.screen(candidates)


def died_screening(candidates: Sequence[Candidate], failure: Failure) -> list[Verdict]:
    """Verdicts on candidates whose screening ended its process."""
    return [Verdict(candidate.index, "screened", False, reason=failure.reason) for candidate in candidates]


def write_shard(
    folder: Folder,
    number: int,
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    timings: dict[str, float],
) -> None:
    """The finished shard, all of it or nothing."""

    def write(temporary: Path) -> None:
        write_extxyz(candidates, temporary / CANDIDATES)
        write_verdicts(temporary / VERDICTS, verdicts)
        (temporary / TIMINGS).write_text(to_json({"candidates": len(candidates), "seconds": timings}))

    folder.write_shard(number, write)


def generated(
    generator: Generator, indices: Sequence[int], seed: int, cache: StepCache, progress: Callable[[int], None]
) -> list[Candidate]:
    """One candidate per attempt, in their order; generators that remember are given the shard's cache."""
    own: dict[str, Any] = {"cache": cache} if caches_steps(generator) else {}
    if getattr(generator, "spreads", False):
        own["spread"] = cache.spread
    candidates = []
    for candidate in generator.generate(indices, seed=seed, **own):
        candidates.append(candidate)
        progress(1)
    return in_order(candidates, indices, seed, generator.name)


def in_order(candidates: Sequence[Candidate], indices: Sequence[int], seed: int, generator: str) -> list[Candidate]:
    """One candidate per attempt, in the order of the attempts; an attempt that gave nothing becomes a failure."""
    by_index = {candidate.index: candidate for candidate in candidates}
    return [
        by_index.get(index)
        or Candidate(Atoms(), index, generator, seed, failure="the generator returned nothing for this attempt")
        for index in indices
    ]


def relax_usable(relax: Callable, candidates: Sequence[Candidate], progress: Callable[[int], None]) -> list[Candidate]:
    """Relax the candidates that did not fail before; the failed ones keep their places."""
    usable = [candidate for candidate in candidates if candidate.failure is None]
    progress(len(candidates) - len(usable))
    done = 0

    def report(finished: int, total: int) -> None:
        nonlocal done
        progress(finished - done)
        done = finished

    relaxed = iter(relax(usable, report) if usable else [])
    return [candidate if candidate.failure is not None else next(relaxed) for candidate in candidates]


def finish_verdict(candidate: Candidate) -> Verdict:
    """Whether the attempt ended with a structure, and why not."""
    return Verdict(candidate.index, FINISHED, candidate.failure is None, reason=candidate.failure or "")
