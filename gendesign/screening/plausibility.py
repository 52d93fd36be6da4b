"""PoseBusters: are bond lengths, angles, flatness, clashes and internal energy those of a real molecule?"""

from functools import cache
from typing import TYPE_CHECKING

from ase import Atoms
from rdkit import rdBase

from gendesign.structure.bonds import perceive

if TYPE_CHECKING:  # seconds to import
    from posebusters import PoseBusters


@cache
def _busters(config: str) -> "PoseBusters":
    from posebusters import PoseBusters

    return PoseBusters(config)


def failed_checks(atoms: Atoms, config: str = "mol", zwitterions: bool = False) -> tuple[str, ...]:
    """Names of PoseBusters' checks (config `mol` or `mol_fast`, Buttenschoen 2024) that a valid molecule fails.

    With `zwitterions` these count as valid.

    A check without an answer counts as failed, as in PoseBusters: the internal energy of molecules with one
    conformer of zero energy, such as methane, is one. Raises ValueError for an invalid molecule.
    """
    perceived = perceive(atoms, zwitterions=zwitterions)
    if perceived.mol is None:
        raise ValueError(perceived.reason)
    with rdBase.BlockLogs():
        row = _busters(config).bust(perceived.mol).iloc[0]
    return tuple(str(name) for name, passed in row.items() if passed != True)  # noqa: E712  (numpy booleans and NaN)
