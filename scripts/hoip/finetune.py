"""Tune a universal potential to the labels by CP2K, as the teacher for large numbers of labels: training/hoip/tuned.pt.

    python -m scripts.hoip.finetune [STEPS]      # default 1400; an interrupted run resumes

It starts from an existing tuned.pt. A universal potential needs fewer labels than a new one
(docs/notebook/hoip-fits.md). It is tuned without dispersion, which is added afterwards as in CP2K. Errors on structures
with held-out cations are printed every EVERY steps; no choice is based on them. On a large GPU 1400 steps take six
minutes.
"""

import math
import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase import Atoms, units  # noqa: E402
from tqdm import tqdm  # noqa: E402

from scripts.hoip.gather import FOLDER, frames_of, split  # noqa: E402
from scripts.hoip.graphs import DEVICE, Graph, graph, predicted  # noqa: E402
from scripts.hoip.label import TUNED_WEIGHTS  # noqa: E402
from scripts.hoip.teachers import TUNED, dispersion, universal  # noqa: E402

BATCH, RATE, WARMUP, AVERAGE = 8, 1e-3, 60, 0.997
ENERGY, FORCES, STRESS = 0.01, 0.05, 0.1  # Huber thresholds: eV/atom, eV/Angstrom, GPa
WEIGHTS = (3.0, 3.0, 0.3)
EVERY = 50


@dataclass
class Case:
    """A label without dispersion and without the energies of the elements, and the graph for SevenNet."""

    graph: Graph
    energy: float
    forces: np.ndarray
    stress: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers (atoms,)."""
        return self.graph.numbers


def case(frame: Atoms, cutoff: float) -> Case:
    """The case of a labelled frame; cutoff in Angstrom."""
    bare, d3 = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True), dispersion(frame)
    return Case(
        graph(bare, cutoff),
        frame.get_potential_energy() - d3["energy"],
        frame.get_forces() - d3["forces"],
        frame.get_stress() - d3["stress"],
    )


def differences(model, cases: list[Case]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted minus labelled energies (eV/atom), forces (eV/Angstrom) and stresses (GPa)."""
    energy, forces, stress = predicted(model, [item.graph for item in cases])
    sizes = torch.tensor([float(len(item.numbers)) for item in cases]).to(energy)
    labels = [
        torch.tensor(np.array(x), dtype=torch.float32).to(energy)
        for x in (
            [item.energy for item in cases],
            np.concatenate([item.forces for item in cases]),
            [item.stress for item in cases],
        )
    ]
    return (energy - labels[0]) / sizes, forces - labels[1], (stress - labels[2]) / units.GPa


def loss(deviations: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Weighted Huber loss of the differences."""
    huber = torch.nn.functional.huber_loss
    return sum(
        weight * huber(x, torch.zeros_like(x), delta=turn) / turn
        for x, weight, turn in zip(deviations, WEIGHTS, (ENERGY, FORCES, STRESS), strict=True)
    )


def errors(model, cases: list[Case]) -> str:
    """Mean absolute errors in words."""
    groups = [cases[i : i + BATCH] for i in range(0, len(cases), BATCH)]
    parts = [[x.detach().abs().flatten() for x in differences(model, group)] for group in groups]
    energy, forces, stress = (float(torch.cat(x).mean()) for x in zip(*parts, strict=True))
    return f"{1e3 * forces:.1f} meV/Angstrom, {1e3 * energy:.1f} meV/atom, {stress:.2f} GPa"


def element_energies(model, cases: list[Case]) -> dict[int, float]:
    """Energies (eV) by atomic number that minimise the energy errors of the model when added per atom."""
    numbers = sorted({int(z) for item in cases for z in item.numbers})
    sizes = np.array([len(item.numbers) for item in cases])
    counts = np.array([[np.count_nonzero(item.numbers == z) for z in numbers] for item in cases])
    deviations = [item.energy - float(predicted(model, [item.graph])[0].detach()[0]) for item in cases]
    shifts = np.linalg.lstsq(counts / sizes[:, None], np.array(deviations) / sizes, rcond=None)[0]
    return {z: float(x) for z, x in zip(numbers, shifts, strict=True)}


def tune(steps: int, out: Path = TUNED_WEIGHTS) -> None:
    """Tune for `steps` steps and write weights and energies of the elements to `out`."""
    calculator, _ = universal(TUNED)
    model = calculator.model.to(DEVICE)
    state = out.with_suffix(".state")
    if out.exists():
        model.load_state_dict(torch.load(out, weights_only=True, map_location=DEVICE)["weights"])
    model.set_is_batch_data(True)
    sets = split(frames_of("dft"))
    taught, held = ([case(frame, calculator.cutoff) for frame in sets[name]] for name in ("train", "test"))
    kept = torch.load(state, weights_only=True, map_location=DEVICE) if state.exists() else {}
    if (kept.get("steps"), kept.get("labels")) != (steps, len(taught)):
        kept = {}
    elements = kept["elements"] if kept else element_energies(model, taught)
    for item in taught + held:
        item.energy -= sum(elements[int(z)] for z in item.numbers)
    tqdm.write(f"{len(taught)} labels; before, {len(held)} held out: {errors(model, held)}")

    fixed = ("coeffs", "denominator", "rescale")
    learned = {name: p for name, p in model.named_parameters() if not any(part in name for part in fixed)}
    optimizer = torch.optim.Adam(learned.values(), lr=RATE)
    average = {name: p.detach().clone() for name, p in learned.items()}
    if kept:
        model.load_state_dict(kept["weights"])
        optimizer.load_state_dict(kept["optimizer"])
        average = kept["average"]
    began = kept.get("step", 0)
    for step in tqdm(range(began, steps), "tune", initial=began, total=steps):
        share = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = RATE * share * min(1.0, (step + 1) / WARMUP)
        # the order of each epoch depends only on its number, so that a resumed run sees the same batches
        places = np.arange(step * BATCH, (step + 1) * BATCH)
        orders = {e: np.random.default_rng([5, e]).permutation(len(taught)) for e in set(places // len(taught))}
        batch = [taught[orders[place // len(taught)][place % len(taught)]] for place in places]
        model.train()  # keeps the graph of the forces
        optimizer.zero_grad()
        loss(differences(model, batch)).backward()
        torch.nn.utils.clip_grad_norm_(learned.values(), 10.0)
        optimizer.step()
        model.eval()
        decay = min(AVERAGE, (step + 1) / (step + 11))
        with torch.no_grad():
            for name, p in learned.items():
                average[name].mul_(decay).add_(p, alpha=1 - decay)
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            weights = {k: v.clone() for k, v in model.state_dict().items()}
            now = {"steps": steps, "labels": len(taught), "step": step + 1, "elements": elements, "weights": weights}
            replace(state, {**now, "average": average, "optimizer": optimizer.state_dict()})
            model.load_state_dict({**weights, **average})
            replace(out, {"weights": model.state_dict(), "elements": elements})
            tqdm.write(f"{step + 1} steps, {time.strftime('%H:%M')}, held out: {errors(model, held)}")
            model.load_state_dict(weights)


def replace(path: Path, what: dict) -> None:
    """Write a file atomically, so that an interrupted run leaves the previous one."""
    beside = path.with_suffix(path.suffix + ".part")
    torch.save(what, beside)
    os.replace(beside, path)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    tune(int(sys.argv[1]) if len(sys.argv) > 1 else 1400)
