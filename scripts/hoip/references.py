"""Make the reference crystals of `gendesign benchmark perovskites`, the best of long independent searches.

    python -m scripts.hoip.references potential=hoip [perovskites=quick] [key=value ...]
Keys are those of the benchmark. Each composition is searched several times, with different seeds and at most 480
candidates each, until there are five times as many as perovskites.starts. The lowest intact crystal is the reference.
Crystals that tie are relaxed further in double precision and written in the resulting order. Starts in a published cell
of at most most_atoms atoms are relaxed too. The searches are stored in OUTPUT/perovskites/longer, and the same command
resumes. The file (perovskites.references, or the bundled one) is written after every composition; entries of other
compositions are kept.
"""

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gendesign.benchmark.lattices import MATERIALS, PHASES
from gendesign.benchmark.recovery import LONGER, SHIPPED, TIED, read_references
from gendesign.benchmark.search import Material, Search, SearchResult, fitting_cell, in_known_cell, settings_for
from gendesign.errors import SettingsError, UserError
from gendesign.generate.perovskite.known_cell import possible_settings
from gendesign.relaxation import Relaxation, relax
from gendesign.run.build import load
from gendesign.run.settings import resolve
from gendesign.structure.crystals import heavy_structure, matcher
from gendesign.structure.files import write_extxyz
from gendesign.structure.perovskite import energy_of
from gendesign.structure.types import Candidate

FIRST_SEED, MOST = 1001, 480  # candidates of each search; several searches show how often a crystal is found
CLOSER = Relaxation("precon_lbfgs", fmax=0.0005, max_steps=1000, cell=True, max_stress=0.005)  # resolves ties
SHOWN = 10  # number of energies of ranked crystals in the info of a reference


def planned(material: Material, config: DictConfig, output: Path) -> list[Search]:
    """The independent random searches of one composition."""
    settings = config.perovskites
    cell, each = fitting_cell(material, settings.cells, settings.most_atoms), min(settings.starts, MOST)
    shorter = OmegaConf.merge(config, {"perovskites": {"starts": each, "shard_size": min(settings.shard_size, each)}})
    seeds = range(FIRST_SEED, FIRST_SEED + math.ceil(LONGER * settings.starts / each))
    return [Search(settings_for(material, cell, shorter, s), output / f"{material.folder}-{s}") for s in seeds]


def published(material: Material, config: DictConfig, output: Path) -> list[Search]:
    """The searches in published cells of at most most_atoms atoms, with a final relaxation of the cell."""
    searches, search = [], Search(settings_for(material, "sqrt2", config), output / material.folder)
    phases = [cell for name, known in MATERIALS.items() if known == material for cell in PHASES[name].values()]
    for number, cell in enumerate(phases):
        setting = possible_settings(material.compound, cell)[0]
        if len(setting.metals) * material.atoms <= config.perovskites.most_atoms:
            starts = max(1, config.perovskites.published)
            held = in_known_cell(search, cell, f"{material.folder}-published{number}", starts)
            held.settings.relaxation.cell = True
            searches.append(held)
    return searches


def exact_energies(candidates: Sequence[Candidate], config: DictConfig) -> list[float]:
    """Energies (eV per formula unit) after further relaxation in double precision; infinite if not converged."""
    done = relax(candidates, load(OmegaConf.merge(config, {"dtype": "float64"})), CLOSER)
    return [energy_of(c) if c.failure is None and c.info["converged"] else math.inf for c in done]


def references(
    material: Material,
    searches: Sequence[SearchResult],
    potential: Any,
    seeds: Sequence[int],
    exact: Callable[[Sequence[Candidate]], list[float]],
) -> list[Candidate]:
    """The lowest crystal of all searches and those that tie with it, with their provenance, sorted by exact energy.

    exact: returns the energies of candidates in double precision. Raises UserError if no search found an intact
    crystal.
    """
    ranked = sorted((candidate for search in searches for candidate in search.ranked), key=energy_of)
    if not ranked:
        starts = sum(search.starts for search in searches)
        raise UserError(f"{material.text}: no intact crystal among {starts} starts; give more perovskites.starts")
    lowest = energy_of(ranked[0])
    each = [None if search.best is None else energy_of(search.best) - lowest for search in searches]
    info = {
        "composition": material.text,
        "starts": sum(search.starts for search in searches),
        "seeds": " ".join(map(str, seeds)),
        "potential": potential.name,
        "weights_sha256": potential.weights_hash,
        # eV per formula unit above the lowest: the best of each search, and the first of all
        "best_of_searches": " ".join("none" if above is None else f"{above:.4f}" for above in each),
        "next_energies": " ".join(f"{energy_of(candidate) - lowest:.4f}" for candidate in ranked[:SHOWN]),
    }
    tied = _tied(ranked, searches)
    energies = exact([candidate for candidate, _ in tied]) if len(tied) > 1 else [energy_of(tied[0][0])]
    made = [
        candidate.after("reference", **info, energy_per_formula=energy_of(candidate), exact=energy, found_by=times)
        for energy, (candidate, times) in zip(energies, tied, strict=True)
    ]
    return sorted(made, key=lambda candidate: candidate.info["exact"])


def _tied(ranked: list[Candidate], searches: Sequence[SearchResult]) -> list[tuple[Candidate, int]]:
    """Different crystals that tie with the lowest, and the number of searches that found each of them."""
    limit, match, kept = energy_of(ranked[0]) + TIED, matcher(), []
    for candidate in ranked:
        structure = heavy_structure(candidate.atoms)
        if energy_of(candidate) <= limit and not any(match.fit(structure, other) for _, other in kept):
            kept.append((candidate, structure))
    low = [[heavy_structure(c.atoms) for c in search.ranked if energy_of(c) <= limit] for search in searches]
    return [(crystal, sum(any(match.fit(s, other) for other in group) for group in low)) for crystal, s in kept]


def main(words: list[str]) -> None:
    """Write the references of all requested compositions."""
    config = resolve("benchmark", words)
    path = SHIPPED if config.perovskites.references is None else Path(config.perovskites.references)
    materials = [Material.parse(text) for text in config.perovskites.compositions]
    potential, output = load(config), Path(config.output) / "perovskites" / "longer"
    potential.require_elements({symbol for material in materials for symbol in material.compound.elements})
    searches = {m: [*planned(m, config, output), *published(m, config, output)] for m in materials}
    for search in (search for group in searches.values() for search in group):
        search.check(potential)
    for material in materials:
        random = [
            search.settings.seed for search in planned(material, config, output)
        ]  # those in published cells have no seed
        results = [search.run(potential) for search in searches[material]]
        made = references(material, results, potential, random, partial(exact_energies, config=config))
        kept = {**(read_references(str(path)) if path.is_file() else {}), material.text: made}
        write_extxyz([crystal for group in kept.values() for crystal in group], path)
        print(f"{material.text}: {made[0].info['best_of_searches']} eV per formula unit, the best of each search")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, SettingsError) as error:
        sys.exit(f"references.py: {error}")
