"""Molecular dynamics: energy conservation, and stability of molecules at high temperature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from gendesign.dynamics import molecular_dynamics
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.bonds import connectivity
from gendesign.structure.types import Row
from gendesign.validation.methods import bare
from gendesign.validation.picture import OWN, grid

STRETCH = 2.0  # a bond at this many times its length is broken


def exploded(temperature: float, time: float) -> str:
    """Name of the row that counts the molecules that broke at `temperature` (K) within `time` (ps)."""
    return f"exploded, {temperature:g} K, {time:g} ps"


def drift(
    structures: Sequence[Atoms],
    potential: PotentialLike,
    *,
    temperature: float = 300.0,
    timestep: float = 0.5,
    time: float = 2.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Drift of the total energy in NVE dynamics: slope (meV/atom/ps), fluctuation and energies (meV/atom) of each.

    The structures must have one periodicity. temperature in K, timestep in fs, time in ps. The slope is None for a
    trajectory that exploded.
    """
    steps = max(4, round(1000 * time / timestep))
    every = max(1, steps // 100)
    runs = molecular_dynamics([bare(a) for a in structures], potential, temperature=temperature, timestep=timestep,
                              steps=steps, ensemble="nve", seed=seed, every=every)  # fmt: skip
    drifts = []
    for run in runs:
        total = np.array([atoms.get_total_energy() / len(atoms) for atoms in run])
        clock = np.array([atoms.info["time"] for atoms in run]) / 1000
        complete = bool(run) and not run[-1].info["exploded"] and len(run) > 2
        line = np.polyfit(clock, 1000 * (total - total[0]), 1) if complete else None
        drifts.append(
            {
                "formula": run[0].get_chemical_formula() if run else "",
                "slope": None if line is None else float(line[0]),
                "fluctuation": None
                if line is None
                else float((1000 * (total - total[0]) - np.polyval(line, clock)).std()),
                "time": clock.round(5).tolist(),
                "energy": (1000 * (total - total[0])).round(4).tolist() if len(run) else [],
            }
        )
    return {"structures": drifts}


def explosions(
    structures: Sequence[Atoms],
    potential: PotentialLike,
    *,
    temperature: float = 1000.0,
    timestep: float = 0.5,
    time: float = 2.0,
    seed: int = 0,
) -> list[float | None]:
    """Time (ps) at which each molecule broke in Langevin dynamics, None for molecules that stayed intact.

    A molecule is broken if a bond is longer than STRETCH times its initial length or a number is not finite.
    temperature in K, timestep in fs, time in ps.
    """
    molecules = [bare(atoms) for atoms in structures]
    bonds = [np.array(sorted(connectivity(atoms))).reshape(-1, 2) for atoms in molecules]
    runs = molecular_dynamics(molecules, potential, temperature=temperature, timestep=timestep,
                              steps=round(1000 * time / timestep), seed=seed, every=20)  # fmt: skip
    return [_end(run, pairs) for run, pairs in zip(runs, bonds, strict=True)]


def _end(run: Sequence[Atoms], bonds: np.ndarray) -> float | None:
    if not run:  # the forces of the start are not finite
        return 0.0
    first, second = bonds.T
    lengths = np.array([np.linalg.norm(a.positions[first] - a.positions[second], axis=-1) for a in run])
    broken = ~(lengths <= STRETCH * lengths[0]).all(axis=1)
    if broken.any():
        return run[int(broken.argmax())].info["time"] / 1000
    return run[-1].info["time"] / 1000 if run[-1].info["exploded"] else None


def stability(
    structures: Sequence[Atoms],
    potential: PotentialLike,
    *,
    temperature: float,
    timestep: float,
    time: float,
    seed: int,
) -> dict[str, Any]:
    """`explosions` with formulas, temperature and time."""
    ends = explosions(structures, potential, temperature=temperature, timestep=timestep, time=time, seed=seed)
    names = [atoms.get_chemical_formula() for atoms in structures]
    return {
        "temperature": temperature,
        "time": time,
        "molecules": [{"formula": name, "apart_after": end} for name, end in zip(names, ends, strict=True)],
    }


def drift_rows(results: dict[str, Any]) -> list[Row]:
    """Mean and largest absolute slope of the total energy."""
    slopes = [abs(s["slope"]) for s in results["structures"] if s["slope"] is not None]
    lost = len(results["structures"]) - len(slopes)
    return [
        Row("NVE energy drift, mean", float(np.mean(slopes)) if slopes else None, "meV/atom/ps", len(slopes)),
        Row("NVE energy drift, largest", max(slopes) if slopes else None, "meV/atom/ps", len(slopes)),
        Row("NVE trajectories that broke off", lost, "structures", len(results["structures"])),
    ]


def stability_rows(results: dict[str, Any]) -> list[Row]:
    """The number of molecules that broke; the name of the row states temperature and time."""
    apart = sum(m["apart_after"] is not None for m in results["molecules"])
    return [Row(exploded(results["temperature"], results["time"]), apart, "molecules", len(results["molecules"]))]


def drift_picture(results: dict[str, Any]) -> Figure:
    """Total energy against time."""
    figure, (panel,) = grid(1, columns=1, size=(4.6, 3.0))
    for structure in results["structures"]:
        panel.plot(structure["time"], structure["energy"], color=OWN, lw=0.9, alpha=0.6)
    panel.set(xlabel="time (ps)", ylabel="total energy (meV/atom)")
    return figure


def stability_picture(results: dict[str, Any]) -> Figure:
    """Number of intact molecules against time."""
    figure, (panel,) = grid(1, columns=1, size=(4.6, 3.0))
    ends = sorted(m["apart_after"] for m in results["molecules"] if m["apart_after"] is not None)
    n = len(results["molecules"])
    panel.step([0, *ends, results["time"]], [n, *range(n - 1, n - 1 - len(ends), -1), n - len(ends)], where="post",
               color=OWN)  # fmt: skip
    panel.set(xlabel=f"time at {results['temperature']:g} K (ps)", ylabel="whole molecules", ylim=(0, n * 1.05))
    return figure
