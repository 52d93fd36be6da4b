"""The training structures of `hoip`. Structure k of a stream depends only on k and on this recipe.

gendesign's builder makes the perovskites. This module builds the other classes: salts and pairs of a cation with
halides, crystals of the metal halides and of caesium halides, and chains of face-sharing octahedra, which compete with
layers.
"""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.random import Generator
from rdkit import Chem
from scipy.spatial.transform import Rotation

from gendesign.errors import UserError
from gendesign.generate.perovskite.abbreviations import smiles_of
from gendesign.generate.perovskite.build import build_start
from gendesign.generate.perovskite.cation import Cation, isomers, read_cation
from gendesign.generate.perovskite.compound import BOND, CAGE, compose
from gendesign.generate.perovskite.contacts import clash, radii
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from scripts.hoip.cations import BROAD, FRESH, HELD_OUT, SMALL, TRAINED
from scripts.hoip.extra_cations import combined_cations
from scripts.hoip.streams import STREAMS, Draw, stream

Named = Callable[[], str]  # draws the SMILES of a cation

HELD_SHARE = 0.2  # fraction of the structures with an organic cation that have a held-out one
LIMITS = ((150, 30), (500, 45), (1 << 30, 70))  # (end, largest number of atoms of the structures before it)
WIDE, SALTS, EXTRA = STREAMS["wide"], STREAMS["salts"], STREAMS["extra"]
WIDE_MOST, SALTS_MOST, EXTRA_MOST = 34, 23, 46  # atoms
STRIDE = 89  # between successive cations of `salts`, so that families alternate
EXTRA_SHARE = 0.7  # fraction of `extra` with a cation of extra_cations.py; the others have a trained one
HALIDE_IONS = {"Cl": 3.1, "Br": 3.3, "I": 3.6}  # Angstrom between N and the ion that its hydrogen points to
MIXTURES = {1: ("I2Br2", "Br2Cl2", "I3Br", "Br3Cl", "IBr3"), 0: ("I2Br", "Br2Cl", "IBr2")}


def structure(k: int, most: int | None = None) -> Atoms:
    """Structure k: periodic atoms with info `kind`, `molecule` (the unit of a split) and `held_out`.

    most: largest number of atoms, None for the default of the stream.
    """
    rng = stream(Draw.STRUCTURE, k)
    if k in WIDE:
        smiles = (BROAD + FRESH)[(k - WIDE.start) % len(BROAD + FRESH)]
        limit, kinds, named = most or WIDE_MOST, WIDE_KINDS, lambda: smiles
    elif k in SALTS:
        smiles = SMALL[(k - SALTS.start) * STRIDE % len(SMALL)]
        limit, kinds, named = most or SALTS_MOST, SALTS_KINDS, lambda: smiles
    elif k in EXTRA:
        cations = combined_cations() if rng.random() < EXTRA_SHARE else TRAINED + BROAD + SMALL
        limit, kinds, named = most or EXTRA_MOST, EXTRA_KINDS, lambda: str(rng.choice(cations))
    else:
        limit, kinds, named = most or next(atoms for before, atoms in LIMITS if k < before), KINDS, lambda: _cation(rng)
    while True:
        kind = str(rng.choice(list(kinds), p=list(kinds.values())))
        try:
            atoms = BUILDERS[kind](rng, named)
        except UserError:  # such as a cation too large for the cage, or a mixture that does not fit the cell
            continue
        if atoms is not None and len(atoms) <= limit:
            name = atoms.info.get("molecule", atoms.get_chemical_formula(empirical=True))
            held = any(smiles in name.split() for smiles in HELD_OUT + FRESH)
            out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
            out.info = {"kind": kind, "molecule": name, "held_out": held, "stream": k}
            rigid = atoms.arrays.get("molecule", np.full(len(atoms), -1))
            out.set_array("rigid", rigid)
            return out


def _cation(rng: Generator) -> str:
    return str(rng.choice(HELD_OUT if rng.random() < HELD_SHARE else TRAINED))


def _metal(rng: Generator) -> str:
    return str(rng.choice(["Pb", "Sn"], p=[0.7, 0.3]))


def _halide(rng: Generator) -> str:
    return str(rng.choice(["I", "Br", "Cl"], p=[0.5, 0.28, 0.22]))


def _mixture(rng: Generator, layered: bool) -> str:
    return str(rng.choice(MIXTURES[layered])) if rng.random() < 0.1 else _halide(rng)


def one_isomer(smiles: str) -> str:
    """The cation, or one of its isomers if the SMILES is ambiguous, which generators reject."""
    forms = isomers(Chem.MolFromSmiles(smiles_of(smiles)))
    return smiles if len(forms) == 1 else Chem.MolToSmiles(forms[0])


def _built(rng: Generator, smiles: str, name: str, cells: tuple[str, ...], **compound) -> Atoms | None:
    # A third of the starts are closer to contact than those of a search.
    contact = float(rng.choice([0.62, 0.7, 0.7]))
    options = RandomStarts(cells=cells, padding=float(rng.choice([0.2, 1.5])), contact=contact, redraws=30)
    made = compose(Composition(one_isomer(smiles), metal=_metal(rng), conformers=4, **compound))
    start = build_start(made, options, seed=int(rng.integers(1 << 30)), index=0)
    if start.failure:
        return None
    start.atoms.info = {"molecule": name}
    return start.atoms


def layered(rng: Generator, named: Named) -> Atoms | None:
    """One slab per cell with one or two octahedra, one octahedron thick; cations with two charges bridge the slabs."""
    smiles = named()
    cells = ("1",) if rng.random() < 0.7 else ("sqrt2",)
    return _built(rng, smiles, smiles, cells, halide=_mixture(rng, True), thickness=1)


def thick(rng: Generator, named: Named) -> Atoms | None:
    """A slab of two octahedra, with methylammonium, formamidinium or caesium in the cages."""
    smiles, a_site = named(), str(rng.choice(["MA", "FA", "Cs"]))
    return _built(rng, smiles, smiles, ("1",), halide=_halide(rng), thickness=2, a_site=a_site)


def cubic(rng: Generator, named: Named) -> Atoms | None:
    """ABX3 with caesium, in one cell or a tilted one of four, or with a small organic cation."""
    if rng.random() < 0.35:
        cells = ("1",) if rng.random() < 0.4 else ("sqrt2",)
        atoms = _built(rng, "Cs", "", cells, halide=_mixture(rng, False), thickness="3d")
        if atoms is not None:
            del atoms.info["molecule"]
        return atoms
    smiles = str(rng.choice(["MA", "FA"])) if rng.random() < 0.5 else named()
    known = {"MA": TRAINED[0], "FA": "NC=[NH2+]"}.get(smiles, smiles)
    return _built(rng, smiles, known, ("1",), halide=_mixture(rng, False), thickness="3d")


def _salt_unit(rng: Generator, cation: Cation, halide: str, moved: bool) -> Atoms:
    """A cation with its halides, each next to a hydrogen on nitrogen, or near the nitrogen if it has no hydrogen.

    moved: the proton is between nitrogen and halide, so that the amine and the acid are in the training set too.
    """
    x = cation.conformers[int(rng.integers(len(cation.conformers)))].copy()
    numbers, apart = list(cation.numbers), np.linalg.norm(x[:, None] - x[None], axis=-1)
    donors = [(h, n) for h in np.flatnonzero(cation.numbers == 1) for n in np.flatnonzero(cation.numbers == 7)
              if apart[h, n] < 1.25]  # fmt: skip
    picked = [donors[i] for i in rng.permutation(len(donors))]
    used: list[np.ndarray] = []
    for _ in range(cation.charge):
        for h, n in picked or [(0, int(np.argmax(cation.numbers == 7)))]:
            along = (x[h] - x[n]) / apart[h, n]
            reach = HALIDE_IONS[halide] + rng.normal(0, 0.12)
            place = x[n] + (reach if picked else 4.3) * along
            if all(np.linalg.norm(place - other) > 3.4 for other in used):
                break
        if moved and picked:
            shift = rng.uniform(0, 1)
            bond = {"Cl": 1.29, "Br": 1.43, "I": 1.62}[halide]
            x[h] = x[n] + along * ((1 - shift) * 1.04 + shift * (reach - bond))
        used.append(place)
        numbers.append(atomic_numbers[halide])
    atoms = Atoms(numbers, np.vstack([x, used]))
    atoms.set_array("molecule", np.array([0] * len(x) + [-1] * len(used)))
    return atoms


def _packed(rng: Generator, parts: list[Atoms], share: float, loose: float) -> Atoms:
    """Rigid parts in a cell that is shrunk until two atoms are `share` of their van der Waals distance apart."""
    turned = []
    for part in parts:
        x = part.positions - part.positions.mean(0)
        turned.append(x @ Rotation.from_quat(rng.normal(size=4)).as_matrix().T)
    widths = np.max([np.ptp(x, axis=0) for x in turned], axis=0) + 4.5
    cell = np.diag(widths * [1, 1, len(parts)])
    cell[2, :2] = rng.uniform(-0.3, 0.3, 2) * widths[:2]
    fractions = np.array([np.array([0, 0, k / len(parts)]) + rng.normal(0, 0.02, 3) for k in range(len(parts))])
    sizes = [share * radii(part.numbers) for part in parts]

    def crowded(lattice: np.ndarray) -> bool:
        placed = [f @ lattice + x for f, x in zip(fractions, turned, strict=True)]
        empty = np.zeros((0, 3)), np.zeros(0)
        for k, positions in enumerate(placed):
            others = (np.concatenate(placed[:k]), np.concatenate(sizes[:k])) if k else empty
            if clash(positions, sizes[k], *others, lattice):
                return True
        return False

    stuck = np.zeros(3, dtype=bool)
    while not stuck.all():
        axis = int(rng.choice(np.flatnonzero(~stuck)))
        smaller = cell.copy()
        smaller[axis] *= 0.96
        if crowded(smaller) or np.linalg.norm(smaller[axis]) < 3.6:
            stuck[axis] = True
        else:
            cell = smaller
    cell = cell * loose
    out = Atoms(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([f @ cell + x for f, x in zip(fractions, turned, strict=True)]),
        cell=cell,
        pbc=True,
    )
    names = [np.where(part.arrays["molecule"] < 0, -1, k) for k, part in enumerate(parts)]
    out.set_array("molecule", np.concatenate(names))
    return out


def salt(rng: Generator, named: Named) -> Atoms | None:
    """A salt with one or two formula units packed at random, from close contact to slightly loose."""
    smiles, halide = named(), _halide(rng)
    cation = read_cation(one_isomer(smiles), 4)
    parts = [_salt_unit(rng, cation, halide, moved=rng.random() < 0.1) for _ in range(int(rng.choice([1, 2])))]
    atoms = _packed(rng, parts, float(rng.uniform(0.68, 0.85)), float(rng.choice([1.0, 1.0, 1.05])))
    atoms.info["molecule"] = smiles
    return atoms


def pair(rng: Generator, named: Named) -> Atoms | None:
    """An almost isolated neutral pair with the proton anywhere between nitrogen and halide."""
    smiles, halide = named(), _halide(rng)
    cation = read_cation(one_isomer(smiles), 4)
    unit = _salt_unit(rng, cation, halide, moved=rng.random() < 0.6)
    atoms = _packed(rng, [unit], 0.8, float(rng.uniform(1.15, 1.45)))
    atoms.info["molecule"] = smiles
    return atoms


def metal_halide(rng: Generator, named: Named) -> Atoms | None:
    """MX2 in layers (as CdI2 and PbI2) or dense (as cotunnite, PbCl2)."""
    metal, halide = _metal(rng), _halide(rng)
    bond = BOND[metal][halide]
    if rng.random() < 0.5:
        a, c = 1.43 * bond, 2.18 * bond
        cell = [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c * rng.uniform(0.92, 1.15)]]
        scaled = [[0, 0, 0], [1 / 3, 2 / 3, 0.265], [2 / 3, 1 / 3, 0.735]]
        atoms = Atoms([metal, halide, halide], scaled_positions=scaled, cell=cell, pbc=True)
        return atoms.repeat((2, 1, 1)) if rng.random() < 0.6 else atoms
    scale = bond / 2.85
    sites = [(metal, 0.087, 0.25, 0.988), (halide, 0.357, 0.25, 0.073), (halide, 0.479, 0.75, 0.837)]
    return _pnma(sites, np.array([7.62, 4.53, 9.05]) * scale)


def _pnma(sites: list[tuple[str, float, float, float]], lengths: np.ndarray) -> Atoms:
    symbols, scaled = [], []
    for symbol, x, y, z in sites:
        scaled += [(x, y, z), (0.5 - x, y + 0.5, z + 0.5), (-x, y + 0.5, -z), (x + 0.5, y, 0.5 - z)]
        symbols += [symbol] * 4
    return Atoms(symbols, scaled_positions=np.array(scaled) % 1.0, cell=lengths, pbc=True)


def caesium_halide(rng: Generator, named: Named) -> Atoms | None:
    """CsX as CsCl or as rock salt."""
    halide = _halide(rng)
    if rng.random() < 0.6:
        a = {"Cl": 4.12, "Br": 4.29, "I": 4.57}[halide]
        atoms = Atoms(["Cs", halide], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[a] * 3, pbc=True)
        return atoms.repeat((2, 2, 1) if rng.random() < 0.6 else 1)
    a = {"Cl": 6.9, "Br": 7.2, "I": 7.65}[halide]
    cell = np.array([[0, a, a], [a, 0, a], [a, a, 0]]) / 2
    atoms = Atoms(["Cs", halide], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)
    return atoms.repeat((2, 1, 1))


def chains(rng: Generator, named: Named) -> Atoms | None:
    """AMX3 of face-sharing octahedra (hexagonal, as the yellow form of formamidinium lead iodide)."""
    smiles = "Cs" if rng.random() < 0.3 else named()
    cation = read_cation(one_isomer(smiles), 4)
    if cation.charge != 1 or cation.heavy > CAGE + 2:
        return None
    metal, halide = _metal(rng), _halide(rng)
    bond = BOND[metal][halide]
    c, a = 2.47 * bond, (2.45 if smiles == "Cs" else 2.7 + 0.12 * max(0, cation.heavy - 3)) * bond
    around = 0.788 * bond / a / 3**0.5
    angles = np.radians([0, 120, 240])
    cell = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    rings = [[around * 3**0.5 * a * np.cos(t), around * 3**0.5 * a * np.sin(t), c / 4] for t in angles + np.pi / 6]
    rings += [[around * 3**0.5 * a * np.cos(t), around * 3**0.5 * a * np.sin(t), 3 * c / 4] for t in angles - np.pi / 6]
    numbers = [atomic_numbers[metal]] * 2 + [atomic_numbers[halide]] * 6
    positions, names = [[0, 0, 0], [0, 0, c / 2], *rings], [-1] * 8
    for k, place in enumerate(([1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75])):
        shape = cation.conformers[int(rng.integers(len(cation.conformers)))]
        for _ in range(200):
            x = (shape - shape.mean(0)) @ Rotation.from_quat(rng.normal(size=4)).as_matrix().T + np.array(place) @ cell
            sizes = 0.66 * radii(cation.numbers)
            if not clash(x, sizes, np.array(positions), 0.66 * radii(np.array(numbers)), cell):
                break
        else:
            return None
        numbers, positions = [*numbers, *cation.numbers], [*positions, *x]
        names += [k] * len(x)
    atoms = Atoms(numbers, positions, cell=cell, pbc=True)
    atoms.set_array("molecule", np.array(names))
    if smiles != "Cs":
        atoms.info["molecule"] = smiles
    return atoms


BUILDERS: dict[str, Callable[[Generator, Named], Atoms | None]] = {
    "layered": layered,
    "thick": thick,
    "cubic": cubic,
    "salt": salt,
    "pair": pair,
    "metal halide": metal_halide,
    "caesium halide": caesium_halide,
    "chains": chains,
}
KINDS = {  # relative frequencies
    "layered": 0.42,
    "thick": 0.04,
    "cubic": 0.17,
    "salt": 0.14,
    "pair": 0.05,
    "metal halide": 0.07,
    "caesium halide": 0.03,
    "chains": 0.08,
}
WIDE_KINDS = {"layered": 0.45, "salt": 0.45, "pair": 0.1}
SALTS_KINDS = {"salt": 0.7, "pair": 0.3}
EXTRA_KINDS = {"layered": 0.5, "salt": 0.34, "pair": 0.1, "chains": 0.06}


def strained(atoms: Atoms, rng: Generator, largest: float = 0.08) -> Atoms:
    """A random strain of the cell of up to `largest`; molecules are translated without deformation."""
    strain = rng.uniform(-largest, largest, (3, 3)) * rng.choice([0.4, 1.0])
    deformed = atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2)
    out = atoms.copy()
    middle = centres(atoms)
    moved = np.linalg.solve(atoms.cell.array.T, middle.T).T @ deformed
    out.set_cell(deformed)
    out.positions = atoms.positions - middle + moved
    return out


def centres(atoms: Atoms) -> np.ndarray:
    """The centre of the molecule of each atom, or the atom itself if it is in no molecule (atoms, 3)."""
    out = atoms.positions.copy()
    for name in set(atoms.arrays["rigid"].tolist()) - {-1}:
        mask = atoms.arrays["rigid"] == name
        out[mask] = atoms.positions[mask].mean(0)
    return out


def rattled(atoms: Atoms, rng: Generator) -> Atoms:
    """Atoms displaced by 0.02 to 0.15 Angstrom, those of molecules by half; half of the time molecules move rigidly."""
    out = atoms.copy()
    width = rng.choice([0.02, 0.05, 0.1, 0.15])
    inorganic = (atoms.arrays["rigid"] < 0)[:, None]
    out.positions += rng.normal(0, 1, out.positions.shape) * np.where(inorganic, width, 0.5 * width)
    if rng.random() < 0.5:
        middle = centres(out)
        for name in set(atoms.arrays["rigid"].tolist()) - {-1}:
            mask = atoms.arrays["rigid"] == name
            turn = Rotation.from_rotvec(rng.normal(0, rng.choice([0.08, 0.25]), 3)).as_matrix()
            out.positions[mask] = middle[mask] + (out.positions - middle)[mask] @ turn.T + rng.normal(0, 0.1, 3)
    return out


def apart(atoms: Atoms, share: float = 0.45) -> bool:
    """Whether atoms of different molecules are `share` of the van der Waals sum apart, and all atoms 0.7 Angstrom."""
    from ase.neighborlist import neighbor_list

    i, j, d = neighbor_list("ijd", atoms, 3.0)
    same = (atoms.arrays["rigid"][i] == atoms.arrays["rigid"][j]) & (atoms.arrays["rigid"][i] >= 0)
    size = radii(atoms.numbers)
    return bool((d[~same] > share * (size[i] + size[j])[~same]).all() and (d > 0.7).all())
