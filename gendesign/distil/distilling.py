"""From structures to a fast student of a potential: labels, fit, errors on held-out structures, speed, card."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from gendesign.distil.copies import held_out, with_copies
from gendesign.distil.labels import Labelled, labels
from gendesign.distil.pod import fit_pod
from gendesign.distil.settings import Distillation
from gendesign.distil.student import enlarged, evaluate, seconds_per_atom
from gendesign.errors import UserError
from gendesign.lammps.locate import executable
from gendesign.potential.protocol import PotentialLike
from gendesign.structure.files import write_atomically

FEWEST = 4  # structures with labels
TIMED_ATOMS, CALLS = 200, 3  # of the potential itself
Progress = Callable[[str, int, int], None]


def distil(
    potential: PotentialLike,
    structures: Sequence[Atoms],
    output: Path,
    settings: Distillation,
    *,
    seed: int = 0,
    progress: Progress = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Fit a student of `potential` to `structures` and write it to the folder `output`; what is in its results.json.

    `output` then holds pair.in with its files (lammps/pair.py), results.json and card.md. Raises UserError where LAMMPS
    is missing, and if fewer than FEWEST structures can be used.
    """
    executable()
    groups = with_copies(structures, settings.copies, settings.strain, settings.displacement, seed)
    rows, reasons = labels(
        potential, groups, settings.cutoff, settings.repulsion[1], settings.max_force,
        lambda done: progress("label", done, len(groups)),
    )  # fmt: skip
    originals = {row.original for row in rows}
    if len(rows) < FEWEST or len(originals) < 2:
        why = "; ".join(f"{n} have {reason}" for reason, n in reasons.items()) or "too few were given"
        raise UserError(
            f"{len(rows)} of {len(groups)} structures can be used ({why}); give {FEWEST} or more, of two originals"
        )
    held = held_out([row.original for row in rows], settings.test_share, seed)
    train = [row for row in rows if row.original not in held]
    test = [row for row in rows if row.original in held]
    progress("fit", 0, 0)
    started = time.process_time()
    source = f"POD distilled from {potential.name} {potential.weights_hash[:12]}"
    fit_pod(train, output, size=settings.size, cutoff=settings.cutoff, energy_weight=settings.energy_weight,
            repulsion=settings.repulsion, source=source)  # fmt: skip
    progress("measure", 0, 0)
    results = {
        "potential": {"name": potential.name, "weights_hash": potential.weights_hash},
        "settings": asdict(settings) | {"seed": seed},
        "elements": sorted({s for row in rows for s in row.atoms.get_chemical_symbols()}),
        "left_out": dict(reasons),
        "train": errors(output, train),
        "test": errors(output, test),
        "speed": speed(potential, output, max(rows, key=lambda row: len(row.atoms)).atoms),
        "seconds": time.process_time() - started,
    }
    write_atomically(output / "results.json", json.dumps(results, indent=1) + "\n")
    write_atomically(output / "card.md", card(results))
    return results


def errors(folder: Path, rows: Sequence[Labelled]) -> dict[str, float]:
    """Errors of the student as LAMMPS runs it: energies in meV/atom, forces in eV/Angstrom per component."""
    energies, forces = evaluate(folder, [row.atoms for row in rows])
    sizes = np.array([len(row.atoms) for row in rows])
    energy = 1e3 * (energies - np.array([row.energy for row in rows])) / sizes
    force = np.concatenate([(a - row.forces).ravel() for a, row in zip(forces, rows, strict=True)])
    label = np.concatenate([row.forces.ravel() for row in rows])
    return {
        "n": len(rows),
        "energy_mae_mev_atom": float(np.abs(energy).mean()),
        "energy_rmse_mev_atom": float(np.sqrt(np.square(energy).mean())),
        "force_mae": float(np.abs(force).mean()),
        "force_rmse": float(np.sqrt(np.square(force).mean())),
        "force_rms": float(np.sqrt(np.square(label).mean())),
    }


def speed(potential: PotentialLike, folder: Path, atoms: Atoms) -> dict[str, float]:
    """Microseconds per atom and step of the student (CPU, one core) and of the potential (least wall time of CALLS)."""
    student, n_student = seconds_per_atom(folder, atoms)
    large, times = enlarged(atoms, TIMED_ATOMS), []
    for call in range(CALLS + 1):  # the first one warms up
        large.rattle(1e-3, seed=call)  # ASE's calculators would remember an answer
        start = time.perf_counter()
        potential.evaluate([large])
        times.append(time.perf_counter() - start)
    return {
        "student_us": 1e6 * student,
        "student_atoms": n_student,
        "potential_us": 1e6 * min(times) / len(large),
        "potential_atoms": len(large),
    }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows of errors and times for the terminal and the card."""
    rows: list[tuple[str, ...]] = [("", "structures", "energy MAE", "RMSE", "force MAE", "RMSE", "RMS of forces")]
    for name, title in (("train", "trained on"), ("test", "held out")):
        r = results[name]
        rows.append((title, str(r["n"]), f"{r['energy_mae_mev_atom']:.2f}", f"{r['energy_rmse_mev_atom']:.2f}",
                     f"{r['force_mae']:.3f}", f"{r['force_rmse']:.3f}", f"{r['force_rms']:.3f}"))  # fmt: skip
    return rows


def speed_line(results: dict[str, Any]) -> str:
    """How fast the student is, in one line."""
    s = results["speed"]
    gain = s["potential_us"] / s["student_us"]
    return (
        f"{s['student_us']:.3g} us per atom and step ({s['student_atoms']} atoms, one core) against "
        f"{s['potential_us']:.3g} ({s['potential_atoms']} atoms): {gain:.3g} times as fast"
    )


def card(results: dict[str, Any]) -> str:
    """The card in Markdown."""
    rows, settings, left_out = table(results), results["settings"], results["left_out"]
    body = ["| " + " | ".join(row) + " |" for row in rows]
    inner, outer = settings["repulsion"]
    lines = [
        f"# A POD student of {results['potential']['name']}",
        "",
        "Written by `gendesign distil`. `pair.in` has the commands of LAMMPS. A deck that runs is written by",
        "`gendesign export lammps potential=FOLDER`.",
        "",
        f"- **Elements:** {' '.join(results['elements'])}, the types of LAMMPS in this order, all of them always",
        f"- **Labels:** {results['potential']['name']}, weights {results['potential']['weights_hash'][:12]}",
        f"- **Left out:** {'; '.join(f'{n} with {reason}' for reason, n in left_out.items()) or 'none'}",
        f"- **Terms:** {settings['size']}, radius {settings['cutoff']:g} Angstrom",
        f"- **Repulsion:** ZBL, fades out from {inner:g} to {outer:g} Angstrom",
        f"- **Speed:** {speed_line(results)}",
        "",
        body[0],
        "|---" * len(rows[0]) + "|",
        *body[1:],
        "",
        "Energies in meV/atom, forces in eV/Angstrom per component, as LAMMPS computes them from this folder. Held-out",
        "structures come from other originals than those of the fit.",
        "",
        "Do not use it for structures unlike its own: a POD does not know what it has not seen. Watch energy, pressure",
        "and the shortest distance of a run.",
    ]
    return "\n".join(lines) + "\n"
