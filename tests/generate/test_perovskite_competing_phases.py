"""Competing phases: chains and units of the same composition, counted where they stay what they are."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from ionic import Ionic
from rdkit import Chem
from spacing import closest

from gendesign.generate.perovskite import comparison, competing_phases
from gendesign.generate.perovskite.build import build_start
from gendesign.generate.perovskite.competing_phases import competing_phases_energy, competing_start, competing_starts
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.motifs import motifs
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.relaxation import Relaxation
from gendesign.structure.perovskite import HALIDES, METALS, cation_fault

BOND = 3.0
# Of each motif: halides of a metal, and how many of them it shares with each of its neighbours.
SHARED = {
    "edge-sharing chain": (6, [2, 2]),
    "tetrahedra": (4, []),
    "seesaws": (4, []),
    "face-sharing chain": (6, [3, 3]),
    "edge-sharing double chain": (6, [2, 2, 2, 2]),
    "pyramids": (3, []),
}
CASES = {
    "butylammonium": dict(cation="CCCC[NH3+]"),
    "a bridge with tin": dict(cation="[NH3+]CCCC[NH3+]", metal="Sn", halide="Cl"),
    "a mixture": dict(cation="[NH3+]CCc1ccccc1", halide="I3Br"),
    "methylammonium": dict(cation="MA", thickness="3d", halide="Br"),
    "caesium": dict(cation="Cs", thickness="3d"),
}


def shared(atoms: Atoms, reach: float) -> tuple[set[int], list[list[int]]]:
    """Numbers of halides within `reach` of a metal, and for each metal how many it shares with which neighbour."""
    first, second, shift = neighbor_list("ijS", atoms, reach)
    around: dict[int, list[tuple]] = {m: [] for m in np.flatnonzero(np.isin(atoms.numbers, METALS)).tolist()}
    for i, j, s in zip(first, second, shift, strict=True):
        if i in around and atoms.numbers[j] in HALIDES:
            around[i].append((j, *s))
    counts = []
    for mine in around.values():
        count = Counter()
        for other, its in around.items():
            for halide, *s in mine:
                for same, *t in its:
                    if halide == same:
                        count[(other, *np.subtract(s, t))] += 1
        counts.append(sorted(n for n in count.values() if n < len(mine)))
    return {len(mine) for mine in around.values()}, counts


@pytest.mark.parametrize("layered", [True, False])
def test_motifs_share_what_their_names_say(layered):
    for motif in motifs(layered, BOND):
        cell = np.diag([30.0, 30, 30])
        cell[: len(motif.lattice)] = motif.lattice
        assert len(motif.halides) == (4 if layered else 3) * len(motif.metals)
        symbols = ["Pb"] * len(motif.metals) + ["I"] * len(motif.halides)
        atoms = Atoms(symbols, np.concatenate([motif.metals, motif.halides]), cell=cell, pbc=True)
        coordination, neighbours = SHARED[motif.name]
        found, counts = shared(atoms, BOND + 0.01)
        assert found == {coordination} and counts == [neighbours] * len(motif.metals)
        lengths = atoms.get_all_distances(mic=True)[: len(motif.metals), len(motif.metals) :]
        assert lengths.min() == pytest.approx(BOND if coordination == 6 else 0.93 * BOND)


def test_edge_sharing_octahedra_are_regular_and_shared_faces_stretched():
    chain, face = motifs(True, BOND)[0], motifs(False, BOND)[0]
    assert chain.lattice[0, 0] == pytest.approx(np.sqrt(2) * BOND)
    vectors = (chain.halides[:, None] + np.array([-1, 0, 1])[None, :, None] * chain.lattice[0]).reshape(-1, 3)
    vectors = vectors[np.linalg.norm(vectors, axis=1) < BOND + 0.01] / BOND
    assert np.sort(np.abs(vectors @ vectors.T).ravel()).round(6).tolist() == [0.0] * 24 + [1.0] * 12
    # Yellow formamidinium lead iodide has c = 7.9 Angstrom, and starts Pb-I 3.2.
    assert face.lattice[0, 0] * 3.2 / BOND == pytest.approx(7.9, abs=0.05)
    longer = chain.repeated(3)
    assert len(longer.metals) == 3 and longer.lattice[0, 0] == pytest.approx(3 * chain.lattice[0, 0])


@pytest.mark.parametrize("case", CASES)
def test_competing_phases_are_crystals_of_the_composition(case):
    compound = compose(Composition(**CASES[case]))
    names = set()
    for atoms in competing_starts(compound, 3):
        units, name = atoms.info["formula_units"], atoms.info["motif"]
        names.add(name)
        assert atoms.pbc.all() and atoms.get_chemical_formula("hill") == compound.formula(units)
        assert charge(atoms) == 0 and cation_fault(atoms, atoms.info["cations"]) == ""
        assert closest(atoms) >= competing_phases.CONTACT - 1e-6
        molecule = atoms.arrays["molecule"]
        inorganic = units * (1 + compound.sites)
        assert (molecule[:inorganic] == -1).all()
        assert set(molecule[inorganic:]) == set(range(units * compound.spacers))
        assert np.isin(atoms.numbers[:units], METALS).all() and np.isin(atoms.numbers[units:inorganic], HALIDES).all()
        coordination, neighbours = SHARED[name]  # within more than the jolts of a start, less than to the next chain
        assert shared(atoms, 1.1 * compound.bond) == ({coordination}, [neighbours] * units)
        assert 0.35 * loose(atoms) < atoms.get_volume() < 1.1 * loose(atoms)
    assert names == {motif.name for motif in motifs(compound.thickness is not None, BOND)}


def charge(atoms: Atoms) -> int:
    number, smiles = atoms.info["cations"].split()
    cations = int(number) * Chem.GetFormalCharge(Chem.MolFromSmiles(smiles))
    return cations + 2 * int(np.isin(atoms.numbers, METALS).sum()) - int(np.isin(atoms.numbers, HALIDES).sum())


def loose(atoms: Atoms) -> float:
    """Angstrom^3 of a loose packing: 30 for each heavy atom and 15 for each hydrogen, 80 for each heavy ion."""
    heavy = {z: 80.0 for z in (*METALS, *HALIDES, 55)} | {1: 15.0}
    return sum(heavy.get(int(z), 30.0) for z in atoms.numbers)


def test_a_competing_phase_depends_on_its_index_alone():
    compound = compose(Composition("CCCC[NH3+]"))
    alone, batch = competing_start(compound, 1), competing_starts(compound, 2)
    assert np.array_equal(alone.positions, batch[1].positions) and np.array_equal(alone.cell, batch[1].cell)
    other = competing_start(compound, 4)  # the same motif, drawn anew
    assert other.info["motif"] == alone.info["motif"] and not np.allclose(other.cell, alone.cell)


def test_there_are_compounds_without_competing_phases():
    assert competing_starts(compose(Composition("CCCC[NH3+]", thickness=2)), 3) == []
    assert competing_starts(compose(Composition("C[NH3+]", halide="I2Br")), 3) == []  # 4 or 8 halides are no thirds
    assert competing_phases_energy(compose(Composition("CCCC[NH3+]", thickness=2)), Ionic(), 3) is None


@pytest.fixture
def quick(monkeypatch):
    for name in ("ROUGH", "FINAL"):
        monkeypatch.setattr(comparison, name, Relaxation("fire", 0.1, 2, cell=True))


def test_the_lowest_competing_phase_that_stays_one_counts(quick, monkeypatch):
    compound, potential = compose(Composition("C[NH3+]")), Ionic()
    found = competing_starts(compound, 3)
    single = [comparison.lowest([atoms.copy()], potential) for atoms in found]
    assert len(found) == 3 and competing_phases_energy(compound, potential, 3) == pytest.approx(min(single))
    layer = build_start(compound, RandomStarts(cells=("1",)), 0, 0).atoms
    broken = found[0].copy()
    broken.positions[-1] += [0, 0, 1.5]
    monkeypatch.setattr(competing_phases, "competing_starts", lambda compound, count: [layer, broken, found[1]][:count])
    assert comparison.lowest([layer.copy()], potential) is not None
    assert competing_phases_energy(compound, potential, 1) is None  # the perovskite itself
    assert competing_phases_energy(compound, potential, 2) is None  # a hydrogen has left
    assert competing_phases_energy(compound, potential, 3) == pytest.approx(single[1])


def test_the_generator_offers_both_comparisons(quick):
    search = Perovskite(Ionic(), Composition("C[NH3+]"), RandomStarts(cells="1"))
    assert set(search.comparisons) == {"decomposition", "competing_phases"}
    assert search.comparisons["competing_phases"](1) == pytest.approx(
        competing_phases_energy(search.compound, Ionic(), 1)
    )
