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
