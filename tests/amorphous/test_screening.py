"""Defects, angles and energies above the crystal in the screening of amorphous models."""

import csv
import io

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from gendesign.analysis.energetics import quartz
from gendesign.errors import UserError
from gendesign.potential.base import PotentialBase
from gendesign.potential.protocol import Capability
from gendesign.screening import ScreeningContext
from gendesign.screening.amorphous import AmorphousScreening
from gendesign.structure.types import Candidate, Prediction


class Springs(PotentialBase):
    """-1 eV for an atom, and a parabola in the volume: 20 Angstrom^3 per atom of silicon, 12.5 with oxygen."""

    name, elements, cutoff = "springs", ("Si", "O"), 3.0
    device, dtype = torch.device("cpu"), torch.float64
    supports = frozenset({Capability.STRESS})

    def evaluate(self, structures, *, stress=False):
        batch = self.batch(structures)
        counts = torch.bincount(batch.system, minlength=batch.n_systems).double()
        oxide = torch.zeros(batch.n_systems).index_add(0, batch.system, (batch.numbers == 8).float()) > 0
        ideal = torch.where(oxide, 12.5, 20.0).double()
        off = torch.linalg.det(batch.cell.double()) / counts / ideal - 1
        tension = (2 * off / ideal)[:, None, None] * torch.eye(3, dtype=torch.float64)
        return Prediction(
            counts * (off**2 - 1), torch.zeros(len(batch.numbers), 3).double(), stress=tension if stress else None
        )


def session(**settings):
    return AmorphousScreening(**settings).open(ScreeningContext(None, Springs(), None))


def silicon(missing: int = 0) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * 3
    for k in range(missing):
        del atoms[10 + 60 * k]  # far apart: each leaves four atoms with three bonds
    return atoms


def table(session, *models):
    candidates = [Candidate(atoms, k) for k, atoms in enumerate(models)]
    verdicts = session.screen_each(candidates)
    rows = {k: {v.check: v for v in verdicts if v.candidate == k} for k in range(len(models))}
    return candidates, verdicts, rows


def test_defects_angles_and_cutoffs_of_known_models():
    candidates, verdicts, rows = table(session(), silicon(), silicon(2), quartz() * (3, 3, 3))
    assert rows[0]["defects"].value == 0 and rows[0]["Si-Si-Si_angle"].value == pytest.approx(109.47, abs=0.01)
    assert rows[1]["defects"].value == pytest.approx(8 / 214) == rows[1]["Si_defects"].value
    assert rows[1]["Si_coordination"].value == pytest.approx(4 - 8 / 214)
    assert rows[0]["cutoffs"].value == "Si-Si 2.85 Angstrom (usual for silicon)"
    assert rows[2]["O_defects"].value == 0 and rows[2]["Si-O-Si_angle"].value == pytest.approx(143.6, abs=0.5)
    text = session().files(candidates, verdicts)["models.csv"]
    lines = list(csv.DictReader(io.StringIO(text)))
    assert float(lines[1]["defects"]) == pytest.approx(8 / 214, rel=1e-4) and lines[1]["O_defects"] == ""
    assert lines[2]["cutoffs"].startswith("Si-O 2 Angstrom")
    means = {row["name"]: row for row in session().summarise(verdicts, 3)}
    assert means["defects"]["n"] == 3 and means["Si-O-Si angle"]["n"] == 1


def test_the_cutoff_decides():
    _, _, rows = table(session(cutoffs=("Si-Si:2.0",)), silicon())
    assert rows[0]["defects"].value == 1 and "as given" in rows[0]["cutoffs"].value


def test_checks_of_defects_and_energy():
    good, bad = silicon(), silicon(2)
    judge = session(max_defects=0.02, max_above=0.05)
    swollen = silicon()
    swollen.set_cell(swollen.cell * 1.5 ** (1 / 3) * (20 / 20.013) ** (1 / 3), scale_atoms=True)  # 0.25 eV/atom above
    _, verdicts, rows = table(judge, good, bad, swollen)
    assert rows[0]["few_defects"].passed and not rows[1]["few_defects"].passed
    assert "3.7 % of the atoms are defects, at Si-Si 2.85" in rows[1]["few_defects"].reason
    assert rows[2]["energy_above_crystal"].value == pytest.approx(0.25, abs=1e-3)
    assert rows[0]["low_energy"].passed and not rows[2]["low_energy"].passed
    assert {row["name"]: row["value"] for row in judge.summarise(verdicts, 3)}["low_energy"] == pytest.approx(2 / 3)


def test_what_cannot_be_measured_is_left_out():
    slab, argon = silicon(), bulk("Ar", a=5.3, cubic=True) * 3
    slab.pbc = (True, True, False)
    small = bulk("Si", "diamond", a=5.43)
    _, _, rows = table(session(cutoffs=()), slab, argon, small)
    assert "defects" not in rows[0] and "energy_above_crystal" not in rows[1]
    assert rows[2]["valid"].passed  # a cell of two atoms is too small for the cutoff, or is analysed; never an error
    outside, _, more = table(session(), Atoms("SiO3", np.eye(4, 3) * 2.5, cell=[7] * 3, pbc=True))
    assert "energy_above_crystal" not in more[0] and outside[0].index == 0


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="ideal"):
        AmorphousScreening(ideal=("Si",))
    with pytest.raises(UserError, match="max_defects"):
        AmorphousScreening(max_defects=2.0)
