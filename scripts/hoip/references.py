"""Make the reference crystals of `gendesign benchmark perovskites`: the best of long independent searches.

    python -m scripts.hoip.references potential=hoip [perovskites=quick] [key=value ...]
Keys are those of the benchmark. Each composition is searched several times, with a seed of its own and at most
480 candidates each time, until these are five times as many as perovskites.starts; the lowest intact crystal is the
reference. Several that tie are relaxed on in double precision and come into the file in that order.
Where the cell of the crystal is published and fits into most_atoms, starts in it are relaxed too. The searches lie in
OUTPUT/perovskites/longer, and the same command goes on with them; the file (perovskites.references, or the one in the
package) is written after every composition, others in it are kept.
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

FIRST_SEED, MOST = 1001, 480  # candidates of each search; several searches tell how often a crystal is found
CLOSER = Relaxation("precon_lbfgs", fmax=0.0005, max_steps=1000, cell=True, max_stress=0.005)  # tells what ties apart
SHOWN = 10  # energies of the ranked crystals that stand beside a reference


def planned(material: Material, config: DictConfig, output: Path) -> list[Search]:
    """The independent random searches of one composition."""
    own = config.perovskites
    cell, each = fitting_cell(material, own.cells, own.most_atoms), min(own.starts, MOST)
    shorter = OmegaConf.merge(config, {"perovskites": {"starts": each, "shard_size": min(own.shard_size, each)}})
    seeds = range(FIRST_SEED, FIRST_SEED + math.ceil(LONGER * own.starts / each))
    return [Search(settings_for(material, cell, shorter, s), output / f"{material.folder}-{s}") for s in seeds]


def published(material: Material, config: DictConfig, output: Path) -> list[Search]:
    """The searches in published cells, where they are known and hold few enough atoms; their crystals are relaxed."""
    searches, search = [], Search(settings_for(material, "sqrt2", config), output / material.folder)
    phases = [cell for name, one in MATERIALS.items() if one == material for cell in PHASES[name].values()]
    for number, cell in enumerate(phases):
        setting = possible_settings(material.compound, cell)[0]
        if len(setting.metals) * material.atoms <= config.perovskites.most_atoms:
            starts = max(1, config.perovskites.published)
            held = in_known_cell(search, cell, f"{material.folder}-published{number}", starts)
            held.settings.relaxation.cell = True
            searches.append(held)
    return searches


def exact_energies(candidates: Sequence[Candidate], config: DictConfig) -> list[float]:
    """Energies in eV per formula unit, relaxed on in double precision; infinite for what does not converge."""
    done = relax(candidates, load(OmegaConf.merge(config, {"dtype": "float64"})), CLOSER)
    return [energy_of(c) if c.failure is None and c.info["converged"] else math.inf for c in done]


def references(
    material: Material,
    found: Sequence[SearchResult],
    potential: Any,
    seeds: Sequence[int],
    exact: Callable[[Sequence[Candidate]], list[float]],
) -> list[Candidate]:
    """The lowest crystal of all searches and those that tie with it, with where each comes from, from the lowest up by
    the energies `exact` gives these; raises UserError when none found an intact crystal."""
    ranked = sorted((candidate for one in found for candidate in one.ranked), key=energy_of)
    if not ranked:
        starts = sum(one.starts for one in found)
        raise UserError(f"{material.text}: no intact crystal among {starts} starts; give more perovskites.starts")
    lowest = energy_of(ranked[0])
    each = [None if one.best is None else energy_of(one.best) - lowest for one in found]
    info = {
        "composition": material.text,
        "starts": sum(one.starts for one in found),
        "seeds": " ".join(map(str, seeds)),
        "potential": potential.name,
        "weights_sha256": potential.weights_hash,
        # eV per formula unit above the lowest: the best of each search, and the first of all
        "best_of_searches": " ".join("none" if above is None else f"{above:.4f}" for above in each),
        "next_energies": " ".join(f"{energy_of(candidate) - lowest:.4f}" for candidate in ranked[:SHOWN]),
    }
    tied = _tied(ranked, found)
    energies = exact([candidate for candidate, _ in tied]) if len(tied) > 1 else [energy_of(tied[0][0])]
    made = [
        candidate.after("reference", **info, energy_per_formula=energy_of(candidate), exact=energy, found_by=times)
        for energy, (candidate, times) in zip(energies, tied, strict=True)
    ]
    return sorted(made, key=lambda candidate: candidate.info["exact"])


def _tied(ranked: list[Candidate], found: list[SearchResult]) -> list[tuple[Candidate, int]]:
    """Crystals as low as the lowest, each once, and how many searches have it so low, those in published cells too."""
    limit, match, kept = energy_of(ranked[0]) + TIED, matcher(), []
    for candidate in ranked:
        own = heavy_structure(candidate.atoms)
        if energy_of(candidate) <= limit and not any(match.fit(own, other) for _, other in kept):
            kept.append((candidate, own))
    low = [[heavy_structure(one.atoms) for one in search.ranked if energy_of(one) <= limit] for search in found]
    return [(one, sum(any(match.fit(own, other) for other in some) for some in low)) for one, own in kept]


def main(words: list[str]) -> None:
    """The references of all compositions that the words ask for."""
    config = resolve("benchmark", words)
    path = SHIPPED if config.perovskites.references is None else Path(config.perovskites.references)
    materials = [Material.parse(text) for text in config.perovskites.compositions]
    potential, output = load(config), Path(config.output) / "perovskites" / "longer"
    potential.require_elements({symbol for material in materials for symbol in material.compound.elements})
    searches = {m: [*planned(m, config, output), *published(m, config, output)] for m in materials}
    for search in (search for some in searches.values() for search in some):
        search.check(potential)
    for material in materials:
        random = [search.settings.seed for search in planned(material, config, output)]  # published cells have none
        found = [search.run(potential) for search in searches[material]]
        made = references(material, found, potential, random, partial(exact_energies, config=config))
        kept = {**(read_references(str(path)) if path.is_file() else {}), material.text: made}
        write_extxyz([one for some in kept.values() for one in some], path)
        print(f"{material.text}: {made[0].info['best_of_searches']} eV per formula unit, the best of each search")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, SettingsError) as error:
        sys.exit(f"references.py: {error}")
