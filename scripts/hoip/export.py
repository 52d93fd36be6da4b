"""Write checkpoints/hoip from a fit of gendesign train, without the elements that no label has.

    python -m scripts.hoip.export FIT [FOLDER]      # FIT: the folder of gendesign train
scripts/hoip/card.py writes the card from the results of the benchmark.
"""

import sys
from pathlib import Path

import torch
import yaml
from ase.data import atomic_numbers

from gendesign.potential import load_mace, mace, save_folder
from gendesign.potential.domain import Domain
from gendesign.train.start import with_elements
from scripts.hoip.teachers import ELECTRONS

BUNDLED = Path("checkpoints/hoip")
ABOUT = "crystals of hybrid halide perovskites, of their salts and of metal halides"
DOMAIN = Domain(("crystals",), ABOUT, excluded=("molecules",), contains=("Cl", "Br", "I"))
ROUGH = "the universal potential 7net-mf-0 (SevenNet; PBE) with D3(BJ)"
TUNED = ", and by 7net-l3i5 tuned to the labels by CP2K"
DFT = "PBE-D3(BJ) by CP2K (DZVP-MOLOPT-SR-GTH, 400 Ry, 4 k-points per 1/Angstrom); many labels before by "


def main(fit: str, out: str = str(BUNDLED)) -> None:
    """Export `fit` to the folder `out`."""
    potential = load_mace(fit, device="cpu")
    config = yaml.safe_load((Path(fit) / "config.yaml").read_text())
    kept = {atomic_numbers[s]: potential.isolated_energies[s] for s in sorted(ELECTRONS, key=atomic_numbers.get)}
    architecture, weights = with_elements(potential, kept)
    net = mace.from_plain(architecture, torch.float32)
    net.load_state_dict(weights)
    save_folder(
        net.requires_grad_(False),
        Path(out),
        name="hoip",
        licence="MIT",
        citation="gendesign (this repository)",
        chemical_potentials={s: e for s, e in config.get("chemical_potentials", {}).items() if s in ELECTRONS},
        teacher=DFT + ROUGH + TUNED if "dft-train.extxyz" in config["training"]["files"] else ROUGH,
        training=config["training"],
        domain=DOMAIN.to_config(),
    )
    print(f"exported {fit} to {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
