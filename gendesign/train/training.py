"""From labels to a checkpoint folder: what `gendesign train` does."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gendesign.structure.files import read_structures, write_atomically
from gendesign.structure.formula import hill_formula
from gendesign.structure.types import UserError
from gendesign.train.labelling import place

SEEN = 200  # structures that averages over the data are taken from


def train_files(
    files: Sequence[str | Path],
    output: Path,
    *,
    name: str = "mine",
    seed: int = 0,
    test_share: float = 0.1,
    architecture: dict[str, Any] | None = None,
    fit: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Fit a MACE to labelled `files` and write a checkpoint folder with log.csv and errors.json; returns the errors.

    `test_share` of the molecules (info "molecule", or else the formula) is held out; `architecture` as in
    `potential.mace.new_mace`, `fit` as in `train.fit.Fit`. A killed fit goes on from output/state.pt exactly. Isolated
    atoms in the data set the atoms' energies; for elements without one, least squares over the structures does.
    """
    import torch

    from gendesign.potential import mace, save_folder  # mace takes seconds to import, and labelling needs none of it
    from gendesign.structure.graph import neighbours
    from gendesign.train import fit as fitting
    from gendesign.train.dataset import Dataset

    settings = fitting.Fit(seed=seed, **{key: tuple(v) if isinstance(v, list) else v for key, v in (fit or {}).items()})
    shape = _checked(architecture or {})
    train, test = split(labelled_frames(files), test_share)
    data = Dataset.from_frames(train)
    some = data.batch(torch.arange(0, len(data), math.ceil(len(data) / SEEN)))[0]
    pairs = neighbours(some, shape.get("cutoff", 4.5)).index.shape[1]
    plain = mace.new_mace(
        atomic_energies=atomic_energies(train, {int(z) for f in test for z in f.numbers}),
        average_neighbours=max(1.0, round(pairs / len(some.numbers), 2)),
        **shape,
    )
    net = fitting.fit(plain, data, output, settings)
    seen = train[:: math.ceil(len(train) / SEEN)]
    table = {"train": fitting.errors(net, Dataset.from_frames(seen))}
    if test:
        table["test"] = fitting.errors(net, Dataset.from_frames(test))
    write_atomically(output / "errors.json", json.dumps(table, indent=1) + "\n")
    save_folder(
        net,
        output,
        name=name,
        licence="not stated",
        citation="not stated",
        chemical_potentials=_potentials(train),
        training={
            "steps": settings.steps,
            "structures": len(train),
            "held_out": len(test),
            "files": [Path(file).name for file in files],
        },
    )
    return table


def labelled_frames(files: Sequence[str | Path]) -> list[Atoms]:
    """The structures of `files`, info restored; raises UserError for the first that is periodic or has no label."""
    from gendesign.train.dataset import labels_of

    frames = []
    for candidate in read_structures(files):
        frame = candidate.atoms
        if frame.pbc.any():
            raise UserError(f"{place(candidate)} is periodic, and training takes molecules only; leave it out")
        try:
            labels_of(frame)
        except UserError as error:
            raise UserError(f"{place(candidate)}: {error}") from None
        frame.info = dict(candidate.info)
        frames.append(frame)
    return frames


def split(frames: Sequence[Atoms], test_share: float) -> tuple[list[Atoms], list[Atoms]]:
    """(train, test) such that no molecule is in both; isolated atoms are always in train.

    Molecules are ordered by a hash of their names, so that the choice depends on the data alone.
    """
    if not 0 <= test_share < 1:
        raise UserError(f"test_share={test_share}: give a share of 0 or more and less than 1")
    names = [str(f.info.get("molecule") or hill_formula(f.get_chemical_symbols())) for f in frames]
    found = sorted(
        {name for name, frame in zip(names, frames, strict=True) if len(frame) > 1},
        key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
    )
    if test_share and len(found) < 2:
        raise UserError(
            f"test_share={test_share}: the files hold {len(found)} molecule, so that none can be held out; "
            "give more molecules or test_share=0"
        )
    held = set(found[: min(math.ceil(test_share * len(found)), len(found) - 1)])
    parts: tuple[list[Atoms], list[Atoms]] = ([], [])
    for name, frame in zip(names, frames, strict=True):
        parts[len(frame) > 1 and name in held].append(frame)
    return parts


def atomic_energies(frames: Sequence[Atoms], also: set[int]) -> dict[int, float]:
    """Energy (eV) of each atomic number in `frames` and `also`: an isolated atom's if there, or least squares."""
    from gendesign.train.dataset import labels_of

    numbers = sorted(also | {int(z) for frame in frames for z in frame.numbers})
    counts = np.array([[np.count_nonzero(frame.numbers == z) for z in numbers] for frame in frames], dtype=float)
    energy = np.array([labels_of(frame)[0] for frame in frames])
    alone = counts.sum(1) == 1
    values = np.where(counts > 0, energy[:, None], np.inf)[alone].min(0, initial=np.inf)
    known = np.isfinite(values)
    rest = energy[~alone] - counts[~alone][:, known] @ values[known]
    # rows that cannot separate the elements leave a choice, of which this is the smallest: a baseline, no more
    values[~known] = np.linalg.lstsq(counts[~alone][:, ~known], rest, rcond=None)[0]
    return dict(zip(numbers, values.tolist(), strict=True))


def _potentials(frames: Sequence[Atoms]) -> dict[str, float]:
    """Chemical potentials (eV) from the lowest label of each formula, or none where these cannot separate elements."""
    from gendesign.potential import fit_chemical_potentials
    from gendesign.train.dataset import labels_of

    lowest: dict[str, tuple[float, Atoms]] = {}
    for frame in frames:
        energy, name = labels_of(frame)[0], hill_formula(frame.get_chemical_symbols())
        if len(frame) > 1 and (name not in lowest or energy < lowest[name][0]):
            lowest[name] = energy, frame
    try:
        return fit_chemical_potentials([frame for _, frame in lowest.values()], [e for e, _ in lowest.values()])
    except UserError:  # the potential works without them; only generation compares compositions, and says what it lacks
        return {}


def _checked(architecture: dict[str, Any]) -> dict[str, Any]:
    for key, least in (("channels", 1), ("max_ell", 0), ("max_l", 0), ("correlation", 1), ("layers", 1)):
        if architecture.get(key, least) < least:
            raise UserError(f"architecture.{key}={architecture[key]}: give a whole number of {least} or more")
    if not architecture.get("cutoff", 1.0) > 0:
        raise UserError(f"architecture.cutoff={architecture['cutoff']}: give a length above 0 Angstrom")
    if architecture.get("max_l", 0) > architecture.get("max_ell", 2):
        raise UserError(f"architecture.max_l={architecture['max_l']}: give no more than architecture.max_ell")
    return architecture
