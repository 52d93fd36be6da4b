"""Tune a universal potential to the labels by CP2K, as the teacher of the many: training/hoip/tuned.pt.

    python -m scripts.hoip.finetune [STEPS]      # 1400 unless told; an interrupted run goes on where it was

A tuned.pt of fewer labels is where it begins. Few labels teach more to a potential that has seen most of chemistry
than to one that begins with little (README.md has the numbers). It is tuned without dispersion, which is added to it
afterwards as CP2K adds it. A line of errors on the structures whose cations are held out, every EVERY steps: nothing is
chosen by them. On a large GPU 1400 steps take six minutes.
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
ENERGY, FORCES, STRESS = 0.01, 0.05, 0.1  # where the loss turns from square to linear: eV/atom, eV/Angstrom, GPa
WEIGHTS = (3.0, 3.0, 0.3)
EVERY = 50


@dataclass
class Case:
    """A label less its dispersion, and the elements' energies less too; the graph that SevenNet reads."""

    graph: Graph
    energy: float
    forces: np.ndarray
    stress: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        return self.graph.numbers


def case(frame: Atoms, cutoff: float) -> Case:
    bare, less = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True), dispersion(frame)
    return Case(
        graph(bare, cutoff),
        frame.get_potential_energy() - less["energy"],
        frame.get_forces() - less["forces"],
        frame.get_stress() - less["stress"],
    )


def differences(model, cases: list[Case]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted less labelled: eV/atom, eV/Angstrom, GPa."""
    energy, forces, stress = predicted(model, [one.graph for one in cases])
    sizes = torch.tensor([float(len(one.numbers)) for one in cases]).to(energy)
    labels = [
        torch.tensor(np.array(x), dtype=torch.float32).to(energy)
        for x in (
            [one.energy for one in cases],
            np.concatenate([one.forces for one in cases]),
            [one.stress for one in cases],
        )
    ]
    return (energy - labels[0]) / sizes, forces - labels[1], (stress - labels[2]) / units.GPa


def loss(apart: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    huber = torch.nn.functional.huber_loss
    return sum(
        weight * huber(x, torch.zeros_like(x), delta=turn) / turn
        for x, weight, turn in zip(apart, WEIGHTS, (ENERGY, FORCES, STRESS), strict=True)
    )


def errors(model, cases: list[Case]) -> str:
    groups = [cases[i : i + BATCH] for i in range(0, len(cases), BATCH)]
    parts = [[x.detach().abs().flatten() for x in differences(model, group)] for group in groups]
    energy, forces, stress = (float(torch.cat(x).mean()) for x in zip(*parts, strict=True))
    return f"{1e3 * forces:.1f} meV/Angstrom, {1e3 * energy:.1f} meV/atom, {stress:.2f} GPa"


def element_energies(model, cases: list[Case]) -> dict[int, float]:
    """What every element adds to the model's energies so that they are nearest to the labels'."""
    numbers = sorted({int(z) for one in cases for z in one.numbers})
    sizes = np.array([len(one.numbers) for one in cases])
    counts = np.array([[np.count_nonzero(one.numbers == z) for z in numbers] for one in cases])
    apart = [one.energy - float(predicted(model, [one.graph])[0].detach()[0]) for one in cases]
    shifts = np.linalg.lstsq(counts / sizes[:, None], np.array(apart) / sizes, rcond=None)[0]
    return {z: float(x) for z, x in zip(numbers, shifts, strict=True)}


def tune(steps: int, out: Path = TUNED_WEIGHTS) -> None:
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
    for one in taught + held:
        one.energy -= sum(elements[int(z)] for z in one.numbers)
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
        # each epoch goes once through the labels in an order of its own, so that a continued run meets the same ones
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
    """Written beside and moved, so that a run that is killed leaves the file before."""
    beside = path.with_suffix(path.suffix + ".part")
    torch.save(what, beside)
    os.replace(beside, path)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    tune(int(sys.argv[1]) if len(sys.argv) > 1 else 1400)
