"""From labelled files to a checkpoint folder: `gendesign train`."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from torch import Tensor, nn

from gendesign.errors import UserError
from gendesign.potential import Potential, load_mace, mace, save_folder
from gendesign.potential.domain import drawn
from gendesign.potential.zoo import target_device
from gendesign.structure.files import write_atomically
from gendesign.structure.label_files import Labels
from gendesign.train import curves
from gendesign.train.architecture import Architecture
from gendesign.train.card import card
from gendesign.train.data_sets import DataSets, LabelledFiles, check_all_units
from gendesign.train.dataset import Dataset
from gendesign.train.fit import Fit, freeze
from gendesign.train.fit import fit as fit_network  # `fit` is a keyword of `train_files`
from gendesign.train.isolated_atoms import SAMPLE, atomic_energies, chemical_potentials, refit_by, shifted_energies
from gendesign.train.loss import deviations, summary
from gendesign.train.mixture import refuse_mixture
from gendesign.train.start import begin_from, with_cutoff


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

    test_share: held out of the training; valid_share of the rest selects the weights; both are divided by `split` (see
    `train.split.split`). test: files whose errors are measured one by one. init: a potential to start from, with a
    larger `cutoff` (Angstrom) if given; else a new network of `architecture` (see `train.architecture`). replay: files
    of old data. labels: keys and units of the labels, fields of `structure.label_keys.LabelSettings`; None recognises
    usual names. fit: fields of `train.fit.Fit`. A killed fit resumes exactly from output/state.pt. Labelled isolated
    atoms set the energies of atoms; other elements get their least-squares share. Raises UserError before the fit for
    missing labels, wrong units, leaks, and labels of several teachers unless `mixed_teachers`.
    """
    if init is None and cutoff is not None:
        raise UserError(f"cutoff={cutoff} is for a potential to start from (init); give architecture.cutoff instead")
    settings = Fit(seed=seed, **{key: tuple(v) if isinstance(v, list) else v for key, v in (fit or {}).items()})
    shape, target = Architecture(**architecture or {}), target_device(None if device == "auto" else device)
    labelled = LabelledFiles.read(files, replay, test, labels, skip_unlabelled)
    if not mixed_teachers:
        refuse_mixture(labelled.frames, labelled.tests, labelled.replay, settings.replay_energies)
    initial = None if init is None else load_mace(init, device="cpu", trust_pickle=trust_pickle)
    radius = shape.cutoff if initial is None else _radius(initial, cutoff)
    sets = DataSets.divide(labelled, split, test_share, valid_share, radius)
    if check_units:  # before a potential is evaluated for structures with labels in unknown units
        check_all_units(labelled, sets, initial is None, radius)
    network, start = _initial_network(sets.train, labelled.elements, shape, initial, cutoff, settings)
    net = fit_network(network, Dataset.from_frames(sets.train), output, settings, start, valid=_dataset(sets.valid),
                      replay=_dataset(labelled.replay), device=target,
                      refit_energies=refit_by(sets.train, radius) if start else None)  # fmt: skip
    _write_skipped(labelled.skipped, output / "skipped.csv")
    about = {"steps": settings.steps, "structures": len(sets.train), "held_out": len(sets.test),
             "files": [Path(file).name for file in files], "init": init}  # fmt: skip
    table = _write_errors(net, sets, output)
    save_folder(net.cpu(), output, name=name, licence=licence, citation="not stated", training=about,
                chemical_potentials=chemical_potentials(sets.train, radius),
                domain=drawn(sets.train, float(net.r_max)).to_config())  # fmt: skip
    counts = {key: len(frames) for key, frames in sets.by_name.items()}
    write_atomically(output / "card.md", card(name, licence, network, {**about, **asdict(settings)}, counts, table))
    return table


def _initial_network(
    frames: Sequence[Atoms],
    elements: set[int],
    shape: Architecture,
    initial: Potential | None,
    cutoff: float | None,
    settings: Fit,
) -> tuple[dict[str, Any], dict[str, Tensor] | None]:
    """(architecture, initial weights) of the network; no weights for a new one.

    `initial` is extended by `elements` and to a larger `cutoff` (Angstrom). Raises UserError where it cannot be.
    """
    if initial is None:
        isolated = atomic_energies(frames, elements, shape.cutoff)
        neighbours = _average_neighbours(frames, shape.cutoff)
        return mace.new_mace(atomic_energies=isolated, average_neighbours=neighbours, **shape.keywords()), None
    isolated = shifted_energies(initial, frames, elements, _radius(initial, cutoff))
    network, start = begin_from(initial, isolated)
    if cutoff is not None:
        network, start = with_cutoff(network, start, cutoff)
    freeze(mace.from_plain(network), settings.freeze)  # raises UserError before anything is written
    return network, start


def _radius(initial: Potential, cutoff: float | None) -> float:
    """The cutoff (Angstrom) of the trained network; `with_cutoff` refuses values that are no larger number."""
    return max(initial.cutoff, cutoff) if isinstance(cutoff, int | float) else initial.cutoff


def _dataset(frames: Sequence[Atoms]) -> Dataset | None:
    return Dataset.from_frames(frames) if frames else None


def _write_errors(net: nn.Module, sets: DataSets, output: Path) -> dict[str, Any]:
    """Write errors.json, curves.png and parity.png; returns the errors by set and class (of `train` for a sample)."""
    sample = sets.train[:: math.ceil(len(sets.train) / SAMPLE)]
    data = {
        key: Dataset.from_frames(frames, need_forces=False) for key, frames in {**sets.by_name, "train": sample}.items()
    }
    errors = {key: deviations(net, dataset) for key, dataset in data.items()}
    table = {key: summary(dataset, errors[key]) for key, dataset in data.items()}
    write_atomically(output / "errors.json", json.dumps(table, indent=1) + "\n")
    curves.learning_curve(output / "log.csv", output / "curves.png")
    curves.parity(data, errors, output / "parity.png")
    return table


def _average_neighbours(frames: Sequence[Atoms], cutoff: float) -> float:
    """Neighbours of an atom within `cutoff` (Angstrom), averaged over some frames."""
    data = Dataset.from_frames(frames[:: math.ceil(len(frames) / SAMPLE)])
    parts = [(data.batch(part)[0], part) for part in data.alike(torch.arange(len(data)))]
    pairs = sum(data.edges(batch, part, cutoff).index.shape[1] for batch, part in parts)
    return max(1.0, round(pairs / len(data.numbers), 2))


def _write_skipped(skipped: Sequence[tuple[str, str]], path: Path) -> None:
    if skipped:
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows([("structure", "reason"), *skipped])
        write_atomically(path, text.getvalue())
