"""Draw docs/conditional.png: for each condition the first of a few attempts that meets it, after relaxation.

python -m scripts.conditional.picture [ATTEMPTS]
"""

import sys
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.figure import Figure

from gendesign import SimGen, load_potential, relax
from gendesign.generate.simgen.shape import Circle, Heart
from gendesign.generate.simgen.shape_files import Mesh, MoleculeShape
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.structure.bonds import connectivity, perceive

EXAMPLES = Path("docs/examples")


def draw(axis, atoms: Atoms, points: np.ndarray | None, known: Atoms | None, title: str) -> None:
    """A molecule seen along its thinnest direction, with the shape in grey and the marked atoms outlined in red."""
    x = atoms.positions if points is None else np.concatenate([atoms.positions, points])
    _, _, view = np.linalg.svd(atoms.positions - atoms.positions.mean(0), full_matrices=False)
    flat = (x - atoms.positions.mean(0)) @ view.T
    projected, depth = flat[: len(atoms), :2], flat[: len(atoms), 2]
    if points is not None:
        axis.scatter(*flat[len(atoms) :, :2].T, s=14, color="0.88", zorder=-100)
    near = (depth - depth.min()) / max(np.ptp(depth), 1e-9)
    for i, j in connectivity(atoms):
        shade = 0.7 - 0.5 * (near[i] + near[j]) / 2
        axis.plot(*projected[[i, j]].T, color=str(shade), lw=2.2, zorder=depth[[i, j]].mean() - 0.1)
    marked = np.zeros(len(atoms), bool)
    if known is not None:
        marked = np.linalg.norm(atoms.positions[:, None] - known.positions[None], axis=-1).min(1) < 1.0
    size = 260 * covalent_radii[atoms.numbers] ** 2
    for k in np.argsort(depth):
        axis.scatter(*projected[k], s=size[k], color=[jmol_colors[atoms.numbers[k]]], zorder=depth[k],
                     edgecolors="crimson" if marked[k] else "0.25", linewidths=2.0 if marked[k] else 0.6)  # fmt: skip
    axis.set_title(title, fontsize=10)
    axis.set_aspect("equal")
    axis.axis("off")
    axis.margins(0.12)


def first(potential, attempts: int, seed: int = 1, **settings) -> Atoms:
    """The first relaxed attempt that is valid and meets the conditions."""
    generator = SimGen(potential, **settings)
    for candidate in relax(list(generator.generate(range(attempts), seed=seed)), potential):
        atoms = Atoms(candidate.atoms.numbers, candidate.atoms.positions)
        mol = None if candidate.failure else perceive(atoms).mol
        if mol is not None and not generator.problem.requirements.broken_by(atoms, mol):
            return atoms
    raise SystemExit(f"none of {attempts} attempts met {settings}; give more")


def main(attempts: str = "4") -> None:
    """Draw all panels."""
    potential = load_potential("organic")
    pair, scaffold = (ase.io.read(EXAMPLES / f"{name}.extxyz", index=":") for name in ("pair", "scaffold"))
    (guest,) = ase.io.read(EXAMPLES / "guest.extxyz", index=":")
    ellipsoid = Mesh(str(EXAMPLES / "ellipsoid.stl"))
    target = MoleculeShape(str(EXAMPLES / "scaffold.extxyz"))
    alike = str(EXAMPLES / "alike.smi")

    def shaped(shape, n: int, **more) -> tuple[dict, np.ndarray, None]:
        return {"prior": ShapePrior(shape), "n_heavy_atoms": n, **more}, shape.points(n), None

    def joined(frames: list[Atoms], hydrogens: list[int], n: str) -> tuple[dict, None, Atoms]:
        heavy = [a[a.numbers > 1] for a in frames]
        known = sum(heavy[1:], heavy[0])
        return {"fragments": [Atoms(a.numbers, a.positions) for a in frames], "attachments": hydrogens,
                "n_heavy_atoms": n}, None, known  # fmt: skip

    panels: dict[str, Callable[[], tuple]] = {
        "circle, 18 heavy atoms": lambda: shaped(Circle(), 18),
        "heart, 24": lambda: shaped(Heart(), 24),
        "inside of a mesh, 14": lambda: shaped(ellipsoid, 14),
        "shape of another molecule": lambda: shaped(target, target.n_heavy_atoms),
        "grown on a scaffold": lambda: joined(scaffold, [19], "4"),
        "two fragments linked": lambda: joined(pair, [6, 18], "auto"),
        "C7H8N2O2": lambda: ({"formula": "C7H8N2O2"}, None, None),
        "ring around benzene, two N at most,\nlike given molecules": lambda: shaped(
            Circle(), 24, host=guest, counts="N0-2", reference=alike
        ),
    }
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    for axis, (title, make) in zip(figure.subplots(2, 4).flat, panels.items(), strict=True):
        settings, points, known = make()
        tries = int(attempts) * (4 if known is not None else 1)  # fragments often move further than they may
        draw(axis, first(potential, tries, **settings), points, known, title)
        print(title, flush=True)
    figure.savefig("docs/conditional.png", dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
