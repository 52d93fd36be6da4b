"""Every potential of the package passes the checks that a user's must pass, and the checks find what is wrong."""

from functools import partial

import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ionic import Ionic
from toy import ToyPotential

from gendesign.errors import UserError
from gendesign.potential import (
    Capability,
    Committee,
    PotentialBase,
    PotentialLike,
    PotentialWrapper,
    check_potential,
    load_potential,
    mace,
)
from gendesign.potential.conformance import CHECKS, assert_conforms
from gendesign.potential.uncertainty import stored_rigidity
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction


def committee() -> Committee:
    torch.manual_seed(2)
    net = mace.from_plain(tiny.settings(), torch.float64).requires_grad_(False)
    other = type(tiny.potential())(net, "other", "1", "MIT", "none")
    return Committee((tiny.potential(), other))


def organic_with_rigidity():
    return stored_rigidity(load_potential("organic", device="cpu", dtype="float64"))


POTENTIALS = {
    "tiny": tiny.potential,
    "tiny with vectors": partial(tiny.potential, max_l=1),
    "committee": committee,
    "organic": partial(load_potential, "organic", device="cpu", dtype="float64"),
    "organic in single precision": partial(load_potential, "organic", device="cpu"),
    "organic-cc": partial(load_potential, "organic-cc", device="cpu", dtype="float64"),
    "hoip": partial(load_potential, "hoip", device="cpu", dtype="float64"),
    "silicon-oxygen": partial(load_potential, "silicon-oxygen", device="cpu", dtype="float64"),
    "rigidity": organic_with_rigidity,
    "ionic": partial(Ionic, ("H", "C", "N", "I")),
    "toy": ToyPotential,
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_every_potential_conforms(name):
    potential = POTENTIALS[name]()
    assert isinstance(potential, PotentialLike)
    checks = check_potential(potential)
    assert [check.name for check in checks] == list(CHECKS)
    assert not [str(check) for check in checks if check.passed is False]
    skipped = [check.name for check in checks if check.passed is None]
    assert len(skipped) == len(Capability) - len(potential.supports)


class Harmonic(PotentialBase):
    """A smooth attraction between all near pairs of molecules: the least that a potential needs."""

    name, elements, cutoff = "harmonic", ("H", "C"), 4.0
    device, dtype = torch.device("cpu"), torch.float64

    def evaluate(self, structures, *, stress: bool = False) -> Prediction:
        energies, forces = [], []
        for atoms in self.batch(structures).to_atoms():
            r = torch.tensor(atoms.positions, requires_grad=True)
            near = torch.triu(torch.ones(len(r), len(r)), 1).bool()
            distance = torch.linalg.norm(r[:, None] - r[None] + 1e-300, dim=-1)[near]
            inside = distance < self.cutoff
            energy = (((distance / self.cutoff) ** 2 - 1)[inside] ** 3).sum()
            energies.append(energy.detach())
            forces.append(-torch.autograd.grad(energy, r)[0])
        return Prediction(torch.stack(energies), torch.cat(forces))


MOLECULES = [molecule("CH4"), molecule("C2H6"), molecule("C2H2")]


def test_five_attributes_and_one_method_are_a_potential():
    assert_conforms(Harmonic(), MOLECULES)
    skipped = [check.name for check in check_potential(Harmonic(), MOLECULES) if check.passed is None]
    assert len(skipped) == 3
    with pytest.raises(UserError, match="harmonic gives no stress, only energies, forces"):
        Harmonic().as_torchsim(stress=True)
    with pytest.raises(UserError, match="gives no descriptors"):
        Harmonic().descriptors(MOLECULES)
    with pytest.raises(UserError, match="two or more"):
        check_potential(Harmonic(), MOLECULES[:1])


class Scaled(PotentialWrapper):
    """Forces that are not those of the energy."""

    def evaluate(self, structures, *, stress: bool = False) -> Prediction:
        out = self.potential.evaluate(structures, stress=stress)
        return Prediction(out.energy, 1.1 * out.forces, out.atom_energy, out.stress)


class Anisotropic(PotentialWrapper):
    """A field along z."""

    def evaluate(self, structures, *, stress: bool = False) -> Prediction:
        batch = self.batch(structures)
        out = self.potential.evaluate(batch, stress=stress)
        field = torch.zeros_like(out.forces)
        field[:, 2] = -0.3
        extra = torch.zeros_like(out.energy).index_add(0, batch.system, 0.3 * batch.positions[:, 2].double())
        return Prediction(out.energy + extra, out.forces + field, out.atom_energy, out.stress)


class Mixing(PotentialWrapper):
    """A batch whose structures see each other."""

    def evaluate(self, structures, *, stress: bool = False) -> Prediction:
        out = self.potential.evaluate(structures, stress=stress)
        return Prediction(out.energy + out.energy.mean() - out.energy[0], out.forces, out.atom_energy, out.stress)


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (Scaled, "forces are the gradient of the energy"),
        (Anisotropic, "rotations"),
        (Mixing, "a batch equals single structures"),
    ],
)
def test_what_is_wrong_is_found(kind, failing):
    failed = {check.name for check in check_potential(kind(tiny.potential())) if check.passed is False}
    assert failing in failed
    with pytest.raises(AssertionError, match=f"does not conform.*{failing}"):
        assert_conforms(kind(tiny.potential()))


def test_a_batch_gives_its_structures_back():
    for structures in (MOLECULES, [bulk("NaCl", "rocksalt", 5.6), bulk("MgO", "rocksalt", 4.2)]):
        back = Batch.from_atoms(structures, torch.float64, "cpu").to_atoms()
        for atoms, one in zip(back, structures, strict=True):
            assert isinstance(atoms, Atoms) and (atoms.pbc == one.pbc).all()
            assert (atoms.numbers == one.numbers).all() and np.allclose(atoms.positions, one.positions)
            assert not any(one.pbc) or np.allclose(atoms.cell.array, one.cell.array)
