"""Synthetic pre-training: how many accurate labels a potential fitted to cheap labels saves.

Learning curves and stability of molecular dynamics with and without pre-training (arXiv 2307.15714 and 2211.16443).
Every fit is stored in the output folder, and the same command resumes.
"""

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure
from omegaconf import DictConfig

from gendesign.benchmark import record
from gendesign.errors import UserError
from gendesign.potential import Potential, load_mace
from gendesign.structure.files import write_atomically
from gendesign.train.data_sets import labelled_frames
from gendesign.train.dataset import Dataset
from gendesign.train.fit import Fit, fit
from gendesign.train.isolated_atoms import atomic_energies, shifted_energies
from gendesign.train.loss import errors
from gendesign.train.start import begin_from
from gendesign.validation.dynamics import explosions

INITIALIZATIONS = {"scratch": "from nothing", "pretrained": "pre-trained"}
LEAST = 2


def run(config: DictConfig) -> None:
    """Fit at every size with and without pre-training, print the table, and write the results to `config.record`.

    Writes pretraining.json and pretraining.png. Raises UserError for unusable settings and files.
    """
    if "pretraining" not in config:
        raise UserError("benchmark pretraining needs its settings: add experiment=pretraining")
    settings, folder = config.pretraining, record.check_record(config.record)
    frames, tests = _frames(settings.files, "files"), {}
    for path in _paths(settings.test, "test"):
        tests[Path(path).stem] = labelled_frames([path], need_forces=False)[0]
    if max(settings.sizes) > len(frames) or min(settings.sizes) < LEAST:
        raise UserError(f"pretraining.sizes={list(settings.sizes)}: give numbers from {LEAST} to {len(frames)}")
    order = np.random.default_rng(config.seed).permutation(len(frames))
    init = load_mace(settings.init, device="cpu")
    results: list[dict[str, Any]] = []
    for size in settings.sizes:
        chosen = [frames[k] for k in order[:size]]
        for name in INITIALIZATIONS:
            out = Path(config.output) / "pretraining" / f"{name}-{size}"
            measured = _measured(name, chosen, tests, init, out, settings, config.seed)
            results.append({"way": name, "size": size, **measured})
            print(_line(results[-1]), flush=True)
    rows = [row for result in results for row in _rows(result, settings)]
    record.write(rows, folder / "pretraining.json", init.device)
    _picture(results, folder / "pretraining.png")
    print(record.table(rows))


def _measured(
    name: str, frames: list[Atoms], tests: dict[str, list[Atoms]], init: Potential, out: Path, settings: Any, seed: int
) -> dict[str, Any]:
    """Errors by test file and the time (ps) at which each trajectory broke; read from `out` if already measured."""
    done, pretrained = out / "measured.json", name == "pretrained"
    kind = "finetune_" if pretrained else ""
    steps, rate = settings[f"{kind}steps"], settings[f"{kind}learning_rate"]
    identity = {"steps": steps, "learning_rate": rate, "seed": seed, "init": init.weights_hash,
                **{key: settings[key] for key in ("batch_size", "molecules", "temperature", "time")}}  # fmt: skip
    if done.is_file():
        kept = json.loads(done.read_text())
        if kept["made_by"] != identity:
            raise UserError(f"{out} was made with other settings; give another output, or the same settings again")
        return kept
    architecture, weights = begin_from(
        init, shifted_energies(init, frames, set()) if pretrained else atomic_energies(frames, set())
    )
    plan = Fit(steps=steps, batch_size=min(settings.batch_size, len(frames)), seed=seed, decay_from=0.2,
               learning_rate=rate, save_every=max(1, steps // 5))  # fmt: skip
    net = fit(architecture, Dataset.from_frames(frames), out, plan, weights if pretrained else None)
    table = {}
    for test, test_frames in tests.items():
        data = Dataset.from_frames(test_frames, need_forces=False)
        data.kind[:] = "all"
        table[test] = errors(net, data)["all"]
    fitted = Potential(net.eval().requires_grad_(False), name, "", "", "")
    starts = next(iter(tests.values()))[: settings.molecules]
    ends = explosions(starts, fitted, temperature=settings.temperature, time=settings.time, seed=seed)
    results = {"errors": table, "apart_after": ends, "made_by": identity}
    write_atomically(done, json.dumps(results, indent=1) + "\n")
    return results


def _frames(patterns: Sequence[str], key: str) -> list[Atoms]:
    return [frame for frame in labelled_frames(_paths(patterns, key))[0] if len(frame) > 1]


def _paths(patterns: Sequence[str], key: str) -> list[str]:
    paths = [path for pattern in patterns for path in (sorted(glob.glob(str(pattern))) or [str(pattern)])]
    if not paths:
        raise UserError(f"pretraining.{key} is empty; give labelled files")
    return paths


def _rows(result: dict[str, Any], settings: Any) -> list[record.Row]:
    name = f"{result['size']} labels, {INITIALIZATIONS[result['way']]}"
    rows = []
    for test, table in result["errors"].items():
        rows.append(record.Row(f"{name}: energy RMSE, {test}", table["energy_rmse_mev_atom"], "meV/atom", table["n"]))
        if "force_rmse_mev_a" in table:
            rows.append(
                record.Row(f"{name}: force RMSE, {test}", table["force_rmse_mev_a"], "meV/Angstrom", table["n"])
            )
    apart = sum(end is not None for end in result["apart_after"])
    title = f"{name}: exploded, {settings.temperature:g} K, {settings.time:g} ps"
    return [*rows, record.Row(title, apart, "molecules", len(result["apart_after"]))]


def _line(result: dict[str, Any]) -> str:
    forces = ", ".join(
        f"{k} {v['force_rmse_mev_a']:.1f}" for k, v in result["errors"].items() if "force_rmse_mev_a" in v
    )
    return f"{result['size']} labels, {INITIALIZATIONS[result['way']]}: force RMSE, meV/Angstrom: {forces}"


def _picture(results: Sequence[dict[str, Any]], path: Path) -> None:
    tests = list(results[0]["errors"])
    figure = Figure(figsize=(3.6 * len(tests), 3.2), layout="constrained")
    panels = figure.subplots(1, len(tests), squeeze=False)
    for panel, test in zip(panels[0], tests, strict=True):
        key = "force_rmse_mev_a" if "force_rmse_mev_a" in results[0]["errors"][test] else "energy_rmse_mev_atom"
        for name, label in INITIALIZATIONS.items():
            points = [(result["size"], result["errors"][test][key]) for result in results if result["way"] == name]
            panel.plot(*zip(*points, strict=True), marker="o", label=label)
        unit = "force RMSE, meV/Angstrom" if "force" in key else "energy RMSE, meV/atom"
        panel.set(xscale="log", yscale="log", xlabel="accurate labels", ylabel=unit, title=test)
        panel.legend(frameon=False)
    figure.savefig(path, dpi=120)
