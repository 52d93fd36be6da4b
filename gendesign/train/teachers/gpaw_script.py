"""One single point by GPAW, in whatever Python has it (so nothing of gendesign is imported here, and no new syntax).

python gpaw_script.py --check FUNCTIONAL SYMBOL ...   which elements have no setup, as JSON
python gpaw_script.py job.json                        job.json -> answer.json, GPAW's own text on stdout
"""

import json
import sys


def check(functional, symbols):
    """Print the symbols without a setup as JSON."""
    from gpaw.mpi import world
    from gpaw.setup_data import SetupData
    from gpaw.xc import XC

    setups, missing = XC(functional).get_setup_name(), []
    for symbol in symbols:
        try:
            SetupData(symbol, setups)
        except FileNotFoundError:
            missing.append(symbol)
    if world.rank == 0:
        print(json.dumps({"missing": missing}))


def label(path):
    """Compute the job in the file at `path` and write the answer."""
    from ase import Atoms
    from gpaw import GPAW, PW, KohnShamConvergenceError
    from gpaw.mpi import world

    with open(path) as handle:
        job = json.load(handle)
    atoms = Atoms(job["numbers"], job["positions"], cell=job["cell"], pbc=job["pbc"], magmoms=job["moments"])
    occupations = {"name": "fermi-dirac", "width": job["smearing"], "fixmagmom": job["fixed"]}
    atoms.calc = GPAW(
        mode=PW(job["cutoff"]),
        xc=job["functional"],
        kpts={"size": job["kpoints"], "gamma": True},
        occupations=occupations,
        spinpol=job["spin"],
        convergence={"energy": 1e-5, "density": 1e-5},
        maxiter=200,
        txt="-",
    )
    try:
        answer = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces().tolist()}
    except KohnShamConvergenceError:
        sys.exit("the self-consistent field did not converge")
    if all(job["pbc"]):
        answer["stress"] = atoms.get_stress().tolist()
    if world.rank == 0:
        with open("answer.json", "w") as handle:
            json.dump(answer, handle)


if sys.argv[1] == "--check":
    check(sys.argv[2], sys.argv[3:])
else:
    label(sys.argv[1])
