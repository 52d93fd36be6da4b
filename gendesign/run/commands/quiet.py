"""Imports of heavy libraries without their greetings."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Import heavy libraries without their greetings, some of which come from C and pass by sys.stderr."""
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    for message in (".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD.*", "The TorchScript type system"):
        warnings.filterwarnings("ignore", message=message)
    sys.stdout.flush()
    copies = {stream: os.dup(stream) for stream in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in copies:
            os.dup2(nowhere, stream)
        yield
    finally:
        sys.stdout.flush()
        for stream, copy in copies.items():
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)
