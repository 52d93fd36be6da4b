"""Local prediction rigidity (LPR) for training sets of different composition; after Chong et al., arXiv 2306.15638.

    python -m scripts.rigidity [CHECKPOINT] [shards=15]
First a toy model: environments of two kinds, A and B, whose local energies a linear model learns from total energies.
Then the last layer of CHECKPOINT with training sets of equal size from training/train. Writes docs/rigidity.png.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase import Atoms  # noqa: E402

from gendesign.errors import UserError  # noqa: E402
from gendesign.potential import Potential, load_mace  # noqa: E402
from gendesign.potential.rigidity import Rigidity  # noqa: E402
from gendesign.train.label import read_frames  # noqa: E402

WIDTH, CENTRES = 0.5, np.linspace(-2.5, 2.5, 16)  # of the toy's Gaussian features
KINDS = {"A": -1.0, "B": 1.0}  # centre of each kind of environment, scattered by SCATTER
SCATTER, RIDGE, NOISE = 0.25, 1e-4, 0.02
SIZE = 64  # structures of every training set
TOY = {
    "all 4 A + 4 B": lambda k: (4, 4),
    "A and B in any ratio": lambda k: (k % 9, 8 - k % 9),
    "4 A + 4 B, and 4 of pure A": lambda k: (8, 0) if k < 4 else (4, 4),
}


def toy_features(x: np.ndarray) -> np.ndarray:
    """Gaussian features (environments, 16) of environments x (environments,)."""
    return np.exp(-0.5 * ((x[:, None] - CENTRES) / WIDTH) ** 2)


def toy_energy(x: np.ndarray) -> np.ndarray:
    """The true local energies, with different levels and slopes for the two kinds."""
    return np.sin(1.3 * x) + 0.5 * x


def toy(generator: np.random.Generator) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """For each training set: median LPR by kind, and the spread of local energies over 200 fits to noisy totals."""
    tested = {kind: centre + SCATTER * generator.normal(size=200) for kind, centre in KINDS.items()}
    rows = []
    for name, counts in TOY.items():
        inside = [
            np.concatenate(
                [KINDS[kind] + SCATTER * generator.normal(size=n) for kind, n in zip("AB", counts(k), strict=True)]
            )
            for k in range(SIZE)
        ]
        features = np.stack([toy_features(x).sum(0) for x in inside])
        hessian = features.T @ features + RIDGE * np.eye(len(CENTRES))
        totals = np.array([toy_energy(x).sum() for x in inside])
        # each fit starts from other weights, which the ridge term retains in directions that the totals do not
        # determine
        start = np.sqrt(NOISE**2 / RIDGE) * generator.normal(size=(200, len(CENTRES)))
        noisy = totals + NOISE * generator.normal(size=(200, SIZE))
        weights = np.linalg.solve(hessian, features.T @ noisy.T + RIDGE * start.T)
        new = {kind: toy_features(x) for kind, x in tested.items()}
        rigid = {k: float(np.median(1 / np.sum(g.T * np.linalg.solve(hessian, g.T), 0))) for k, g in new.items()}
        rows.append((name, rigid, {k: float(np.median((g @ weights).std(1))) for k, g in new.items()}))
    return rows


def training_sets(frames: Sequence[Atoms]) -> dict[str, list[Atoms]]:
    """Sets of SIZE structures: of one composition, of any composition, and of one with 8 of the smallest molecules."""
    formula = [f.get_chemical_formula() for f in frames]
    most = Counter(formula).most_common(1)[0][0]
    same = [f for f, name in zip(frames, formula, strict=True) if name == most]
    one = [same[k % len(same)].copy() for k in range(SIZE)]
    for k, frame in enumerate(one):
        frame.rattle(0.05, seed=k)  # so that all sets have the same number of different geometries
    if len(frames) < SIZE:
        raise UserError(
            f"these shards hold {len(frames)} calm molecules and {SIZE} are needed; give more with shards=N"
        )
    spread = [f.copy() for f in frames[:: len(frames) // SIZE][:SIZE]]
    heavy = [(sum(f.numbers > 1), len(f), k) for k, f in enumerate(frames) if len(f) > 1]
    small = [frames[k].copy() for _, _, k in sorted(heavy)[:8]]
    for k, frame in enumerate((*spread, *small)):
        frame.rattle(0.05, seed=k)
    return {f"only {most}": one, f"{most} and 8 of the smallest": one[:-8] + small, "any molecules": spread}


def organic(potential: Potential, shards: int) -> tuple[list[str], list[tuple[str, np.ndarray, np.ndarray]]]:
    """Symbols of the tested atoms, and for each training set their LPR with the same ridge, and the spectrum."""
    files = sorted(Path("training/train").glob("shard-*.extxyz"))
    frames = [f for f in read_frames(files[:: -(-len(files) // shards)]) if f.info["kind"] in ("relaxed", "md300")]
    held = [f for f in read_frames(sorted(Path("training/test").glob("*.extxyz"))[:1]) if f.info["kind"] == "md300"]
    tested = held[:30]
    symbols = [s for f in tested for s in f.get_chemical_symbols()]
    rows, ridge = [], None
    for name, chosen in training_sets(frames).items():
        rigidity = Rigidity.fit(potential, chosen)
        mean = float(rigidity.covariance.diagonal().mean())
        ridge = 1e-6 * mean if ridge is None else ridge
        rigidity = Rigidity(potential, rigidity.covariance, ridge / mean)
        rows.append((name, rigidity.local_rigidity(tested).numpy(), torch.linalg.eigvalsh(rigidity.covariance).numpy()))
    return symbols, rows


def picture(toys, symbols: Sequence[str], rows, file: str) -> None:
    """LPR of the toy model by kind, against the spread of its fits, and LPR of the checkpoint by element."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    for name, rigid, spread in toys:
        left.loglog([rigid[k] for k in KINDS], [spread[k] for k in KINDS], "o", label=name)
    ends = np.array(left.get_xlim())
    left.loglog(ends, NOISE / np.sqrt(ends), color="0.6", lw=1, zorder=0)
    left.set(xlabel="LPR of local energies", ylabel="their spread over fits", title="toy: A and B")
    left.legend(fontsize=7)
    names = sorted(set(symbols), key=lambda s: (-symbols.count(s), s))
    for k, (name, lpr, _) in enumerate(rows):
        low, middle, high = np.array([np.quantile(lpr[np.array(symbols) == s], [0.1, 0.5, 0.9]) for s in names]).T
        at = np.arange(len(names)) + 0.2 * (k - 1)
        right.errorbar(at, middle, [middle - low, high - middle], fmt="o", ms=4, lw=1, label=name)
    right.set(yscale="log", ylabel="LPR", title="last layer of a MACE: atoms of held-out molecules")
    right.set_xticks(range(len(names)), [f"{s} ({symbols.count(s)})" for s in names])
    right.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def main(*words: str) -> None:
    """Print both tables and draw the picture."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    checkpoint = next((word for word in words if "=" not in word), "checkpoints/organic")
    toys = toy(np.random.default_rng(0))
    print(f"toy, {SIZE} structures of 8 environments: median LPR and spread of the local energies over 200 fits")
    print(f"{'training set':30s}   LPR of A   LPR of B   spread A   spread B")
    for name, rigid, spread in toys:
        print(f"{name:30s} {rigid['A']:10.3g} {rigid['B']:10.3g} {spread['A']:10.4f} {spread['B']:10.4f}")
    potential = load_mace(checkpoint, device="cpu", dtype="float64")
    symbols, rows = organic(potential, int(options.get("shards", 15)))
    names = sorted(set(symbols), key=lambda s: (-symbols.count(s), s))
    print(f"\n{potential.name} {potential.weights_hash[:12]}, {SIZE} structures, median LPR of {len(symbols)} atoms")
    print(f"{'training set':30s} {'all':>9s} " + " ".join(f"{s:>9s}" for s in names) + "  resolved")
    for name, lpr, values in rows:
        by = [np.median(lpr[np.array(symbols) == s]) for s in names]
        resolved = int((values > 1e-6 * rows[0][2].mean()).sum())
        print(f"{name:30s} {np.median(lpr):9.3g} " + " ".join(f"{v:9.3g}" for v in by) + f"  {resolved:8d}")
    picture(toys, symbols, rows, "docs/rigidity.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
