"""The machine-learned potential: load, evaluate, describe."""

from gendesign.lazy import lazy_names

# Loaded on first use: mace takes seconds to import, and the reference methods beside it do not need it.
_MODULES = {
    "Potential": "gendesign.potential.potential",
    "Committee": "gendesign.potential.committee",
    "Rigidity": "gendesign.potential.rigidity",
    "PotentialLike": "gendesign.potential.protocol",
    "PotentialBase": "gendesign.potential.base",
    "PotentialWrapper": "gendesign.potential.base",
    "Capability": "gendesign.potential.protocol",
    "check_potential": "gendesign.potential.conformance",
    "fit_chemical_potentials": "gendesign.potential.potential",
    "load_potential": "gendesign.potential.zoo",
    "load_mace": "gendesign.potential.zoo",
    "save_folder": "gendesign.potential.zoo",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
