"""A user's own model as `potential=module:function`: calculators, torch-sim models, and what is refused."""

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from gendesign.errors import UserError
from gendesign.potential import load_mace, load_potential
from gendesign.potential.conformance import assert_conforms
from gendesign.potential.protocol import Capability

MODULE = """
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones


def emt():
    return EMT()

emt.elements, emt.cutoff, emt.licence = ["Cu", "Au", "Pt"], 5.5, "LGPL"


def lj():
    return LennardJones(sigma=3.4, epsilon=0.01, rc=6.0, smooth=True)


def torchsim():
    from torch_sim.models.lennard_jones import LennardJonesModel
    return LennardJonesModel(sigma=3.4, epsilon=0.01, cutoff=6.0, dtype=torch.float64, compute_stress=True)


def bare():
    from gendesign.potential import PotentialBase
    from gendesign.structure.types import Prediction

    class Free(PotentialBase):
        name, elements, cutoff, device, dtype = "free", ("H", "O"), 3.0, torch.device("cpu"), torch.float64

        def evaluate(self, structures, *, stress=False):
            batch = self.batch(structures)
            return Prediction(torch.zeros(batch.n_systems).double(), torch.zeros_like(batch.positions))

    return Free()


class Wrong(Calculator):
    implemented_properties = ["energy", "forces"]

    def __init__(self, forces):
        super().__init__()
        self.forces = forces

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": self.forces(len(atoms))}


def flat():
    return Wrong(lambda n: np.zeros(3))


def nan():
    return Wrong(lambda n: np.full((n, 3), np.nan))


def fails():
    return Wrong(lambda n: 1 / 0)


def nothing():
    return None


def raises():
    raise RuntimeError("no licence\\nserver")
"""


@pytest.fixture
def path(tmp_path, monkeypatch) -> str:
    (tmp_path / "models.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "models.py")


def load(path: str, function: str):
    return load_potential(f"{path}:{function}", dtype="float64", device="cpu")


def test_an_ase_calculator(path):
    potential = load(path, "emt")
    assert potential.name == f"{path}:emt" and potential.elements == ("Cu", "Au", "Pt")
    assert potential.cutoff == 5.5 and potential.licence == "LGPL" and len(potential.weights_hash) == 64
    assert potential.supports == {Capability.STRESS, Capability.ATOM_ENERGIES}
    assert_conforms(potential)
    crystal = bulk("Cu", a=3.7)
    crystal.calc = EMT()
    out = potential.evaluate([bulk("Cu", a=3.7)], stress=True)
    assert out.stress[0].numpy() == pytest.approx(crystal.get_stress(voigt=False), abs=1e-12)


def test_a_torch_sim_model_and_the_same_calculator(path):
    model = load(path, "torchsim")
    assert model.cutoff == 6.0 and Capability.STRESS in model.supports
    atoms = Atoms("Ar3", [[0, 0, 0], [3.6, 0, 0], [0.4, 3.7, 0.2]])
    lennard_jones = LennardJones(sigma=3.4, epsilon=0.01, rc=6.0)
    atoms.calc = lennard_jones
    out = model.evaluate([atoms.copy(), atoms.copy()])
    assert out.forces[3:].numpy() == pytest.approx(atoms.get_forces(), abs=1e-6)


def test_a_module_in_the_current_folder(path):
    assert load("models", "lj").evaluate([Atoms("Ar2", [[0, 0, 0], [0, 0, 4]])]).energy.shape == (1,)


def test_an_object_with_the_methods_of_a_potential(path):
    potential = load(path, "bare")
    assert potential.elements == ("H", "O") and not potential.supports
    with pytest.raises(UserError, match="potential free gives no descriptors"):
        potential.descriptors([Atoms("H")])
    with pytest.raises(UserError, match="does not know C"):
        potential.evaluate([Atoms("C")])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("flat", r"returned forces of shape \(3,\) for 3 atoms; it must be \(3, 3\)"),
        ("nan", "returned forces that are not finite for H2O; mend the model"),
        ("fails", r"failed on H2O \(ZeroDivisionError: division by zero\)"),
        ("nothing", "returned a NoneType; return an ASE calculator"),
        ("raises", r"failed \(RuntimeError: no licence server\); mend the function"),
        ("absent", "has no absent; its functions are emt, lj"),
    ],
)
def test_what_is_refused(path, function, message):
    with pytest.raises(UserError, match=message) as error:
        load(path, function)
    assert "\n" not in str(error.value) and function in str(error.value)


def test_modules_that_cannot_be_imported(path):
    with pytest.raises(UserError, match="nomodule cannot be imported"):
        load("nomodule", "f")
    with pytest.raises(UserError, match=r"potential .* is a function, which chooses by itself; leave head out"):
        load_potential(f"{path}:emt", head="x")


def test_what_needs_a_network_refuses_a_function():
    with pytest.raises(UserError, match="factory is no MACE network"):
        load_mace("my.module:factory")
