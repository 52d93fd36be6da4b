"""Load the user's functions, named as `path/to/file.py:function` or `package.module:function`."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from gendesign.errors import UserError

FORMS = "path/to/file.py:function or package.module:function"


def load_function(text: str, arguments: tuple[str, ...]) -> Callable[..., Any]:
    """Load the function that `text` names and check that it accepts the positional `arguments`.

    The code of the file or module is run. Raises UserError if the function does not exist, cannot be imported or has
    another signature.
    """
    home, colon, name = text.rpartition(":")
    if not (colon and home and name.isidentifier()):
        raise UserError(f"'{text}' names no function; give {FORMS}")
    module = _from_file(Path(home).expanduser(), text) if home.endswith(".py") else _from_module(home, text)
    function = getattr(module, name, None)
    if function is None:
        names = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
        raise UserError(f"'{text}': {home} has no {name}; its functions are {', '.join(names) or 'none'}: name one")
    check_callable(function, text, arguments)
    return function


def check_callable(function: Any, name: str, arguments: tuple[str, ...]) -> None:
    """Raise UserError unless `function` can be called with as many positional arguments as `arguments` names."""
    wanted = f"({', '.join(arguments)})"
    if not callable(function):
        raise UserError(f"'{name}' is a {type(function).__name__}, not a function; give one that is called as {wanted}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise UserError(f"'{name}' takes {signature}, but is called as {wanted}; change its arguments") from None


def _from_file(path: Path, text: str) -> ModuleType:
    if not path.is_file():
        raise UserError(f"'{text}': there is no file {path}; give {FORMS}")
    # The module is not added to sys.modules: two files with the same name would be confused there.
    spec = importlib.util.spec_from_file_location(f"gendesign_user_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"'{text}': {path} is no Python file (.py); give {FORMS}")
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def load() -> ModuleType:
        loader.exec_module(module)
        return module

    return _run(load, path, text)


def _from_module(home: str, text: str) -> ModuleType:
    return _run(lambda: importlib.import_module(home), home, text)


def _run(load: Callable[[], ModuleType], home: Any, text: str) -> ModuleType:
    try:
        return load()
    except (Exception, SystemExit) as error:  # whatever the user's code may raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"'{text}': {home} cannot be imported ({reason}); mend it, or give {FORMS}") from error
