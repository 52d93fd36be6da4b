"""The machine-learned potential: load, evaluate, describe."""

from gendesign.potential.potential import Potential, fit_chemical_potentials
from gendesign.potential.zoo import load_potential, save_folder

__all__ = ["Potential", "fit_chemical_potentials", "load_potential", "save_folder"]
