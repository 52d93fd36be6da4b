"""Stands in for PyTables, which torch-sim imports for trajectory files; no job of the kit writes one."""


class Unused:
    """Whatever class of PyTables is named."""


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return Unused
