"""Pretrained models of other packages, each in a process of its own.

registry.py   the models: elements, level of theory, licence, requirements
install.py    `gendesign install`, and whether weights are whole
client.py     the class EnginePotential, which drives a model through its process
process.py wire.py   start, restart and end of the process; messages of arrays
server.py     the main loop of the process; graph.py and backends/ are imported there only
"""

from gendesign.lazy import lazy_names

_MODULES = {
    "EnginePotential": "gendesign.potential.engines.client",
    "MODELS": "gendesign.potential.engines.registry",
    "EngineModel": "gendesign.potential.engines.registry",
    "Package": "gendesign.packages",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
