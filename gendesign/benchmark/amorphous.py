"""`gendesign benchmark amorphous`: quality, trends and costs of amorphous models, compared with their targets.

Runs, finished parts and their curves are kept in the output folder by the potential's hash, so that a killed benchmark
continues, and that parts can be measured one after the other.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gendesign.benchmark import glass_parts, glass_pictures, glass_speed, record
from gendesign.benchmark.glass_parts import Part
from gendesign.benchmark.glass_runs import Bench
from gendesign.benchmark.settings import GLASS_PARTS
from gendesign.errors import UserError
from gendesign.potential.domain import CRYSTALS
from gendesign.run.build import load
from gendesign.structure.files import write_atomically
from gendesign.structure.types import Row

PARTS: dict[str, Callable[[Bench], Part]] = {
    "silicon": glass_parts.silicon, "silica": glass_parts.silica, "trend": glass_parts.trend,
    "published": glass_parts.published, "similarity": glass_speed.similarity, "batching": glass_speed.batching,
    "large": glass_parts.large, "scale": glass_parts.scale,
}  # fmt: skip
NEEDS_NO_POTENTIAL = ("published", "large", "scale")
# the settings that change a part; others do not make it another one
USED = {
    "silicon": ("silicon_",), "silica": ("silica_",), "trend": ("trend_",), "published": ("glasses",),
    "similarity": ("similarity_",), "batching": ("batch_", "silicon_atoms"), "large": ("large",),
    "scale": ("scale_",),
}  # fmt: skip


def run(config: DictConfig) -> None:
    """Measure the chosen parts, print the table of all finished ones, and write amorphous.json and the pictures.

    Raises UserError for a potential that knows no crystals, and for a run that ended with an error.
    """
    record_folder, potential = record.check_record(config.record), load(config)
    domain = potential.domain
    if domain is not None and CRYSTALS not in domain.kinds:
        raise UserError(f"potential={config.potential} knows no crystals; give potential=silicon-oxygen or diep")
    potential.require_elements(("Si", "O"))
    folder = Path(config.output) / "amorphous" / f"{Path(potential.name).name}-{potential.weights_hash[:8]}"
    bench = Bench(config, folder, potential)
    chosen = tuple(config.amorphous.parts) or tuple(
        name for name in GLASS_PARTS if name != "published" or config.amorphous.glasses
    )
    done: dict[str, Part] = {}
    for name in GLASS_PARTS:
        part = measured(bench, name, compute=name in chosen)
        if part is not None:
            done[name] = part
            glass_pictures.draw(part, record_folder / f"amorphous-{name}.png")
            rows = [row for finished in done.values() for row in finished.rows]
            record.write(rows, record_folder / "amorphous.json", potential.device)
    rows = [row for finished in done.values() for row in finished.rows]
    print(record.table(rows))
    print(f"rows: {record_folder / 'amorphous.json'}; pictures: {record_folder}/amorphous-*.png; runs: {folder}")


def measured(bench: Bench, name: str, compute: bool) -> Part | None:
    """A part from its file if it has these settings; else computed, or None where that is not asked for."""
    path = bench.folder / "parts" / f"{name}.json"
    identity = _identity(bench, name)
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["identity"] == identity:
            return Part([Row(**row) for row in kept["rows"]], kept["curves"], kept["points"])
        if compute:
            raise UserError(f"{path} was measured with other settings; give another output, or the same settings again")
    if not compute:
        return None
    part = PARTS[name](bench)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"identity": identity, "rows": [asdict(row) for row in part.rows], "curves": part.curves,
               "points": part.points}  # fmt: skip
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return part


def _identity(bench: Bench, name: str) -> dict[str, Any]:
    """The settings and weights that a part depends on."""
    section = OmegaConf.to_container(bench.config.amorphous, resolve=True)
    assert isinstance(section, dict)
    own = {key: value for key, value in section.items() if str(key).startswith(USED[name])}
    weights = "" if name in NEEDS_NO_POTENTIAL else bench.potential.weights_hash
    identity = {"settings": own, "seed": bench.config.seed, "dtype": bench.config.dtype, "weights": weights}
    read_back: dict[str, Any] = json.loads(json.dumps(identity))
    return read_back
