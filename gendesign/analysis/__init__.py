"""Structure, energies and figures of disordered models, from a few hundred atoms to a million.

>>> from gendesign.analysis import Analysis, analyse_files
"""

from gendesign.lazy import lazy_names

_MODULES = {
    "Analysis": "gendesign.analysis.settings",
    "analyse_files": "gendesign.analysis.analyse",
    "analyse_models": "gendesign.analysis.analyse",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
