"""Quick and silent imports of torch-sim and mace-torch, which import much that this package does not use.

`import gendesign.imports.mace` and `import gendesign.imports.torch_sim` stand before the imports of these libraries, in
a section of their own. While a library is imported, modules it names and we do not need are replaced by `Deferred`
stand-ins: each attribute taken from one is resolved on first use, by importing the real module then. Nothing on disk is
changed, nothing is missing, and where this fails for a library, it is imported plainly.
"""

import importlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any

# What the libraries say at import and when a network is built, none of which a user can act on: category and beginning.
NOTES: tuple[tuple[type[Warning], str], ...] = (
    (UserWarning, "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"),  # mace sets it for e3nn 0.4.4
    (FutureWarning, "`torch.jit.script` is deprecated"),  # by e3nn 0.4.4
    (FutureWarning, "`torch.jit.save` is deprecated"),  # these three by e3nn when a network is exported
    (FutureWarning, "`torch.jit.load` is deprecated"),
    (FutureWarning, "`torch.jit.trace_method` is deprecated"),
    (DeprecationWarning, "`torch.jit.set_fusion_strategy` is deprecated"),
    (UserWarning, "The TorchScript type system doesn't support instance-level annotations"),  # by e3nn 0.4.4
)


class Deferred(ModuleType):
    """A stand-in for the module `name`, which is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self._deferring = True  # until the import of the library has ended

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {attribute!r}")
        if self._deferring:
            return DeferredAttribute(self.__name__, attribute)
        return getattr(_real(self.__name__), attribute)


class DeferredAttribute:
    """A function or class of a module that is imported when it is called, subclassed or looked into."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _resolve(self) -> Any:
        return getattr(_real(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Import the module and call the function or class."""
        return self._resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolve(), name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._resolve())


def _real(name: str) -> ModuleType:
    """The module itself, imported now if it has not been yet."""
    shadow = _shadowing(name)
    if isinstance(sys.modules.get(name), Deferred):
        del sys.modules[name]
    module = importlib.import_module(name)
    if shadow is not None:  # the import has set this attribute of the package to the module
        package, _, child = name.rpartition(".")
        setattr(sys.modules[package], child, getattr(module, child))
    return module


def _shadowing(name: str) -> DeferredAttribute | None:
    """The attribute by which a package hides its module `name`, such as the function mace.tools.train, if deferred."""
    package, _, child = name.rpartition(".")
    attribute = vars(sys.modules[package]).get(child) if package in sys.modules else None
    return attribute if isinstance(attribute, DeferredAttribute) else None


@contextmanager
def deferred(modules: Sequence[str], absent: Sequence[str] = ()) -> Iterator[None]:
    """Within the block, imports of `modules` give stand-ins, and those of `absent` raise ImportError.

    Modules that were imported before stay what they are.
    """
    stand_ins: dict[str, Deferred | None] = {name: Deferred(name) for name in modules if name not in sys.modules}
    stand_ins |= {name: None for name in absent if name not in sys.modules}
    sys.modules.update(stand_ins)  # type: ignore[arg-type]  # None is how Python marks a module as absent
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if stand_in is not None:
                stand_in._deferring = False
            if name in sys.modules and sys.modules[name] is stand_in and not _shadowing(name):
                del sys.modules[name]


@contextmanager
def silenced() -> Iterator[None]:
    """Without the warnings of `NOTES` and what is printed meanwhile; other warnings are shown as before."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        for category, beginning in NOTES:
            warnings.filterwarnings("ignore", message=beginning.replace("(", r"\("), category=category)
        yield


def import_library(name: str, modules: Sequence[str], *, defer: Sequence[str] = (), absent: Sequence[str] = ()) -> None:
    """Import `modules` of the library `name` silently, with stand-ins for `defer` and without `absent`.

    If that fails, what was begun of the library is forgotten and all is imported plainly.
    """
    if all(module in sys.modules for module in modules):
        return
    before = set(sys.modules)
    with silenced():
        try:
            with deferred(defer, absent):
                for module in modules:
                    importlib.import_module(module)
        except Exception as error:  # another version of the library, which needs what was deferred
            logging.getLogger(__name__).debug("%s is imported plainly after %r", name, error)
            for module in set(sys.modules) - before:
                if module.partition(".")[0] == name:
                    del sys.modules[module]
            for module in modules:
                importlib.import_module(module)


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded, told without asking CUDA, which must not start before processes fork."""
    return os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg")
