"""Label real molecules (QM9, MOSES) and what they lack, for the third version of `organic`.

    python -m scripts.organic.real qm9 0 200          # molecules of QM9: minima, thermal, torn, fragments
    python -m scripts.organic.real moses 0 300        # drug-like molecules of MOSES
    python -m scripts.organic.real rare 0 300         # B, Si, P, Br, I and hypervalent S
    python -m scripts.organic.real conjugated 0 200   # rotated bonds between unsaturated groups
    python -m scripts.organic.real rotated 0 100      # rotated bonds of real molecules
    python -m scripts.organic.real builds 0 40        # random atom-by-atom builds of all elements
    python -m scripts.organic.real dimers 0 78        # one pair of elements a shard, with the isolated atoms
    python -m scripts.organic.real test 0 40          # the frozen real test set
Labels go to training/real-KIND. Shard i depends only on its index. A molecule of the test sets is in no other kind.
"""

import os
import sys
import warnings
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore", category=FutureWarning)

import numpy as np  # noqa: E402
from ase import Atoms  # noqa: E402
from rdkit import Chem  # noqa: E402
from rdkit.Chem import rdForceFieldHelpers  # noqa: E402

from gendesign.structure.bonds import perceive  # noqa: E402
from gendesign.train.label import label_shards  # noqa: E402
from gendesign.train.teachers.semiempirical import FAILURES, gfn2_label  # noqa: E402
from scripts.organic.molecules import embed, graph_key  # noqa: E402
from scripts.organic.rare_elements import ELEMENTS, conjugated_molecule, rare_molecule  # noqa: E402
from scripts.organic.structures import (  # noqa: E402
    as_atoms,
    dynamics,
    in_test,
    labelled,
    pair,
    random_build,
    torn,
    turned,
    unfinished,
)
from scripts.organic.well import Well  # noqa: E402
from scripts.organic.wheels import moses, qm9  # noqa: E402

QM9_PER_SHARD, MOSES_PER_SHARD, RARE_PER_SHARD, ROTATED_PER_SHARD = 40, 12, 30, 20
TEST_PER_SHARD = 10
TEMPERATURES = (300, 600, 1000)  # K, of harmonic samples


def held_out(mol) -> bool:
    """Whether a molecule belongs to the test sets: nine and more heavy atoms, by a hash of its graph."""
    return mol.GetNumHeavyAtoms() >= 9 and in_test(graph_key(mol))


def qm9_molecule(index: int):
    """(key, molecule with the B3LYP geometry) of molecule `index` of QM9; None if its bonds are unclear."""
    row = qm9()[index]
    mol = perceive(Atoms(row.atoms.numbers, row.atoms.positions)).mol
    known = Chem.MolFromSmiles(row.smiles)
    return None if mol is None or known is None or graph_key(mol) != graph_key(known) else (graph_key(mol), mol)


def moses_molecule(part: str, index: int):
    """(key, embedded molecule) of molecule `index` of a part of MOSES; None if RDKit cannot embed it."""
    mol = Chem.MolFromSmiles(moses(part)[index])
    full = embed(mol, index)
    return None if full is None else (graph_key(mol), full)


def around(full, key: str, rng, *, steps: int, temperatures, distorted: float) -> list[Atoms]:
    """Labels about the minimum of one molecule.

    `steps` steps from its geometry towards the minimum of the teacher, a harmonic sample at each of `temperatures` (K),
    and with probability `distorted` each a torn geometry and fragments with open shells.
    """
    if not rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
        return []
    start, well, out = as_atoms(full), Well(full), []
    x = start.positions.copy()
    for _ in range(steps + 1):
        label = labelled([Atoms(start.numbers, x)], "path", key)
        out += label
        if not label:
            return out
        x = x + well.newton_step(label[0].arrays["forces"])
    for temperature in temperatures:
        displacement = well.samples(temperature, 1, rng)[0]
        out += labelled([Atoms(start.numbers, x + displacement)], "thermal", key)
    base = Atoms(start.numbers, x)
    if rng.random() < distorted:
        out += labelled(torn(base, rng)[-1:], "violent", key)
    if rng.random() < distorted:
        out += labelled(unfinished(base, rng), "fragment", key, open_shell=True)
    return out


def qm9_shard(index: int) -> list[Atoms]:
    """Forty molecules of QM9."""
    rng = np.random.default_rng([index, 21])
    out: list[Atoms] = []
    for k in range(index * QM9_PER_SHARD, (index + 1) * QM9_PER_SHARD):
        molecule = qm9_molecule(k)
        if molecule is None or held_out(molecule[1]):
            continue
        key, full = molecule
        out += around(full, key, rng, steps=2, temperatures=TEMPERATURES, distorted=0.35)
    return out


def moses_shard(index: int) -> list[Atoms]:
    """Twelve drug-like molecules; their size makes every label cost as much as ten of QM9."""
    rng = np.random.default_rng([index, 22])
    out: list[Atoms] = []
    for k in range(index * MOSES_PER_SHARD, (index + 1) * MOSES_PER_SHARD):
        molecule = moses_molecule("train", k)
        if molecule is None or held_out(molecule[1]):
            continue
        key, full = molecule
        out += around(full, key, rng, steps=2, temperatures=rng.choice(TEMPERATURES, 2, replace=False), distorted=0.1)
        x = turned(full, rng)
        if x is not None:
            out += labelled([Atoms(as_atoms(full).numbers, x)], "turned", key)
    return out


def rare_shard(index: int) -> list[Atoms]:
    """Thirty molecules with rare elements; UFF is poor for some, so more steps lead towards the teacher's minimum."""
    rng = np.random.default_rng([index, 23])
    out: list[Atoms] = []
    before = None
    for k in range(index * RARE_PER_SHARD, (index + 1) * RARE_PER_SHARD):
        mol = rare_molecule("train", k)
        full = None if held_out(mol) else embed(mol, k)
        if full is None:
            continue
        new = around(full, graph_key(mol), rng, steps=5, temperatures=TEMPERATURES, distorted=0.5)
        out += new
        last = next((f for f in reversed(new) if f.info["kind"] == "path"), None)
        if last is not None and before is not None and len(last) + len(before) <= 36 and rng.random() < 0.3:
            out += labelled([pair(last, before, rng)], "pair", graph_key(mol))
        before = last
    return out


def rotated_labels(full, key: str, count: int, rng) -> list[Atoms]:
    """Labels with one bond rotated by `count` random angles; every second one is displaced at random."""
    out: list[Atoms] = []
    numbers = as_atoms(full).numbers
    for number in range(count):
        x = turned(full, rng)
        if x is None:
            break
        x = x + rng.normal(0, 0.03, x.shape) * (number % 2)
        out += labelled([Atoms(numbers, x)], "turned", key)
    return out


def conjugated_shard(index: int) -> list[Atoms]:
    """Twenty molecules with two unsaturated groups, seven angles each."""
    rng = np.random.default_rng([index, 24])
    out: list[Atoms] = []
    for k in range(index * ROTATED_PER_SHARD, (index + 1) * ROTATED_PER_SHARD):
        mol = conjugated_molecule("train", k)
        full = None if held_out(mol) else embed(mol, k)
        if full is not None:
            out += rotated_labels(full, graph_key(mol), 7, rng)
    return out


def rotated_shard(index: int) -> list[Atoms]:
    """Sixteen molecules of QM9 and four of MOSES, with rotated bonds."""
    rng = np.random.default_rng([index, 25])
    out: list[Atoms] = []
    for k in range(index * 16, (index + 1) * 16):
        molecule = qm9_molecule(len(qm9()) - 1 - k)
        if molecule is not None and not held_out(molecule[1]):
            out += rotated_labels(molecule[1], molecule[0], 5, rng)
    for k in range(index * 4, (index + 1) * 4):
        molecule = moses_molecule("train", len(moses("train")) - 1 - k)
        if molecule is not None and not held_out(molecule[1]):
            out += rotated_labels(molecule[1], molecule[0], 3, rng)
    return out


ABUNDANCE = (0.36, 0.03, 0.30, 0.08, 0.09, 0.03, 0.03, 0.02, 0.02, 0.02, 0.01, 0.01)


def builds_shard(index: int) -> list[Atoms]:
    """A hundred random builds of all elements, as an untrained agent makes them."""
    rng = np.random.default_rng([index, 26])
    frames = [random_build(rng, ELEMENTS, ABUNDANCE) for _ in range(100)]
    return labelled(frames, "build", f"build-{index}", open_shell=True)


DISTANCES = np.concatenate([np.arange(0.5, 2.9, 0.06), np.arange(2.9, 5.0, 0.2)])  # Angstrom


def dimer_shard(index: int) -> list[Atoms]:
    """The curve of one diatomic molecule from 0.5 Angstrom, without the bound on forces, and its first atom."""
    first, second = list(combinations_with_replacement(ELEMENTS, 2))[index]
    out = labelled([Atoms([first])], "atom", "atom", open_shell=True) if first == second else []
    for r in DISTANCES:
        frame = Atoms([first, second], [[0, 0, 0], [0, 0, r]], info={"kind": "dimer", "molecule": first + second})
        answer = gfn2_label(frame, open_shell=True)
        out += [answer] if answer is not None else []
    return out


def test_labels(full, key: str, name: str, rng) -> list[Atoms]:
    """The minimum of the teacher, and 20 fs of its dynamics from a harmonic sample at 300 and at 600 K."""
    well = Well(full)
    try:
        minimum = well.relaxed(as_atoms(full), fmax=0.01, calls=150)
        if minimum is None:
            return []
        out = labelled([minimum], f"{name}-relaxed", key)
        for temperature in (300, 600):
            start = Atoms(minimum.numbers, minimum.positions + well.samples(temperature, 1, rng)[0])
            out += labelled(dynamics(start, temperature / 2, [20], rng), f"{name}-{temperature}", key)
    except FAILURES:
        return []
    return out


def test_shard(index: int) -> list[Atoms]:
    """Ten held-out molecules of QM9 and ten of the test part of MOSES.

    The half temperature of `dynamics` gives its start the kinetic energy of the harmonic sample.
    """
    rng = np.random.default_rng([index, 27])
    out: list[Atoms] = []
    chosen = []
    for k in range(index * 600, (index + 1) * 600):
        molecule = qm9_molecule(k)
        if molecule is not None and held_out(molecule[1]):
            chosen.append(molecule)
        if len(chosen) == TEST_PER_SHARD:
            break
    for key, full in chosen:
        out += test_labels(full, key, "qm9", rng)
    for k in range(index * TEST_PER_SHARD, (index + 1) * TEST_PER_SHARD):
        molecule = moses_molecule("test", k)
        if molecule is not None:
            out += test_labels(molecule[1], molecule[0], "moses", rng)
    return out


SHARDS = {
    "qm9": qm9_shard,
    "moses": moses_shard,
    "rare": rare_shard,
    "conjugated": conjugated_shard,
    "rotated": rotated_shard,
    "builds": builds_shard,
    "dimers": dimer_shard,
    "test": test_shard,
}

if __name__ == "__main__":
    kind, begin, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    workers = int(os.environ.get("WORKERS", "2"))
    qm9(), moses("train"), moses("test")  # before the workers are forked, so that all share them
    label_shards(partial(SHARDS[kind]), range(begin, end), Path("training") / f"real-{kind}", workers)
