"""Make the uncertainty model of a checkpoint: rigidity.safetensors, rigidity.yaml and rigidity.png.

    python -m scripts.organic.uncertainty [CHECKPOINT] [FOLDER] [every=1] [held=100000] [forces=60]
Uses the labels under training/. The covariance is that of COVARIANCE and visited-* (every `every`-th shard of each).
Half of the molecules of test calibrate it (at most `held` structures, `forces` of them with forces); the printed
numbers are measured on the other half. The files are written to FOLDER, by default that of the checkpoint.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from ase import Atoms  # noqa: E402

from gendesign.potential import load_mace  # noqa: E402
from gendesign.potential.batching import in_batches  # noqa: E402
from gendesign.potential.calibration import calibration_plot, calibration_table  # noqa: E402
from gendesign.potential.rigidity import MAX_ATOMS, Rigidity  # noqa: E402
from gendesign.potential.uncertainty import save_rigidity  # noqa: E402
from gendesign.structure.labels import labels_of  # noqa: E402
from gendesign.train.label import read_frames  # noqa: E402

ROOT = Path("training")
COVARIANCE = ("train", "modes", "wide", "real-qm9", "real-moses", "real-rare", "real-rotated")


def training_frames(every: int) -> list[Atoms]:
    """Training structures of every `every`-th shard."""
    folders = [d for d in sorted(ROOT.iterdir()) if d.name in COVARIANCE or d.name.startswith("visited")]
    return read_frames([file for d in folders for file in sorted(d.glob("shard-*.extxyz"))[::every]])


def held_out(most: int) -> tuple[list[Atoms], list[Atoms]]:
    """Two parts of the test set with different molecules, each thinned evenly to at most `most` structures."""
    parts: tuple[list[Atoms], list[Atoms]] = ([], [])
    frames = read_frames(sorted((ROOT / "test").glob("shard-*.extxyz")))
    side = {name: k % 2 for k, name in enumerate(sorted({str(f.info.get("molecule", "")) for f in frames}))}
    for frame in frames:
        parts[side[str(frame.info.get("molecule", ""))]].append(frame)
    return tuple(part[:: -(-len(part) // most)] for part in parts)


def energy_errors(rigidity: Rigidity, frames: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted standard deviation and error (structures,) of the energies in eV."""
    energies = [rigidity.potential.evaluate(part).energy.double().cpu() for part in in_batches(frames, MAX_ATOMS)]
    return rigidity(frames), np.concatenate(energies) - [labels_of(f)[0] for f in frames]


def force_errors(rigidity: Rigidity, frames: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted standard deviation and error of every force component in eV/Angstrom."""
    predictions = [rigidity.predict(part, forces=True) for part in in_batches(frames, MAX_ATOMS)]
    forces = np.concatenate([prediction.forces.double().cpu() for prediction in predictions])
    spread = np.concatenate([prediction.force_deviation.cpu() for prediction in predictions])
    return spread.ravel(), (forces - np.concatenate([labels_of(f)[1] for f in frames])).ravel()


def show(title: str, predicted: np.ndarray, error: np.ndarray) -> None:
    """Print the calibration table and the rank correlation of deviations and errors."""
    from scipy.stats import spearmanr

    print(f"\n{title}: Spearman correlation of deviation and error {spearmanr(predicted, abs(error)).statistic:.2f}")
    print("      n   predicted  actual rms   within 1   within 2")
    for row in calibration_table(predicted, error):
        print(f"{row.n:7d} {row.predicted:11.4f} {row.actual:11.4f} {row.within_one:10.2f} {row.within_two:10.2f}")


def kinds(rigidity: Rigidity, frames: Sequence[Atoms], predicted: np.ndarray, error: np.ndarray) -> None:
    """Print deviations and errors by class of structure."""
    sizes, names = np.array([len(f) for f in frames]), np.array([str(f.info.get("kind", "")) for f in frames])
    passed = predicted / sizes <= rigidity.thresholds["energy"]
    print("\nkind             n   deviation   rms error   (meV/atom)   below the threshold")
    for name in sorted(set(names)):
        members = names == name
        spread, wrong = (1000 * np.sqrt(np.mean((v[members] / sizes[members]) ** 2)) for v in (predicted, error))
        print(f"{name:10s} {members.sum():7d} {spread:11.2f} {wrong:11.2f} {'':14s}{passed[members].mean():11.2f}")


def main(*words: str) -> None:
    """Fit, calibrate, save and evaluate the uncertainty model."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    every, most, few = (int(options.get(k, v)) for k, v in (("every", 1), ("held", 100_000), ("forces", 60)))
    paths = [word for word in words if "=" not in word]
    checkpoint = paths[0] if paths else "checkpoints/organic"
    folder = Path(paths[1] if len(paths) > 1 else checkpoint)
    potential = load_mace(checkpoint)
    train = training_frames(every)
    rigidity = Rigidity.fit(potential, train)
    print(f"{potential.name} {potential.weights_hash[:12]}, {len(rigidity.covariance)} features in its last layer")
    print(f"{len(train)} training structures", flush=True)
    first, second = held_out(most)
    rigidity = rigidity.calibrated(first, [labels_of(f)[0] for f in first])
    part = first[:: -(-len(first) // few)]
    rigidity = rigidity.with_forces(part, [labels_of(f)[1] for f in part])
    save_rigidity(rigidity, folder)
    print(
        f"alpha {rigidity.factor:.3g}, of forces {rigidity.force_factor:.3g}, s {rigidity.regulariser:.1e} of the mean"
    )
    print(f"calibrated on {len(first)} structures, {len(part)} with forces; thresholds {rigidity.thresholds}")
    spread, error = energy_errors(rigidity, second)
    show("energies (eV)", spread, error)
    kinds(rigidity, second, spread, error)
    calibration_plot(spread, error, folder / "rigidity.png")
    part = second[:: -(-len(second) // few)]
    spread, error = force_errors(rigidity, part)
    show("force components (eV/Angstrom)", spread, error)
    calibration_plot(spread, error, folder / "rigidity_forces.png", quantity="force components", unit="eV/Angstrom")


if __name__ == "__main__":
    main(*sys.argv[1:])
