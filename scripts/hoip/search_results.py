"""Crystals from searches by `hoip`, for label.py: active learning of structures whose energies are too low."""

import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.generate.perovskite.compound import compose
from gendesign.generate.perovskite.generator import Perovskite
from gendesign.generate.perovskite.settings import Composition, RandomStarts
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.perovskite import network_fault
from gendesign.structure.types import Candidate
from scripts.hoip.cations import BROAD, TRAINED
from scripts.hoip.streams import Draw, stream
from scripts.hoip.structures import apart, one_isomer, rattled, strained

if TYPE_CHECKING:
    from gendesign.potential import Potential

MOST = 45  # atoms of a formula unit
CANDIDATES = 64  # of a search
LOW = 0.5  # eV, largest energy of a low crystal above the lowest one
OTHER = 1.005  # least ratio of the volumes of the second crystal and the lowest one


def crystals_of_search(k: int) -> list[Atoms]:
    """One or two crystals of search k with one metal per cell: the lowest, and that of largest volume among the low
    ones.

    A search prefers structures whose energy is too low, so that the best crystals have the largest errors, especially
    in the difference between dense and loose ones.
    """
    potential, smiles, candidates = _search(k)
    intact = [candidate for candidate in candidates if candidate.failure is None]
    done = relax(intact, potential, Relaxation("precon_lbfgs", 0.02, 200, cell=True, max_stress=0.1))
    done = [c for c in done if not network_fault(c.atoms, 1) and c.info["converged"]]
    done.sort(key=lambda candidate: candidate.info["energy"])
    low = [candidate for candidate in done if candidate.info["energy"] < done[0].info["energy"] + LOW]
    loosest = max(low, key=lambda candidate: candidate.atoms.get_volume(), default=None)
    chosen = [("lowest", candidate) for candidate in done[:1]]
    if loosest and loosest.atoms.get_volume() > OTHER * done[0].atoms.get_volume():
        chosen.append(("loosest", loosest))
    return [_crystal(candidate.atoms, smiles, stage) for stage, candidate in chosen]


def all_of_search(k: int) -> list[Atoms]:
    """The last geometry of every candidate of search k, in any round, and every fourth one rattled and strained.

    The ranking in the next search depends on the energies of such crystals.
    """
    rng = stream(Draw.SHAKEN, k)
    _, smiles, candidates = _search(k)
    crystals = [_crystal(c.atoms, smiles, "search") for c in candidates if len(c.atoms) > 1]
    shaken = [rattled(strained(crystal, rng), rng) for crystal in crystals[::4]]
    for crystal in shaken:
        crystal.info["stage"] = "shaken"
    return [crystal for crystal in (*crystals, *shaken) if apart(crystal, 0.4)]


def _search(k: int) -> "tuple[Potential, str, list[Candidate]]":
    """(potential, cation, all candidates) of search k with one metal per cell; it cycles through trained cations."""
    import torch

    from gendesign.potential import load_potential

    torch.set_num_threads(1)
    smiles = small_enough()[k % len(small_enough())]
    rng = stream(Draw.SEARCH, k)
    metal, halide = rng.choice(["Pb", "Sn"], p=[0.7, 0.3]), rng.choice(["I", "Br", "Cl"], p=[0.5, 0.3, 0.2])
    potential = load_potential(os.environ.get("POTENTIAL", "hoip"))
    try:
        search = Perovskite(
            potential, Composition(one_isomer(smiles), str(metal), str(halide)), RandomStarts(cells="1")
        )
    except UserError:  # the cation does not fit
        return potential, smiles, []
    return potential, smiles, search.generate(range(CANDIDATES), seed=k)


def _crystal(atoms: Atoms, smiles: str, stage: str) -> Atoms:
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    out.info = {"kind": "layered", "molecule": smiles, "held_out": False, "stage": stage}
    out.set_array("rigid", atoms.arrays["molecule"])
    return out


@cache
def small_enough() -> list[str]:
    """Trained cations whose formula unit has at most MOST atoms, in an order that mixes their families."""
    fitting = []
    for smiles in TRAINED + BROAD:
        compound = compose(Composition(one_isomer(smiles), conformers=1))
        if compound.spacers * len(compound.cation.numbers) + compound.metals + compound.sites <= MOST:
            fitting.append(smiles)
    return np.random.default_rng(35).permutation(fitting).tolist()
