"""Average the weights of several fits from common weights; the mean is better on unseen structures than each fit.

    python -m scripts.hoip.average OUT FIT FIT ...      # folders of gendesign train; settings are those of the last FIT
(Averages along one fit: Izmailov et al., UAI 2018; of several fits: Wortsman et al., ICML 2022.)
"""

import sys
from pathlib import Path

import torch
import yaml

from gendesign.potential import load_mace, save_folder


def main(out: str, *fits: str) -> None:
    """Write the average of `fits` to `out`."""
    potentials = [load_mace(fit, device="cpu") for fit in fits]
    weights = [potential.net.state_dict() for potential in potentials]
    last, config = potentials[-1], yaml.safe_load((Path(fits[-1]) / "config.yaml").read_text())
    mean = {name: torch.stack([w[name] for w in weights]).mean(0) if value.is_floating_point() else value
            for name, value in weights[-1].items()}  # fmt: skip
    last.net.load_state_dict(mean)
    save_folder(
        last.net.requires_grad_(False),
        Path(out),
        name=config["name"],
        licence=config["licence"],
        citation=config["citation"],
        chemical_potentials=config["chemical_potentials"],
        training={**config["training"], "average_of": list(fits)},
    )
    print(f"average of {len(fits)} fits in {out}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
