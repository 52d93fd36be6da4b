"""Benchmarks: tables of a capability against targets and references. Each module in NAMES has `run(config)`."""

NAMES = (
    "agent",
    "amorphous",
    "campaign",
    "conditional",
    "diffusion",
    "druglike",
    "molecules",
    "perovskites",
    "potentials",
    "pretraining",
    "speed",
)

SETTINGS = {name: name for name in NAMES} | {"agent": "building", "campaign": "campaigns"}  # the group of each


def others(name: str) -> tuple[str, ...]:
    """The groups of settings that benchmark `name` does not read, as those of the other benchmarks."""
    return tuple(group for other, group in SETTINGS.items() if other != name)
