"""Crystals that searches by `hoip` leave, from which it learns where it is wrong: for label.py."""

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
LOW = 0.5  # eV above the lowest crystal
OTHER = 1.005  # times the volume of the lowest one that another crystal has at least


def crystals_of_search(k: int) -> list[Atoms]:
    """One or two crystals of search k, one metal per cell: the lowest, and the loosest of the low ones.

    Active learning: a search looks for what its potential has too low, so that its best crystals are wrong first, and
    dense ones against loose ones most.
    """
    potential, smiles, candidates = _search(k)
    left = [one for one in candidates if one.failure is None]
    done = relax(left, potential, Relaxation("precon_lbfgs", 0.02, 200, cell=True, max_stress=0.1))
    done = [one for one in done if not network_fault(one.atoms, 1) and one.info["converged"]]
    done.sort(key=lambda one: one.info["energy"])
    low = [one for one in done if one.info["energy"] < done[0].info["energy"] + LOW]
    loosest = max(low, key=lambda one: one.atoms.get_volume(), default=None)
    chosen = [("lowest", one) for one in done[:1]]
    if loosest and loosest.atoms.get_volume() > OTHER * done[0].atoms.get_volume():
        chosen.append(("loosest", loosest))
    return [_crystal(one.atoms, smiles, stage) for stage, one in chosen]


def all_of_search(k: int) -> list[Atoms]:
    """Where search k left each of its candidates, whatever round stopped it; every fourth again, shaken and strained.

    Between such crystals the next search has to choose: their order is learned from them.
    """
    rng = stream(Draw.SHAKEN, k)
    _, smiles, candidates = _search(k)
    crystals = [_crystal(one.atoms, smiles, "search") for one in candidates if len(one.atoms) > 1]
    shaken = [rattled(strained(one, rng), rng) for one in crystals[::4]]
    for one in shaken:
        one.info["stage"] = "shaken"
    return [one for one in (*crystals, *shaken) if apart(one, 0.4)]


def _search(k: int) -> "tuple[Potential, str, list[Candidate]]":
    """(potential, cation, all candidates) of a search with one metal per cell; cations to learn from come in turn."""
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
    except UserError:  # a cation that fits no pocket
        return potential, smiles, []
    return potential, smiles, search.generate(range(CANDIDATES), seed=k)


def _crystal(atoms: Atoms, smiles: str, stage: str) -> Atoms:
    out = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    out.info = {"kind": "layered", "molecule": smiles, "held_out": False, "stage": stage}
    out.set_array("rigid", atoms.arrays["molecule"])
    return out


@cache
def small_enough() -> list[str]:
    """Cations to learn from that fit into MOST atoms, in an order that mixes their families."""
    fitting = []
    for smiles in TRAINED + BROAD:
        made = compose(Composition(one_isomer(smiles), conformers=1))
        if made.spacers * len(made.cation.numbers) + made.metals + made.sites <= MOST:
            fitting.append(smiles)
    return np.random.default_rng(35).permutation(fitting).tolist()
