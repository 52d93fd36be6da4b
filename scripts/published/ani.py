"""ANI-1ccx through torchani 2.0, until `load_potential("ani1ccx")` knows it.

    pip install --no-deps --target DIR torchani==2.0 lark-parser "setuptools<81"     # and DIR on PYTHONPATH
The mean of eight networks trained on CCSD(T)*/CBS energies (Smith et al., Nat. Commun. 10, 2903, 2019).
"""

import warnings
from collections.abc import Sequence

import torch
from ase import Atoms, units
from torch.nn.utils.rnn import pad_sequence

from gendesign.errors import UserError
from gendesign.potential.base import PotentialBase
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction

INSTALL = 'pip install --no-deps --target DIR torchani==2.0 lark-parser "setuptools<81"'
EMPTY = -1  # species of torchani that is no atom


class Ani1ccx(PotentialBase):
    """The eight networks of ANI-1ccx: their mean energy in eV, and its standard deviation over the networks."""

    name = "ani1ccx"
    elements = ("H", "C", "N", "O")
    cutoff = 5.2  # Angstrom
    device = torch.device("cpu")
    dtype = torch.float64
    licence = "MIT"
    citation = "Smith et al., Nat. Commun. 10, 2903 (2019)"

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about compiled extensions and pkg_resources
                import torchani
        except ImportError:
            raise UserError(
                f"ani1ccx needs torchani 2.0, which is not there; install it with {INSTALL} and put DIR on PYTHONPATH"
            ) from None
        self.net = torchani.models.ANI1ccx(periodic_table_index=True).double().requires_grad_(False)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Energies and forces; see PotentialLike.evaluate. Raises UserError for periodic structures and a stress."""
        batch = self.batch(structures)
        if stress or batch.cell is not None:
            raise UserError("ani1ccx is for molecules; give structures without a cell, and ask for no stress")
        counts = torch.bincount(batch.system, minlength=batch.n_systems).tolist()
        species = pad_sequence(list(batch.numbers.split(counts)), batch_first=True, padding_value=EMPTY)
        positions = batch.positions.detach().double().clone().requires_grad_(True)
        padded = pad_sequence(list(positions.split(counts)), batch_first=True)
        with torch.enable_grad():
            known, aev = self.net.aev_computer(self.net.species_converter((species, padded)))
            members = torch.stack([net((known, aev)).energies for net in self.net.neural_networks])
            energies = self.net.energy_shifter((known, members.mean(0))).energies * units.Hartree
            (slope,) = torch.autograd.grad(energies.sum(), positions)
        spread = members.detach().std(0, correction=0) * units.Hartree
        return Prediction(energies.detach(), -slope, standard_deviation=spread)
