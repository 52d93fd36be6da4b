"""Print the error table of a checkpoint on the frozen test set.

python -m scripts.organic.errors [POTENTIAL]
"""

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

from gendesign.potential import load_mace  # noqa: E402
from gendesign.train.dataset import Dataset  # noqa: E402
from gendesign.train.label import read_frames  # noqa: E402
from gendesign.train.loss import errors  # noqa: E402


def main(name: str = "organic") -> None:
    """Print the errors of the potential `name`."""
    table = errors(
        load_mace(name).net, Dataset.from_frames(read_frames(sorted(Path("training/test").glob("shard-*.extxyz"))))
    )
    for kind, row in table.items():
        print(f"{kind:10s}" + "  ".join(f"{key} {value:.1f}" for key, value in row.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
