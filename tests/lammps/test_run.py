"""Input scripts, data files, and runs where LAMMPS is installed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from pairs import was_killed

from gendesign.errors import UserError
from gendesign.lammps import run
from gendesign.lammps.deck import Dynamics, Minimisation, parts, script, standard, write_data
from gendesign.lammps.locate import executable
from gendesign.lammps.models import load_model
from gendesign.lammps.run import LammpsError, run_lammps

try:
    executable()
    INSTALLED = True
except UserError:
    INSTALLED = False
needs_lammps = pytest.mark.skipif(not INSTALLED, reason="gendesign install lammps")
EDIP = load_model("edip")


def silicon(n: int = 2):
    return bulk("Si", "diamond", a=5.431, cubic=True) * (n, n, n)


def test_a_script_ramps_in_parts_and_freezes_atoms():
    atoms = silicon(1)
    task = Dynamics("npt", (1000, 500), 1000, 2.0, 7, pressure=(0, 1), velocities=True)
    first = script(task, atoms, EDIP, first=0, last=500, keep="a.restart")
    later = script(task, atoms, EDIP, first=500, last=1000, restart="a.restart")
    assert "pair_coeff * * Si.edip Si" in first and "velocity mobile create 1000 7" in first
    assert "temp 1000 750 0.1 iso 0 5000 1" in first and "temp 750 500 0.1 iso 5000 10000 1" in later
    assert "read_restart a.restart" in later and "velocity mobile create" not in later
    from ase.constraints import FixAtoms

    atoms.set_constraint(FixAtoms([0, 3]))
    assert "group fixed id 1 4" in script(task, atoms, EDIP)
    assert list(parts(5, 2)) == [(0, 2), (2, 4), (4, 5)]


def test_every_seed_of_the_thermostat_is_one_that_lammps_takes():
    for seed in (1, 899_999_999, 900_000_000, 2**30):
        text = script(Dynamics("langevin", (300, 300), 10, 1.0, seed), silicon(1), EDIP)
        (line,) = [line for line in text.splitlines() if "langevin" in line]
        assert 0 < int(line.split()[7]) <= 900_000_000


def test_a_tilted_cell_is_turned_with_its_atoms_and_velocities(tmp_path):
    atoms = bulk("Si", "diamond") * (2, 3, 2)
    atoms.rattle(0.1)
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    turned = standard(atoms)
    assert np.allclose(turned.get_all_distances(mic=True), atoms.get_all_distances(mic=True))
    assert np.allclose(turned.get_momenta() @ turned.get_momenta().T, atoms.get_momenta() @ atoms.get_momenta().T)
    write_data(atoms, tmp_path / "data", ["Si"])
    import ase.io

    read = ase.io.read(tmp_path / "data", format="lammps-data", units="metal", atom_style="atomic")
    assert np.allclose(read.cell, turned.cell) and np.allclose(read.positions, turned.positions)
    assert np.allclose(read.get_momenta(), turned.get_momenta())


def test_models_of_folders(tmp_path):
    with pytest.raises(UserError, match=r"allowed are edip, .* or a folder with pair.in"):
        load_model("nothing")
    (tmp_path / "pair.in").write_text("# elements: Si O\npair_style sw\npair_coeff * * $HERE/x.sw Si O\n")
    model = load_model(str(tmp_path))
    assert model.species(silicon(1)) == ("Si", "O")  # all types, whatever the structure has
    assert f"pair_coeff * * {tmp_path}/x.sw Si O" in script(Minimisation(0.1, 10), silicon(1), model)
    (tmp_path / "pair.in").write_text("pair_style sw\n")
    with pytest.raises(UserError, match="must name the elements"):
        load_model(str(tmp_path))


def test_an_element_that_a_model_lacks_is_refused():
    with pytest.raises(UserError, match="model=edip has no C, only Si"):
        run_lammps(bulk("C", "diamond", cubic=True), EDIP, Minimisation(0.1, 10))


@needs_lammps
def test_energy_conservation_temperature_and_units():
    atoms, energies = silicon(), []
    task = Dynamics("nve", (600, 600), 200, 0.5, 3, velocities=True)
    end, thermo = run_lammps(atoms, EDIP, task, report=lambda t: energies.append(t))
    total = [t.energy + 1.5 * 63 * units.kB * t.temperature for t in energies]
    assert np.ptp(total) < 5e-3 and thermo.step == 200
    assert end.get_kinetic_energy() == pytest.approx(1.5 * 63 * units.kB * thermo.temperature, rel=1e-3)
    assert end.positions[0] @ end.positions[0] < 400


@needs_lammps
def test_a_relaxed_cell_has_the_published_lattice():
    """EDIP: a = 5.430 Angstrom, E = -4.650 eV/atom (Justo et al. 1998)."""
    stretched = bulk("Si", "diamond", a=5.6, cubic=True)
    end, thermo = run_lammps(stretched, EDIP, Minimisation(1e-3, 1000, cell=True))
    assert end.cell.lengths()[0] == pytest.approx(5.430, abs=5e-3) and thermo.energy / 8 == pytest.approx(
        -4.650, abs=2e-3
    )


@needs_lammps
def test_a_prescribed_length_is_reached_in_parts(monkeypatch):
    monkeypatch.setattr(run, "part_length", lambda atoms, cost: 100)
    task = Dynamics("nose_hoover", (300, 300), 250, 1.0, 3, edges=1.04, velocities=True)
    end, _ = run_lammps(silicon(), EDIP, task)
    assert np.allclose(end.cell.lengths(), 1.04 * silicon().cell.lengths(), rtol=1e-10)


def killed_run(folder):
    """A run in parts of 200 steps until SIGKILL after step 500."""
    run.part_length = lambda atoms, cost: 200
    kill = lambda t: os.kill(os.getpid(), signal.SIGKILL) if t.step > 500 else None  # noqa: E731
    run_lammps(silicon(), EDIP, Dynamics("npt", (1500, 300), 900, 1.0, 3, velocities=True), Path(folder), kill)


@needs_lammps
def test_a_run_that_was_killed_continues_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "part_length", lambda atoms, cost: 200)
    task = Dynamics("npt", (1500, 300), 900, 1.0, 3, velocities=True)
    whole, _ = run_lammps(silicon(), EDIP, task, tmp_path / "whole")
    assert was_killed(__file__, "killed_run", str(tmp_path / "cut"))
    steps = []
    rest, _ = run_lammps(silicon(), EDIP, task, tmp_path / "cut", lambda t: steps.append(t.step))
    assert min(steps) >= 400
    assert np.array_equal(whole.positions, rest.positions) and np.array_equal(whole.get_momenta(), rest.get_momenta())


@needs_lammps
def test_lost_atoms_are_one_line():
    hot = silicon()
    with pytest.raises(LammpsError, match=r"^LAMMPS: (atoms were lost|positions or forces)"):
        run_lammps(hot, EDIP, Dynamics("nve", (3e5, 3e5), 500, 20.0, 3, velocities=True))
