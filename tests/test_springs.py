"""The springs behind the preconditioned optimizer: against finite differences, and bonds counted by rdkit."""

import numpy as np
import pytest
import torch_sim as ts
from ase import Atoms
from ase.build import bulk
from rdkit import Chem
from rdkit.Chem import AllChem
from toy import ToyPotential

from gendesign.generate.perovskite.build import build_start
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.potential import load_potential
from gendesign.relaxation import Relaxation, relax
from gendesign.relaxation.preconditioned import PreconditionedLBFGS
from gendesign.relaxation.springs import BEND, FLOOR, SINGLE, STRETCH, TURN, model_hessian, springs


def molecule(smiles: str) -> tuple[Atoms, np.ndarray]:
    """Atoms of a conformer and how many bonds lie between each two of them, by rdkit."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    return Atoms(symbols, mol.GetConformer().GetPositions()), Chem.GetDistanceMatrix(mol)


@pytest.mark.parametrize("smiles", ["C1CC1[NH3+]", "CCO", "c1ccoc1CN", "C=CC(=O)Cl"])
@pytest.mark.parametrize("across", [False, True])
def test_stiffness_follows_the_bonds_between_two_atoms(smiles, across):
    atoms, between = molecule(smiles)
    if across:  # the same molecule in a cell whose faces cut it
        atoms.set_cell([14.0, 15.0, 16.0])
        atoms.pbc = True
        atoms.wrap()
    first, second, vectors, stiffness = springs(atoms)
    lengths = np.linalg.norm(vectors, axis=1)
    rows = zip(first.tolist(), second.tolist(), 2 * stiffness, lengths, strict=True)
    found = {(i, j): (stiff, length) for i, j, stiff, length in rows}
    assert {pair for pair in zip(*np.nonzero((between > 0) & (between < 4)), strict=True)} <= set(found)
    for (i, j), (stiff, length) in found.items():
        apart = int(between[i, j])
        if apart == 1:
            assert stiff == pytest.approx(STRETCH * min(1.0, (SINGLE / length) ** 4))
        elif apart < 4:
            assert stiff == {2: BEND, 3: TURN}[apart]
        else:
            assert stiff < TURN + 0.2


def test_the_hessian_is_that_of_the_springs_by_finite_differences():
    atoms = bulk("Ar", "fcc", a=5.0, cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + [[0.0, 0.02, 0], [0, 0.05, 0], [0.01, 0, -0.03]]), scale_atoms=True)
    deformation, weight, n = np.diag([1.1, 0.95, 1.02]) + 0.03, 2.0, len(atoms)
    first, second, vectors, stiffness = springs(atoms)
    rest = np.linalg.norm(vectors, axis=1)
    inverse = np.linalg.inv(deformation)
    y = atoms.positions @ inverse
    images = vectors @ inverse - (y[second] - y[first])  # of lattice vectors, before the deformation

    def energy(q: np.ndarray) -> float:
        moved, strained = q[: 3 * n].reshape(n, 3), q[3 * n :].reshape(3, 3) / weight
        lengths = np.linalg.norm((moved[second] - moved[first] + images) @ strained, axis=1)
        return float(0.5 * (stiffness * (lengths - rest) ** 2).sum())

    place, h = np.concatenate([y.ravel(), weight * deformation.ravel()]), 1e-3
    step = h * np.eye(len(place))
    numeric = np.zeros((len(place), len(place)))
    for sign, to in ((1, (1, 1)), (-1, (1, -1)), (-1, (-1, 1)), (1, (-1, -1))):
        ends = [[energy(place + to[0] * a + to[1] * b) for b in step] for a in step]
        numeric += sign * np.array(ends) / (4 * h * h)
    exact = model_hessian(atoms, deformation, weight) - FLOOR * np.eye(len(place))
    np.testing.assert_allclose(exact, numeric, atol=2e-4)
    assert np.linalg.eigvalsh(exact).min() > -1e-9


def test_the_gradient_by_atoms_and_cell_is_that_of_the_enthalpy():
    atoms = bulk("Ar", "fcc", a=5.0, cubic=True)
    atoms.rattle(0.1, seed=3)
    model, pressure = ToyPotential("lj").as_torchsim(stress=True), 0.004
    optimizer = PreconditionedLBFGS(atoms, True, pressure)
    # away from the start, where strain and deformation are not the same thing
    optimizer._set_x(optimizer._x() + np.random.default_rng(1).normal(0, 0.05, 3 * len(atoms) + 9))

    def evaluate(one: PreconditionedLBFGS) -> None:
        output = model(ts.io.atoms_to_state([one.atoms], model.device, model.dtype))
        one.update(float(output["energy"][0]), output["forces"].numpy(), output["stress"][0].numpy())

    evaluate(optimizer)
    x, gradient = optimizer._x(), optimizer._gradient()
    for k in range(len(x)):
        ends = []
        for sign in (1, -1):
            move = np.zeros_like(x)
            move[k] = sign * 1e-4
            optimizer._set_x(x + move)
            evaluate(optimizer)
            ends.append(optimizer._energy())
        numeric = (ends[0] - ends[1]) / 2e-4
        assert gradient[k] == pytest.approx(numeric, abs=2e-4)


def test_a_rise_is_taken_back():
    """A step that ends higher than where it began is shortened from there, whatever the springs say."""
    optimizer = PreconditionedLBFGS(Atoms("Ar2", [[0, 0, 0], [3.5, 0, 0]]), False, 0.0)
    optimizer.update(-1.0, np.array([[-1.0, 0, 0], [1.0, 0, 0]]), None)
    optimizer.step(1e-12)
    before, far = optimizer.accepted.x, optimizer._x()
    optimizer.update(-0.5, np.array([[3.0, 0, 0], [-3.0, 0, 0]]), None)
    optimizer.step(1e-12)
    assert optimizer.accepted.x is before and optimizer.accepted.energy == -1.0
    assert np.abs(optimizer._x() - before).max() < 0.5 * np.abs(far - before).max()


def test_out_of_steps_the_lower_place_is_the_end():
    """With so few steps that some runs end on a step that leads upwards: never higher than the run of one step less."""
    starts = []
    for seed in range(8):
        crystal = bulk("Ar", "fcc", a=5.0, cubic=True)
        crystal.rattle(0.3, seed=seed)
        starts.append(crystal)
    before = None
    for steps in range(1, 16):
        done = relax(starts, ToyPotential("lj"), Relaxation("precon_lbfgs", 1e-4, steps, cell=True, max_stress=1e-4))
        energies = np.array([c.info["energy"] for c in done])
        assert before is None or (energies < before + 1e-9).all()
        before = energies


def test_a_molecular_crystal_takes_a_fraction_of_the_steps():
    """Ethylammonium lead iodide from random starts, under the bundled potential, to the same forces and stress."""
    potential, made = load_potential("hoip"), compose(Composition("CC[NH3+]", metal="Pb", halide="I"))
    starts = [build_start(made, RandomStarts(cells=("1",)), seed=5, index=i).atoms for i in range(3)]
    steps = {}
    for optimizer in ("precon_lbfgs", "lbfgs"):
        limits = Relaxation(optimizer, 0.03, 400, cell=True, pressure=0.5)
        done = relax(starts, potential, limits)
        steps[optimizer] = sum(c.info["steps"] for c in done)
        assert optimizer == "lbfgs" or all(c.info["converged"] for c in done)
    assert 2 * steps["precon_lbfgs"] < steps["lbfgs"]
