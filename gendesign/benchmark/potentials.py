"""`gendesign benchmark potentials`: errors and physical tests of one potential, compared with their targets.

Errors are measured on the labelled files of `potentials.test`; without files they stay unmeasured. Results and card are
written to `output`, and the same command completes them.
"""

from glob import glob
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gendesign.benchmark.record import check_record, table, write
from gendesign.errors import UserError
from gendesign.potential.zoo import hash_of
from gendesign.run.build import load
from gendesign.run.folder import check_folder, open_folder
from gendesign.run.validation import run_validation
from gendesign.structure.types import Row
from gendesign.validation.dynamics import exploded
from gendesign.validation.geometries import GRAPH_KEPT, MEDIAN_RMSD
from gendesign.validation.torsions import BARRIER_MAE
from gendesign.validation.vibrations import FREQUENCY_MAE

TESTS = ("errors", "softening", "geometries", "vibrations", "torsions", "drift", "stability")
TEMPERATURE, TIME = 1000.0, 2.0  # K, ps
TARGETS = {
    "force MAE, combined": ("meV/Angstrom", "<= 60"),
    "energy MAE, combined": ("meV/atom", "<= 2"),
    "force MAE, fragment": ("meV/Angstrom", "<= 100"),
    GRAPH_KEPT: ("fraction", ">= 0.995"),
    MEDIAN_RMSD: ("Angstrom", "<= 0.04"),
    FREQUENCY_MAE: ("1/cm", "<= 30"),
    BARRIER_MAE: ("kcal/mol", "<= 0.5"),
    exploded(TEMPERATURE, TIME): ("molecules", "<= 0"),
}


def run(config: DictConfig) -> None:
    """Complete the tests in `config.output`, print the table, and write potentials.json to `config.record`.

    Raises UserError for unusable settings, files and folders.
    """
    files = test_files(config.potentials.test)
    record, output = check_record(config.record), Path(config.output) / "potentials"
    settings = {
        **OmegaConf.to_container(config.potentials, resolve=True),
        "tests": list(TESTS),
        "temperature": TEMPERATURE,
        "time": TIME,
        "seed": config.seed,
        "teacher": {"_target_": "gendesign.train.teachers.semiempirical.Tblite"},
    }
    identity = {
        "verb": "benchmark potentials",
        "settings": {**{key: v for key, v in settings.items() if key != "test"}, "dtype": config.dtype},
        "files": {file: hash_of(Path(file)) for file in files},
        "weights": None,
    }
    check_folder(output, identity)
    potential = load(config)
    identity["weights"] = potential.weights_hash
    with open_folder(output, identity, "parts/*.json"):
        aims = {name: target for name, (_, target) in TARGETS.items()}
        results = run_validation(potential, files, settings, output, aims)
    rows = in_order([row for group in results.values() for row in group])
    write(rows, record / "potentials.json", potential.device)
    print(table(rows))
    print(f"card: {output / 'card.html'}; rows: {record / 'potentials.json'}")


def in_order(rows: list[Row]) -> list[Row]:
    """The rows with the targets first, including those that were not measured."""
    by_name = {row.name: row for row in rows}
    aimed = [by_name.get(name) or Row(name, None, unit, 0, target) for name, (unit, target) in TARGETS.items()]
    return [*aimed, *(row for row in rows if row.name not in TARGETS)]


def test_files(
    patterns: list[str], key: str = "potentials.test", maker: str = "scripts/organic/structures.py test 0 8"
) -> list[str]:
    """The files that match the `patterns` of the setting `key`. Raises UserError for a pattern that matches no file."""
    files = []
    for pattern in patterns:
        matches = sorted(name for name in glob(pattern) if Path(name).is_file())
        if not matches:
            raise UserError(f"{key}={pattern} matches no file; give labelled files, such as those of {maker}")
        files += matches
    return files
