"""Public names of a package, each imported on first use.

`import gendesign` must not import torch: a mistyped command is answered at once, and reading files needs no network.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of `package`, whose public names live in `modules` (name: module).

    >>> __getattr__, __dir__, __all__ = lazy_names(__name__, {"relax": "gendesign.relaxation.batched"})
    """

    def getattr_(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    def dir_() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return getattr_, dir_, sorted(modules)
