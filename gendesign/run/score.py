"""What the score of a diffusion model is, measured: gendesign analyse score."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers

from gendesign.errors import UserError
from gendesign.generate.diffusion import anatomy, checkpoint, data, figures
from gendesign.generate.diffusion.cloud import Order, new_cloud
from gendesign.generate.diffusion.quality import quality
from gendesign.generate.diffusion.sampler import DiffusionSampler, LearnedScore, Steps
from gendesign.generate.diffusion.sizes import drawn
from gendesign.potential.protocol import PotentialLike
from gendesign.run.conf import conf_folder, load
from gendesign.run.score_settings import POTENTIAL, ScoreSettings
from gendesign.structure.counter_random import keys
from gendesign.structure.files import write_atomically
from gendesign.train.teacher import Teacher, label, make_teacher

BENZENE = 12  # atoms of the molecule of figure 1, and of the trajectories on it
SHOWN = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # Angstrom: levels of the table
Tell = Callable[[str, int, int], None]


@dataclass
class Analysis:
    """One analysis: `run` makes all figures in `folder` and returns lines for the terminal."""

    settings: ScoreSettings
    potential: PotentialLike | None
    folder: Path
    seed: int = 0
    tell: Tell = lambda part, done, total: None
    results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trained = checkpoint.load(self.settings.checkpoint)
        if POTENTIAL in self.settings.methods and self.potential is None:
            raise UserError("methods=[potential]: give potential=NAME as well")
        self.held = self.held_out()

    def run(self) -> list[str]:
        """Measure and draw everything."""
        parts = (self.forces, self.landscape, self.generation, self.sizes)
        for k, part in enumerate(parts):
            self.tell(part.__name__, k, len(parts))
            part()
            write_atomically(self.folder / "score.json", json.dumps(_plain(self.results), indent=1))
        self.tell("", len(parts), len(parts))
        return self.lines()

    def held_out(self) -> data.Molecules:
        """Molecules that the model was not trained on, in an order fixed by hashes; small ones are left out."""
        molecules = data.read(self.settings.data)
        if unknown := [e for e in molecules.elements if e not in self.trained.model.elements]:
            raise UserError(
                f"data holds {', '.join(unknown)}, which {self.trained.name} does not know; give molecules of "
                f"{' '.join(self.trained.model.elements)}"
            )
        usual = 0.1 if self.trained.config.get("held_out", 1) else 0.0  # of checkpoints that do not state it
        share = float(self.trained.config.get("valid_share", usual))
        _, held = data.split(molecules, share, str(self.trained.config.get("split", data.RANDOM)))
        held = held if len(held) else np.arange(len(molecules))
        held = held[molecules.counts[held] > 3]
        order = np.random.default_rng(self.seed).permutation(len(held))[: self.settings.molecules]
        return molecules.chosen(held[order])

    def forces(self) -> None:
        """Figure 4."""
        sigmas = np.geomspace(0.01, 10, self.settings.levels)
        methods = {name: self._forces(name) for name in self.settings.methods}
        self.found = anatomy.compare(self.trained.model, self.held, sigmas, methods, self.seed, self.settings.highest)
        self.crossings = {
            name: anatomy.crossover(self.found[anatomy.RESTORATIVE], self.found[name]) for name in methods
        }
        figures.draw_comparison(self.found, self.crossings, self.folder / "forces.png")
        self.results["forces"] = {
            name: {
                "sigma": one.sigmas,
                "cosine": one.mean(),
                "cosine_deviation": one.deviation(),
                "ratio": one.mean(one.ratio),
                "n": np.isfinite(one.cosine).sum(1),
                "by_element": {symbol: one.mean(values) for symbol, values in one.by_element.items()},
            }
            for name, one in self.found.items()
        }
        self.results["crossover"] = {name: {"sigma": s, "error": e} for name, (s, e) in self.crossings.items()}

    def _forces(self, name: str) -> anatomy.Forces:
        """Forces of a method, None where it fails."""

        def of_potential(structures: Sequence[Atoms]) -> list[np.ndarray | None]:
            if self.potential is None:
                return [None] * len(structures)
            forces = self.potential.evaluate(structures).forces.cpu().numpy()
            return list(np.split(forces, np.cumsum([len(a) for a in structures])[:-1]))

        def of_teacher(structures: Sequence[Atoms]) -> list[np.ndarray | None]:
            return [label(self.teacher(name), atoms).arrays.get("forces") for atoms in structures]

        return of_potential if name == POTENTIAL else of_teacher

    def teacher(self, name: str) -> Teacher:
        """The method `name` of conf/teacher."""
        return make_teacher(load(conf_folder() / "teacher" / f"{name}.yaml"))

    def landscape(self) -> None:
        """Figure 1: benzene, and generations of twelve atoms."""
        levels = np.geomspace(1e-3, 10, 13)
        low, high = self.trained.noise.seen
        sigmas = levels[(levels >= low) & (levels <= high)]
        energy = anatomy.landscape(self.trained.model, molecule("C6H6"), sigmas, levels)
        record = self._generated([BENZENE] * 8)
        moved, at = record.deformations(), np.array(record.sigmas)
        walks = [(at, moved[:, k]) for k in range(moved.shape[1])]
        figures.draw_landscape(sigmas, levels, energy, walks, self.folder / "landscape.png")
        self.results["landscape"] = {"sigma": sigmas, "deformation": levels, "energy_per_atom": energy}

    def _generated(self, sizes: Sequence[int]) -> anatomy.Record:
        model = self.trained.model
        record = anatomy.Record.of(model)
        elements = tuple(atomic_numbers[e] for e in model.elements)
        orders = [Order(torch.zeros(n, dtype=torch.long), torch.full((n, 3), torch.nan)) for n in sizes]
        cloud = new_cloud(orders, keys(self.seed, torch.arange(len(sizes))), elements, elements)
        low = max(0.01, self.trained.noise.seen[0])
        sampler = DiffusionSampler(LearnedScore(model), Steps(calls=self.settings.calls, sigma_min=low, churn=0))
        sampler(cloud, record)
        return record

    def generation(self) -> None:
        """Figures 2, 3 and 5."""
        u = (np.arange(self.settings.samples) + 0.5) / self.settings.samples
        record = self._generated(drawn(self.trained.model.statistics.size_counts, u)[:, 1].tolist())
        sigma, energy = np.array(record.sigmas), np.stack(record.energy)
        figures.draw_bands({"learned energy": (sigma, energy)}, "energy per atom", self.folder / "energy.png")
        handmade = {"learned": (sigma, energy)}
        for name in self.settings.methods:
            if name != POTENTIAL:
                scale = anatomy.force_scale(self.found[name])
                made = anatomy.handmade(record, self._energies(name), scale)
                handmade[f"restorative + {name}"] = (sigma, made)
        figures.draw_bands(handmade, "energy per atom", self.folder / "handmade.png")
        decided, fragments = record.decided(), record.fragments()
        figures.draw_generation(sigma, decided, fragments, self.folder / "generation.png")
        ended = quality(record.frames(-1))
        half = next((s for s, share in zip(sigma[::-1], decided[::-1], strict=True) if s > 0 and share < 0.95), None)
        self.results["generation"] = {
            "sigma": sigma,
            "energy_per_atom": energy.mean(1),
            "handmade": {name: np.nanmean(values, 1) for name, (_, values) in handmade.items()},
            "decided": decided,
            "fragments": fragments,
            "elements_decided_below": half,
            "samples": ended.n,
            "valid": ended.valid,
            "molecules_stable": ended.molecules_stable,
            "atoms_stable": ended.atoms_stable,
        }

    def _energies(self, name: str) -> Callable[[Sequence[Atoms]], np.ndarray]:
        """eV less that of isolated atoms (molecules,), nan where the method fails."""
        teacher, atoms = self.teacher(name), {}

        def isolated(z: int) -> float:
            if z not in atoms:
                atoms[z] = float(label(teacher, Atoms([z])).info.get("energy", np.nan))
            return atoms[z]

        def energies(structures: Sequence[Atoms]) -> np.ndarray:
            labelled = [label(teacher, a).info.get("energy", np.nan) for a in structures]
            return np.array([e - sum(map(isolated, a.numbers)) for e, a in zip(labelled, structures, strict=True)])

        return energies

    def sizes(self) -> None:
        """Figures 5 and 6: quality against the number of heavy atoms."""
        if not self.settings.per_size:
            return
        counts = self.trained.model.statistics.size_counts
        u = (np.arange(self.settings.per_size) + 0.5) / self.settings.per_size
        rows = []
        for heavy in self.settings.sizes:
            sizes = drawn(counts, u, [heavy] * len(u))[:, 1].tolist()
            found = quality(self._generated(sizes).frames(-1))
            keys_ = ("n", "atoms_stable", "molecules_stable", "valid", "unique", "fragments")
            rows.append({"heavy_atoms": heavy, **{key: getattr(found, key) for key in keys_}})
        figures.draw_sizes(rows, max(h for h, _, _ in counts), self.folder / "sizes.png")
        self.results["sizes"] = rows

    def lines(self) -> list[str]:
        """Numbers for the terminal."""
        out = []
        for name, one in self.found.items():
            mean = one.mean()
            nearest = dict.fromkeys(int(np.abs(np.log(one.sigmas / s)).argmin()) for s in SHOWN)
            at = [(one.sigmas[k], mean[k]) for k in nearest if np.isfinite(mean[k])]
            out.append(f"cosine with {name}: " + ", ".join(f"{value:.2f} at {s:.2g}" for s, value in at))
        for name, (sigma, error) in self.crossings.items():
            out.append(f"cross-over to {name}: {sigma:.3g} +- {error:.1g} Angstrom")
        made = self.results["generation"]
        out.append(f"{made['samples']} samples: {made['valid']:.2f} valid, {made['atoms_stable']:.3f} of atoms stable")
        return [*out, f"results in {self.folder}: score.json and figures"]


def _plain(value: Any) -> Any:
    """Arrays as lists, and numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not np.isfinite(value) else value
