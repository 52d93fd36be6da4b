"""One shard of a run: generate -> relax -> screen, from where it was interrupted to its renamed folder."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms

from gendesign.processes import SERIAL, Failure, Spread
from gendesign.run.folder import Folder, to_json
from gendesign.run.merge import CANDIDATES, TIMINGS, VERDICTS
from gendesign.run.records import FINISHED, write_verdicts
from gendesign.run.stages import GENERATE, RELAX, SCREEN, Advance, Phase, Stages, Tell
from gendesign.structure.files import write_extxyz
from gendesign.structure.generator import Generator, ShardContext
from gendesign.structure.step_cache import NO_CACHE, StepCache
from gendesign.structure.types import Candidate, Verdict

AT_ONCE = 5  # candidates per call of the screening: enough for its workers, few enough for a bar that moves


def make_shard(
    stages: Stages, folder: Folder, number: int, indices: Sequence[int], seed: int, tell: Tell, spread: Spread = SERIAL
) -> None:
    """Make and write a shard, from the steps that an interrupted attempt has kept."""
    if folder.finished(number):  # by a worker that died before it could say so
        return
    cache = StepCache(folder.begun(number))
    write_shard(folder, number, *judged(stages, indices, seed, cache, tell, spread))


def make_alone(stages: Stages, index: int, seed: int) -> tuple[list[Candidate], list[Verdict], dict[str, float]]:
    """What `make_shard` makes, of a single candidate."""
    return judged(stages, [index], seed, NO_CACHE, lambda _: None)


def judged(
    stages: Stages, indices: Sequence[int], seed: int, cache: StepCache, tell: Tell, spread: Spread = SERIAL
) -> tuple[list[Candidate], list[Verdict], dict[str, float]]:
    """The candidates of a shard, their verdicts, and the seconds that each stage took."""
    timings: dict[str, float] = {}
    context = ShardContext(cache, spread, lambda name, done=0, total=0: tell(Phase(name, done, total)))

    def stage(name: str, make: Callable[[Callable[[int], None]], list[Candidate]]) -> list[Candidate]:
        start, saved_before, done = time.perf_counter(), cache.seconds_saved, 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            tell(Advance(name, count))

        candidates = cache.get_or_make(name, lambda: make(advance))
        tell(Advance(name, len(candidates) - done))  # all of them where the stage was over before an interruption
        timings[name] = time.perf_counter() - start + cache.seconds_saved - saved_before
        return candidates

    candidates = stage(GENERATE, lambda advance: generated(stages.generator, indices, seed, context, advance))
    if stages.relax is not None:
        relax = stages.relax
        candidates = stage(RELAX, lambda advance: relax_usable(relax, candidates, advance))
    verdicts = [finish_verdict(candidate) for candidate in candidates]
    if stages.screen is not None:
        start = time.perf_counter()
        verdicts += screened(stages, candidates, spread, tell)
        timings[SCREEN] = time.perf_counter() - start
    verdicts.sort(key=lambda verdict: verdict.candidate)
    return candidates, verdicts, timings


def screened(stages: Stages, candidates: Sequence[Candidate], spread: Spread, tell: Tell) -> list[Verdict]:
    """Verdicts on each candidate, a few candidates at a time."""
    parts = [candidates[first : first + AT_ONCE] for first in range(0, len(candidates), AT_ONCE)]
    resident = spread.resident(stages)
    verdicts: list[Verdict] = []
    if resident is stages:  # no worker holds the stages: screen here
        for part in parts:
            verdicts += _screen(stages, part)
            tell(Advance(SCREEN, len(part)))
        return verdicts
    answers = spread.map([(_screen, (resident, part)) for part in parts])
    tell(Advance(SCREEN, len(candidates)))
    for part, answer in zip(parts, answers, strict=True):
        verdicts += died_screening(part, answer) if isinstance(answer, Failure) else answer
    return verdicts


def _screen(stages: Stages, candidates: Sequence[Candidate]) -> list[Verdict]:
    return [] if stages.screen is None else stages.screen(candidates)


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
    generator: Generator, indices: Sequence[int], seed: int, context: ShardContext, advance: Callable[[int], None]
) -> list[Candidate]:
    """One candidate per attempt, in the order of `indices`."""
    candidates = []
    for candidate in generator.generate_in_run(indices, seed=seed, context=context):
        candidates.append(candidate)
        advance(1)
    return in_order(candidates, indices, seed, generator.name)


def in_order(candidates: Sequence[Candidate], indices: Sequence[int], seed: int, generator: str) -> list[Candidate]:
    """One candidate per attempt, in the order of the attempts; an attempt without a result is a failure."""
    by_index = {candidate.index: candidate for candidate in candidates}
    return [
        by_index.get(index)
        or Candidate(Atoms(), index, generator, seed, failure="the generator returned nothing for this attempt")
        for index in indices
    ]


def relax_usable(
    relax: Callable[[Sequence[Candidate], Callable[[int, int], None]], list[Candidate]],
    candidates: Sequence[Candidate],
    advance: Callable[[int], None],
) -> list[Candidate]:
    """Relax the candidates that did not fail before; the failed ones keep their places."""
    usable = [candidate for candidate in candidates if candidate.failure is None]
    advance(len(candidates) - len(usable))
    done = 0

    def report(finished: int, total: int) -> None:
        nonlocal done
        advance(finished - done)
        done = finished

    relaxed = iter(relax(usable, report) if usable else [])
    return [candidate if candidate.failure is not None else next(relaxed) for candidate in candidates]


def finish_verdict(candidate: Candidate) -> Verdict:
    """Whether the attempt ended with a structure, and why not."""
    return Verdict(candidate.index, FINISHED, candidate.failure is None, reason=candidate.failure or "")
