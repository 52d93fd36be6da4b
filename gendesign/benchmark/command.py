"""The command `gendesign benchmark`."""

import importlib
from collections.abc import Sequence

from omegaconf import DictConfig

from gendesign.benchmark import NAMES
from gendesign.errors import SettingsError

PRETRAINING = "pretraining"  # the benchmark and its experiment


def run_benchmark(verb: str, names: Sequence[str], config: DictConfig) -> None:
    """Run the benchmark in `names`. Raises SettingsError unless it is exactly one known name."""
    if len(names) != 1 or names[0] not in NAMES:
        raise SettingsError(f"benchmark {' '.join(names)}: give one of {', '.join(NAMES)}")
    if PRETRAINING in config and names[0] != PRETRAINING:
        raise SettingsError(f"experiment={PRETRAINING} is for benchmark {PRETRAINING}, not {names[0]}; leave it out")
    module = importlib.import_module(f"gendesign.benchmark.{names[0]}")
    module.run(config)
