"""From labels to a checkpoint folder: what `gendesign train` does."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import nn

from gendesign.errors import UserError
from gendesign.potential import Potential, fit_chemical_potentials, load_potential, mace, save_folder
from gendesign.potential.domain import drawn
from gendesign.potential.zoo import target_device
from gendesign.structure.files import write_atomically
from gendesign.structure.formula import hill_formula
from gendesign.structure.label_files import Labels, read_labelled
from gendesign.structure.labels import has_forces, is_isolated, isolated_energies, labels_of
from gendesign.structure.reading_notes import place
from gendesign.train import curves
from gendesign.train.architecture import Architecture
from gendesign.train.card import card
from gendesign.train.dataset import Dataset

# the keywords of `train_files`, which are the keys of conf/train.yaml, would hide these names
from gendesign.train.fit import Fit, freeze
from gendesign.train.fit import fit as fit_network
from gendesign.train.loss import deviations, summary
from gendesign.train.mixture import refuse_mixture
from gendesign.train.split import leaks
from gendesign.train.split import split as divided
from gendesign.train.start import begin_from, with_cutoff
from gendesign.train.units import check_units as refuse_wrong_units

FEWEST = 20  # structures of which some are worth holding out to choose the weights by
SEEN = 200  # structures that averages over the data are taken from
CUTOFF = 4.5  # Angstrom, of a new network whose architecture names none


def train_files(
    files: Sequence[str | Path],
    output: Path,
    *,
    name: str = "mine",
    licence: str = "not stated",
    init: str | None = None,
    cutoff: float | None = None,
    trust_pickle: bool = False,
    device: str = "auto",
    seed: int = 0,
    split: str = "molecule",
    test_share: float = 0.1,
    valid_share: float = 0.05,
    test: Sequence[str | Path] = (),
    replay: Sequence[str | Path] = (),
    labels: Labels = None,
    skip_unlabelled: bool = False,
    check_units: bool = True,
    mixed_teachers: bool = False,
    architecture: dict[str, Any] | None = None,
    fit: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Fit a MACE to labelled `files` and write a checkpoint folder with its card; returns the errors by set and class.

    `test_share` is held out of the training and `valid_share` of the rest to choose the weights by, divided by `split`
    (see `train.split.split`); `test` files are measured one by one. `init` names a potential to begin from, with a
    longer `cutoff` (Angstrom) if one is given, `replay` files of old data; else `architecture` as in
    `potential.mace.new_mace`. `labels` names the keys and units of the labels in all files, fields of
    `structure.label_keys.LabelSettings`; None recognises usual names. `fit` as in `train.fit.Fit`. A killed fit goes on
    from output/state.pt exactly. Isolated atoms in the data set the atoms' energies; elements without one get their
    least-squares share. Raises UserError for what would waste hours: missing labels, wrong units, labels of several
    teachers unless `mixed_teachers`, a leak.
    """
    if init is None and cutoff is not None:
        raise UserError(f"cutoff={cutoff} is for a potential to begin from (init); a new one has architecture.cutoff")
    settings = Fit(seed=seed, **{key: tuple(v) if isinstance(v, list) else v for key, v in (fit or {}).items()})
    shape, target = Architecture(**architecture or {}), target_device(None if device == "auto" else device)
    frames, skipped = labelled_frames(files, skip_unlabelled, labels=labels)
    old = labelled_frames(replay, False, labels=labels)[0] if replay else []
    tests = {Path(path).name: labelled_frames([path], False, need_forces=False, labels=labels)[0] for path in test}
    if not mixed_teachers:
        refuse_mixture(frames, tests, old, settings.replay_energies)
    begun = None if init is None else load_potential(init, device="cpu", trust_pickle=trust_pickle)
    reach = shape.cutoff if begun is None else begun.cutoff
    reach = max(reach, cutoff) if isinstance(cutoff, int | float) else reach
    rest, held = divided(frames, test_share, split, "test_share", reach)
    # these only choose among weights, so other geometries of a trained molecule serve
    trained, valid = divided(rest, valid_share, "frame", "valid_share", reach) if len(rest) >= FEWEST else (rest, [])
    _refuse_leaks(trained + valid, tests, split, reach)
    every = [*frames, *old, *(frame for found in tests.values() for frame in found)]
    elements = {int(z) for frame in every for z in frame.numbers}
    if check_units:  # before a potential is asked about structures whose labels are not understood
        refuse_wrong_units(trained, {} if begun else atomic_energies(trained, elements, reach), reach)
        for found in (old, held, *tests.values()):
            refuse_wrong_units([frame for frame in found if has_forces(frame)], {}, reach)
    start = None
    if begun is None:
        isolated = atomic_energies(trained, elements, reach)
        neighbours = _neighbours(trained, shape.cutoff)
        plain = mace.new_mace(atomic_energies=isolated, average_neighbours=neighbours, **shape.keywords())
    else:
        isolated = shifted_energies(begun, trained, elements, reach)
        plain, start = begin_from(begun, isolated)
        if cutoff is not None:
            plain, start = with_cutoff(plain, start, cutoff)
        freeze(mace.from_plain(plain), settings.freeze)  # says what is wrong with it before anything is written
    net = fit_network(plain, Dataset.from_frames(trained), output, settings, start,
               valid=Dataset.from_frames(valid) if valid else None,
               replay=Dataset.from_frames(old) if old else None, settle=settled_by(trained, reach) if start else None,
               device=target)  # fmt: skip
    sets = {"train": trained[:: math.ceil(len(trained) / SEEN)], "valid": valid, "test": held, **tests}
    data = {key: Dataset.from_frames(found, need_forces=False) for key, found in sets.items() if found}
    wrong = {key: deviations(net, found) for key, found in data.items()}
    table = {key: summary(found, wrong[key]) for key, found in data.items()}
    write_atomically(output / "errors.json", json.dumps(table, indent=1) + "\n")
    _write_skipped(skipped, output / "skipped.csv")
    curves.learning_curve(output / "log.csv", output / "curves.png")
    curves.parity(data, wrong, output / "parity.png")
    facts = {"steps": settings.steps, "structures": len(trained), "held_out": len(held),
             "files": [Path(file).name for file in files], "init": init}  # fmt: skip
    save_folder(
        net.cpu(),
        output,
        name=name,
        licence=licence,
        citation="not stated",
        chemical_potentials=_potentials(trained, reach),
        domain=drawn(trained, float(net.r_max)).to_config(),
        training=facts,
    )
    counts = {key: len(found) for key, found in sets.items() if found} | {"train": len(trained)}
    write_atomically(output / "card.md", card(name, licence, plain, {**facts, **asdict(settings)}, counts, table))
    return table


def labelled_frames(
    files: Sequence[str | Path], skip: bool = False, need_forces: bool = True, labels: Labels = None
) -> tuple[list[Atoms], list[tuple[str, str]]]:
    """(labelled structures of `files` with their info, (place, reason) of those without a label or unreadable).

    Raises UserError for the first without a label, and says how many there are, unless they are to be skipped.
    """
    frames, without = [], []
    for record in read_labelled(files, labels):
        if record.candidate.failure:
            without.append((place(record.candidate), str(record.candidate.failure)))
            continue
        try:
            labels_of(record.candidate.atoms, need_forces)
        except UserError as error:
            reason = f"{error}; {record.file} holds {record.holds}; labels.energy=KEY labels.forces=KEY name other keys"
            without.append((place(record.candidate), reason if "label it first" in reason else str(error)))
            continue
        frames.append(record.candidate.atoms)
    total = len(frames) + len(without)
    if without and not (skip and frames):
        where, reason = without[0]
        some = f" (and {len(without) - 1} more of {total}; skip_unlabelled=true leaves them out)"
        raise UserError(f"{where}: {reason}{some if frames else ''}")
    return frames, without


def atomic_energies(frames: Sequence[Atoms], also: set[int], cutoff: float = CUTOFF) -> dict[int, float]:
    """Energy (eV) of each atomic number in `frames` and `also`: an isolated atom's if there, or least squares.

    An isolated atom has no neighbour within `cutoff` (Angstrom), periodic images included, or is marked as one.
    """
    numbers = sorted(also | {int(z) for frame in frames for z in frame.numbers})
    isolated = isolated_energies(frames, cutoff)
    values = np.array([isolated.get(z, np.inf) for z in numbers])
    known = np.isfinite(values)
    bound = [frame for frame in frames if not is_isolated(frame, cutoff)]
    counts = np.array([[np.count_nonzero(frame.numbers == z) for z in numbers] for frame in bound], dtype=float)
    counts = counts.reshape(-1, len(numbers))
    rest = np.array([labels_of(frame)[0] for frame in bound]) - counts[:, known] @ values[known]
    # rows that cannot separate the elements leave a choice, of which this is the smallest: a baseline, no more
    values[~known] = np.linalg.lstsq(counts[:, ~known], rest, rcond=None)[0]
    return dict(zip(numbers, values.tolist(), strict=True))


def shifted_energies(
    potential: Potential, frames: Sequence[Atoms], also: set[int], cutoff: float = CUTOFF
) -> dict[int, float]:
    """Isolated-atom energies (eV) that move `potential` to the reference method of `frames`, for all their elements.

    Those of isolated atoms among the frames; for all others the potential's own (zero for new elements) plus the
    least-squares share of what the labels differ by from the potential as the fit begins, new elements included.
    """
    own = {int(z): e for z, e in zip(potential.net.atomic_numbers, potential.isolated_energies.values(), strict=True)}
    alone = isolated_energies(frames, cutoff)
    numbers = sorted(also | {int(z) for frame in frames for z in frame.numbers})
    begun = {z: alone.get(z, own.get(z, 0.0)) for z in numbers}
    architecture, weights = begin_from(potential, begun)
    net = mace.from_plain(architecture)
    net.load_state_dict(weights)
    shares = shares_of_error(net, frames, set(numbers) - set(alone), cutoff)
    return begun | {z: begun[z] + move for z, move in shares.items()}


def shares_of_error(
    net: nn.Module, frames: Sequence[Atoms], elements: set[int], cutoff: float = CUTOFF
) -> dict[int, float]:
    """What the energies of `elements` (atomic numbers) should be raised by (eV), least squares over some frames."""
    sample, free = [frame for frame in frames if not is_isolated(frame, cutoff)], sorted(elements)
    sample = sample[:: max(1, len(sample) // SEEN)]
    if not sample or not free:
        return {}
    potential = Potential(net, "", "", "", "")
    wrong = np.array([labels_of(frame)[0] - float(potential.energies([frame])[0]) for frame in sample])
    counts = np.array([[np.count_nonzero(frame.numbers == z) for z in free] for frame in sample], dtype=float)
    return dict(zip(free, np.linalg.lstsq(counts, wrong, rcond=None)[0].tolist(), strict=True))


def settled_by(frames: Sequence[Atoms], cutoff: float = CUTOFF) -> Callable[[nn.Module], None]:
    """Moves the energies of the atoms that `frames` do not have alone to where the network, as it is, fits them best.

    A network that begins with elements it does not know sets out with nonsense about them, so that what was taken for
    an element's energy at first is not what the trained network wants.
    """
    fixed = set(isolated_energies(frames, cutoff))
    moving = {int(z) for frame in frames for z in frame.numbers} - fixed

    def settle(net: nn.Module) -> None:
        table, shares = net.atomic_energies_fn.atomic_energies, shares_of_error(net, frames, moving, cutoff)
        table += torch.tensor([shares.get(int(z), 0.0) for z in net.atomic_numbers]).to(table)

    return settle


def _potentials(frames: Sequence[Atoms], cutoff: float) -> dict[str, float]:
    """Chemical potentials (eV) from the lowest label of each formula, or none where these cannot separate elements."""
    lowest: dict[str, tuple[float, Atoms]] = {}
    for frame in frames:
        energy, name = labels_of(frame)[0], hill_formula(frame.get_chemical_symbols())
        if not is_isolated(frame, cutoff) and (name not in lowest or energy < lowest[name][0]):
            lowest[name] = energy, frame
    try:
        return fit_chemical_potentials([frame for _, frame in lowest.values()], [e for e, _ in lowest.values()])
    except UserError:  # the potential works without them; only generation compares compositions, and says what it lacks
        return {}


def _neighbours(frames: Sequence[Atoms], cutoff: float) -> float:
    data = Dataset.from_frames(frames[:: math.ceil(len(frames) / SEEN)])
    parts = [(data.batch(part)[0], part) for part in data.alike(torch.arange(len(data)))]
    pairs = sum(data.edges(batch, part, cutoff).index.shape[1] for batch, part in parts)
    return max(1.0, round(pairs / len(data.numbers), 2))


def _refuse_leaks(trained: Sequence[Atoms], tests: dict[str, list[Atoms]], by: str, cutoff: float) -> None:
    for name, frames in tests.items():
        if found := leaks(trained, frames, by, cutoff):
            raise UserError(
                f"test={name} holds {len(found)} of the trained {by}s ({', '.join(found[:3])}), so that it would test "
                "memory; take them out, or set split=frame to test other geometries of the same molecules"
            )


def _write_skipped(skipped: Sequence[tuple[str, str]], path: Path) -> None:
    if skipped:
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows([("structure", "reason"), *skipped])
        write_atomically(path, text.getvalue())
