"""PoseBusters: are bond lengths, angles, flatness, clashes and internal energy those of a real molecule?

Its dearest check compares the UFF energy of a molecule with the mean of 50 relaxed conformers and passes up to a
hundredfold. The first FEW of the same 50 conformers decide it where their mean leaves a margin; a ratio of sound
molecules is 1 to 3. All 50 are made otherwise, so a molecule that fails was judged by PoseBusters as published.
"""

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from ase import Atoms
from rdkit import Chem, rdBase

from gendesign.errors import UserError
from gendesign.screening.energetics import NOT_MEASURED
from gendesign.screening.validity import PERIODIC
from gendesign.screening.workers import Failure
from gendesign.structure.bonds import perceive
from gendesign.structure.macromolecules import is_macromolecule, read_macromolecule
from gendesign.structure.types import Verdict

if TYPE_CHECKING:  # seconds to import
    import pandas as pd
    from posebusters import PoseBusters

ENERGY = "energy_ratio"  # PoseBusters' function and a column of its full report
FEW = 5  # conformers of the first look
MARGIN = 4.0  # the limit divided by this decides after the first look
LEAST = 5.0  # kcal/mol; means nearer to zero decide nothing
KEPT = 1000  # molecules whose conformers PoseBusters keeps in memory


@cache
def _busters(config: str, few: bool = False) -> "PoseBusters":
    from posebusters import PoseBusters

    settings = copy.deepcopy(PoseBusters(config).config)
    for module in settings["modules"]:
        if module["function"] == ENERGY:
            module["parameters"]["num_threads"] = 1  # the cores belong to other candidates
            if few:
                module["parameters"]["ensemble_number_conformations"] = FEW
                module["parameters"]["threshold_energy_ratio"] /= MARGIN
    return PoseBusters(settings)


@cache
def read_host(path: str, residue: str | None = None) -> Chem.Mol:
    """A protein as PoseBusters reads it, without bonds, by the rules of structure/macromolecules.py.

    residue: the ligand to take out. Raises UserError for a file that is no PDB or mmCIF file.
    """
    if not is_macromolecule(path):
        raise UserError(f"{path} is no PDB or mmCIF file by its name; give the protein without its ligand")
    atoms = read_macromolecule(path, residue, hydrogens=False).atoms
    molecule, conformer = Chem.RWMol(), Chem.Conformer(len(atoms))
    columns = [atoms.arrays[name].tolist() for name in ("atomtypes", "residuenames", "chains", "hetero")]
    for k, (name, residue_name, chain, hetero) in enumerate(zip(*columns, strict=True)):
        atom = Chem.Atom(int(atoms.numbers[k]))
        atom.SetMonomerInfo(Chem.AtomPDBResidueInfo(f" {name:<3}", residueName=residue_name, chainId=chain,
                                                    isHeteroAtom=hetero))  # fmt: skip
        molecule.AddAtom(atom)
        conformer.SetAtomPosition(k, atoms.positions[k].tolist())
    molecule.AddConformer(conformer)
    return molecule.GetMol()


def failed_checks(
    atoms: Atoms,
    config: str = "mol",
    zwitterions: bool = False,
    host: str | None = None,
    residue: str | None = None,
) -> tuple[str, ...]:
    """Names of PoseBusters' checks (Buttenschoen 2024) that a valid molecule fails.

    config: `mol`, `mol_fast`, or `dock` beside the protein of the file `host` without the ligand `residue`. With
    `zwitterions` these count as valid. A check without an answer counts as failed, as in PoseBusters: the internal
    energy of molecules with one conformer of zero energy, such as methane, is one. Raises ValueError for an invalid
    molecule.
    """
    perceived = perceive(atoms, zwitterions=zwitterions)
    if perceived.mol is None:
        raise ValueError(perceived.reason)
    protein = None if host is None else read_host(host, residue)
    with rdBase.BlockLogs():
        row = _row(perceived.mol, config, protein, few=True)
        if ENERGY in row and not _decided(row):
            row = _row(perceived.mol, config, protein, few=False)
    _forget()
    tests = row.iloc[: _tests(config)]
    return tuple(str(name) for name, passed in tests.items() if passed != True)  # noqa: E712  (numpy booleans and NaN)


def _row(molecule: Chem.Mol, config: str, protein: Chem.Mol | None, few: bool) -> "pd.Series[Any]":
    return _busters(config, few).bust(molecule, mol_cond=protein, full_report=True).iloc[0]


def _decided(row: "pd.Series[Any]") -> bool:
    """Whether the first conformers tell that the internal energy passes."""
    return bool(row["internal_energy"] == True and row["ensemble_avg_energy"] >= LEAST)  # noqa: E712


@cache
def _tests(config: str) -> int:
    """How many columns of a full report pass or fail; they come first."""
    return sum(len(module.get("chosen_binary_test_output", ())) for module in _busters(config).config["modules"])


def _forget() -> None:
    """Empty PoseBusters' memory of conformers, which has no bound."""
    from posebusters.modules.energy_ratio import get_energies

    if get_energies.cache_info().currsize > KEPT:
        get_energies.cache_clear()


def posebusters_verdict(
    index: int, answer: tuple[str, ...] | Failure | None, reason: str = "", check: str = "posebusters"
) -> Verdict:
    """What PoseBusters answered for a candidate, None for one that it was not asked about because of `reason`."""
    if answer is None:
        return Verdict(index, check, None if reason == PERIODIC else False, reason=reason)
    if isinstance(answer, Failure):
        passed, reason = (None, NOT_MEASURED + answer.reason) if answer.timed_out else (False, answer.reason)
        return Verdict(index, check, passed, reason=reason)
    return Verdict(index, check, not answer, reason=", ".join(answer))
