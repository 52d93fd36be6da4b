"""A run: shard after shard, or several at once in worker processes, into a results folder."""

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from ase import Atoms

from gendesign.processes import SERIAL, TELL, Failure, Pool
from gendesign.run.folder import Folder
from gendesign.run.merge import rebuild
from gendesign.run.shard import finish_verdict, make_alone, make_shard, write_shard
from gendesign.run.stages import Advance, Phase, Progress, Stages
from gendesign.structure.types import Candidate, Verdict

PATIENCE = 10  # between shards the merged files are rebuilt only when that costs less than a tenth of the time


def run(
    stages: Stages,
    folder: Folder,
    *,
    n: int,
    seed: int,
    shard_size: int,
    progress: Progress,
    pool: Pool | None = None,
    together: bool = False,
) -> dict[str, Any]:
    """Make the missing shards, rebuild the merged files, and return the content of summary.json.

    pool: holds `stages` among its residents. Its workers make whole shards.
    together: one shard after the other, of which the workers do parts, because its candidates compete.
    The bytes are the same for every number of workers.
    """
    ranges = shard_ranges([*folder.grown, n], shard_size)
    missing = [number for number in range(len(ranges)) if not folder.finished(number)]
    board = _Board(stages, folder, progress, len(ranges), len(ranges) - len(missing))
    if pool is None or not pool.count or together:
        for number in missing:
            make_shard(stages, folder, number, ranges[number], seed, partial(board.tell, number), pool or SERIAL)
            board.finished()
    elif missing:
        resident = pool.resident(stages)
        tasks = [(make_shard, (resident, folder, number, ranges[number], seed, TELL)) for number in missing]
        for task, answer in pool.unordered(tasks, partial(_told, board, missing)):
            if isinstance(answer, Failure):
                number = missing[task]
                write_shard(folder, number, *one_by_one(stages, ranges[number], seed, pool, answer))
            board.finished()
    return rebuild(stages, folder, len(ranges), progress.phase)


def shard_ranges(sizes: Sequence[int], shard_size: int) -> list[range]:
    """Candidates of each shard; a run that grew (`sizes` in order) keeps its shards, and new ones follow."""
    bounds = [0]
    for n in sizes:
        bounds += [*range(bounds[-1] + shard_size, n, shard_size), n] if n > bounds[-1] else []
    return [range(first, last) for first, last in pairwise(bounds)]


def one_by_one(
    stages: Stages, indices: Sequence[int], seed: int, pool: Pool, death: Failure
) -> tuple[list[Candidate], list[Verdict], dict[str, float]]:
    """A shard whose worker died each time, candidate by candidate; those that still end their worker are set aside."""
    resident = pool.resident(stages)
    candidates: list[Candidate] = []
    verdicts: list[Verdict] = []
    timings: dict[str, float] = {}
    answers = pool.map([(make_alone, (resident, index, seed)) for index in indices])
    for index, answer in zip(indices, answers, strict=True):
        if isinstance(answer, Failure):
            lost = Candidate(Atoms(), index, stages.generator.name, seed, failure=answer.reason)
            candidates.append(lost)
            verdicts.append(finish_verdict(lost))
            continue
        candidates += [one.after(f"made alone, as {death.reason}") for one in answer[0]]
        verdicts += answer[1]
        timings = {stage: timings.get(stage, 0.0) + seconds for stage, seconds in answer[2].items()}
    return candidates, verdicts, timings


def _told(board: "_Board", missing: Sequence[int], task: int, message: Advance | Phase | None) -> None:
    if message is None:
        board.again(missing[task])
    else:
        board.tell(missing[task], message)


class _Board:
    """What has been done so far: for the progress bar, and for the merged files, which are rebuilt now and then."""

    def __init__(self, stages: Stages, folder: Folder, progress: Progress, total: int, done: int) -> None:
        self.stages, self.folder, self.progress, self.total, self.done = stages, folder, progress, total, done
        self.rebuilt_at, self.rebuild_seconds = time.monotonic(), 0.0
        self.counts: dict[int, Counter[str]] = {}
        progress.shard(done, total)

    def tell(self, number: int, message: Advance | Phase) -> None:
        """A message from shard `number`."""
        if isinstance(message, Phase):
            self.progress.phase(*message)
        else:
            counts = self.counts.setdefault(number, Counter())
            counts[message.stage] += message.candidates
            self.progress.stage(*message)

    def again(self, number: int) -> None:
        """Shard `number` begins anew: its candidates so far no longer count."""
        for name, count in self.counts.pop(number, Counter()).items():
            self.progress.stage(name, -count)

    def finished(self) -> None:
        """One more shard is finished."""
        self.done += 1
        self.progress.shard(self.done, self.total)
        if self.done < self.total and time.monotonic() - self.rebuilt_at >= PATIENCE * self.rebuild_seconds:
            start = time.monotonic()
            rebuild(self.stages, self.folder, self.total, self.progress.phase)
            self.progress.phase("")
            self.rebuilt_at, self.rebuild_seconds = time.monotonic(), time.monotonic() - start
