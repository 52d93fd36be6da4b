"""The structures of a fit: labelled files divided into training, validation and test, checked before a fit starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from gendesign.errors import UserError
from gendesign.structure.label_files import Labels, read_labelled
from gendesign.structure.labels import has_forces, labels_of
from gendesign.structure.reading_notes import place
from gendesign.train.isolated_atoms import atomic_energies
from gendesign.train.split import leaks, split
from gendesign.train.units import check_units

MIN_FOR_VALIDATION = 20  # structures, of which some are worth holding out to select the weights


@dataclass(frozen=True)
class LabelledFiles:
    """Labelled structures as read: those of `files`, old data (`replay`) and tests by file name.

    skipped: (place, reason) of structures of `files` without labels.
    """

    frames: list[Atoms]
    replay: list[Atoms]
    tests: dict[str, list[Atoms]]
    skipped: list[tuple[str, str]]

    @classmethod
    def read(
        cls,
        files: Sequence[str | Path],
        replay: Sequence[str | Path],
        tests: Sequence[str | Path],
        labels: Labels,
        skip_unlabelled: bool,
    ) -> "LabelledFiles":
        """Read all files; raises UserError for structures without labels."""
        frames, skipped = labelled_frames(files, skip_unlabelled, labels=labels)
        old = labelled_frames(replay, False, labels=labels)[0] if replay else []
        by_name = {Path(path).name: labelled_frames([path], False, False, labels=labels)[0] for path in tests}
        return cls(frames, old, by_name, skipped)

    @property
    def elements(self) -> set[int]:
        """Atomic numbers of all structures."""
        frames = [*self.frames, *self.replay, *(frame for test in self.tests.values() for frame in test)]
        return {int(z) for frame in frames for z in frame.numbers}


@dataclass(frozen=True)
class DataSets:
    """Structures of a fit: trained on, used for validation, held out, and the tests by file name."""

    train: list[Atoms]
    valid: list[Atoms]
    test: list[Atoms]
    tests: dict[str, list[Atoms]]

    @classmethod
    def divide(cls, files: LabelledFiles, by: str, test_share: float, valid_share: float, cutoff: float) -> "DataSets":
        """Divide by molecule, composition or frame (see `split`); raises UserError for tests that share a name.

        An atom without a neighbour within `cutoff` (Angstrom) is isolated and always trained on.
        """
        rest, test = split(files.frames, test_share, by, "test_share", cutoff)
        train, valid = rest, []
        if len(rest) >= MIN_FOR_VALIDATION:
            # validation only selects weights, for which other geometries of trained molecules suffice
            train, valid = split(rest, valid_share, "frame", "valid_share", cutoff)
        _refuse_leaks(train + valid, files.tests, by, cutoff)
        return cls(train, valid, test, files.tests)

    @property
    def by_name(self) -> dict[str, list[Atoms]]:
        """All sets that are not empty, by name."""
        sets = {"train": self.train, "valid": self.valid, "test": self.test, **self.tests}
        return {name: frames for name, frames in sets.items() if frames}


def check_all_units(files: LabelledFiles, sets: DataSets, is_new: bool, cutoff: float) -> None:
    """Raise UserError for labels that are not in eV and Angstrom; `is_new`: for a fit without initial potential."""
    energies = atomic_energies(sets.train, files.elements, cutoff) if is_new else {}
    check_units(sets.train, energies, cutoff)
    for frames in (files.replay, sets.test, *sets.tests.values()):
        check_units([frame for frame in frames if has_forces(frame)], {}, cutoff)


def labelled_frames(
    files: Sequence[str | Path], skip: bool = False, need_forces: bool = True, labels: Labels = None
) -> tuple[list[Atoms], list[tuple[str, str]]]:
    """(labelled structures of `files` with their info, (place, reason) of structures without labels or unreadable).

    Raises UserError that names the first structure without labels and their number, unless `skip`.
    """
    frames, unlabelled = [], []
    for record in read_labelled(files, labels):
        if record.candidate.failure:
            unlabelled.append((place(record.candidate), str(record.candidate.failure)))
            continue
        try:
            labels_of(record.candidate.atoms, need_forces)
        except UserError as error:
            reason = f"{error}; {record.file} holds {record.holds}; labels.energy=KEY labels.forces=KEY name other keys"
            unlabelled.append((place(record.candidate), reason if "label it first" in reason else str(error)))
            continue
        frames.append(record.candidate.atoms)
    total = len(frames) + len(unlabelled)
    if unlabelled and not (skip and frames):
        where, reason = unlabelled[0]
        more = f" (and {len(unlabelled) - 1} more of {total}; skip_unlabelled=true leaves them out)"
        raise UserError(f"{where}: {reason}{more if frames else ''}")
    return frames, unlabelled


def _refuse_leaks(trained: Sequence[Atoms], tests: Mapping[str, list[Atoms]], by: str, cutoff: float) -> None:
    """Raise UserError for a test file with molecules, compositions or structures of the training."""
    for name, frames in tests.items():
        if shared := leaks(trained, frames, by, cutoff):
            raise UserError(
                f"test={name} holds {len(shared)} {by}s of the training ({', '.join(shared[:3])}); remove them, or set "
                "split=frame to test other geometries of the same molecules"
            )
