"""`gendesign benchmark conditional`: success rates of conditional generation, and the cost of a molecule.

An attempt succeeds if the relaxed molecule is strictly valid and meets its condition. The attempts of every case are
stored in the output folder, and the same command resumes.
"""

import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from omegaconf import DictConfig, OmegaConf
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from tqdm import tqdm

from gendesign.benchmark import cost, record
from gendesign.benchmark.record import Row
from gendesign.generate.simgen import SimGen
from gendesign.generate.simgen.shape import Circle
from gendesign.generate.simgen.shape_files import MoleculeShape
from gendesign.generate.simgen.shape_prior import ShapePrior
from gendesign.potential.protocol import PotentialLike
from gendesign.relaxation import relax
from gendesign.run.build import load, make
from gendesign.structure.bonds import perceive
from gendesign.structure.files import write_atomically, write_extxyz
from gendesign.structure.formula import parse_formula
from gendesign.structure.types import Candidate
from gendesign.structure.volumes import tanimoto

CASES = Path(__file__).parent / "cases"
FORMULAS = ("C7H8N2O2", "C6H12O", "C4H9NO2", "C10H14", "C8H10O2", "C5H6N2", "C9H10O2", "C3H7NO2", "C7H12N2", "C6H5NO2")
MACROCYCLE = 12  # atoms; IUPAC calls a ring of this size or more a macrocycle
SETS = ("aromatic", "saturated")


@dataclass(frozen=True)
class Case:
    """One condition.

    settings: settings of the generator. wrong: why a valid molecule does not meet the condition, None if it does.
    measure: a number measured on the molecule.
    """

    name: str
    settings: Mapping[str, Any]
    wrong: Callable[[Atoms, Chem.Mol, SimGen], str | None]
    measure: Callable[[Atoms], float] | None = None


@dataclass(frozen=True)
class Try:
    """The result of an attempt.

    reason: why it failed, None for success. smiles: of a valid molecule. value: the number measured on it, if any.
    """

    reason: str | None
    smiles: str | None
    value: float | None = None


def run(config: DictConfig) -> None:
    """Make all attempts, print the table, and write conditional.json and cost.png to `config.record`."""
    settings, folder = config.conditional, record.check_record(config.record)
    potential = load(config)
    cases = {
        "linker": linkers(settings.pairs),
        "scaffold": scaffolds(settings.scaffolds),
        "formula": formulas(settings.formulas),
        "macrocycle": macrocycles(min(1, settings.macrocycles)),
        "shape": shapes(settings.shapes, Path(config.output) / "conditional"),
    }
    counts = dict.fromkeys(cases, settings.tries) | {"macrocycle": settings.macrocycles}
    tried: dict[str, list[list[Try]]] = {}
    total = sum(counts[kind] * len(group) for kind, group in cases.items())
    with tqdm(total=total, desc="tries", unit="try") as bar:
        for kind, group in cases.items():
            tried[kind] = []
            for case in group:
                tried[kind].append(tries(case, counts[kind], config, potential))
                bar.update(counts[kind])
    rows = [row for kind, group in tried.items() if group for row in rows_of(kind, group)]
    rows += likeness(settings.likeness, config, potential)
    if settings.cost:
        rows += cost.measured(config, potential, folder / "cost.png")
    record.write(rows, folder / "conditional.json", potential.device)
    print(record.table(rows))
    print(f"rows: {folder / 'conditional.json'}")


def tries(case: Case, count: int, config: DictConfig, potential: PotentialLike) -> list[Try]:
    """`count` attempts at a case; read from its file in the output folder if they were made before."""
    path = Path(config.output) / "conditional" / f"{case.name}.json"
    identity = {"weights": potential.weights_hash, "count": count, "seed": config.seed, "dtype": config.dtype,
                "relaxation": OmegaConf.to_container(config.relaxation, resolve=True),
                "settings": OmegaConf.to_container(config.generator, resolve=True),
                "case": _digest(case.settings)}  # fmt: skip
    if path.is_file() and (kept := json.loads(path.read_text()))["identity"] == identity:
        return [Try(**fields) for fields in kept["tries"]]
    generator = simgen(config, potential, **case.settings)
    relaxation = make(config.relaxation)
    done = relax(list(generator.generate(range(count), seed=config.seed)), potential, relaxation)
    attempts = [evaluated(candidate, case, generator) for candidate in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        path, json.dumps({"identity": identity, "tries": [vars(attempt) for attempt in attempts]}, indent=1) + "\n"
    )
    write_extxyz(done, path.with_suffix(".extxyz"))
    return attempts


def _digest(settings: Mapping[str, Any]) -> str:
    """A hash of the settings of a case and of the files that they name."""
    text = []
    for key, value in sorted(settings.items()):
        if key == "fragments":
            value = [[a.numbers.tolist(), np.round(a.positions, 6).tolist()] for a in value]
        elif isinstance(value, str) and Path(value).is_file():
            value = Path(value).read_text()
        elif isinstance(value, ShapePrior):
            value = np.round(value.shape.points(settings["n_heavy_atoms"]), 6).tolist()
        text.append(f"{key}={value}")
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def simgen(config: DictConfig, potential: PotentialLike, **settings: Any) -> SimGen:
    """The generator of the configuration with the settings of a case."""
    base = OmegaConf.merge(config.generator, {"n_heavy_atoms": "auto"})
    return make(base, potential=potential, **settings)


def evaluated(candidate: Candidate, case: Case, generator: SimGen) -> Try:
    """The result of one relaxed candidate for its case."""
    if candidate.failure is not None:
        return Try(candidate.failure, None)
    atoms = plain(candidate.atoms)
    perceived = perceive(atoms)
    if perceived.mol is None:
        return Try(f"not valid: {perceived.reason}", None)
    smiles = Chem.MolToSmiles(Chem.RemoveHs(perceived.mol))
    value = None if case.measure is None else case.measure(atoms)
    return Try(case.wrong(atoms, perceived.mol, generator), smiles, value)


def plain(atoms: Atoms) -> Atoms:
    """A copy with numbers and positions only."""
    return Atoms(atoms.numbers, atoms.positions)


def fragments_broken(atoms: Atoms, mol: Chem.Mol, generator: SimGen) -> str | None:
    """Why the fragments are not unchanged, joined and within their RMSD after relaxation; None if they are."""
    return generator.problem.requirements.broken_by(atoms, mol) or None


@cache
def _frames(name: str) -> list[list[Atoms]]:
    """Structures of a bundled file, grouped by case."""
    groups: dict[int, list[Atoms]] = {}
    for frame in ase.io.read(CASES / f"{name}.extxyz", index=":"):
        groups.setdefault(int(frame.info["case"]), []).append(frame)
    return [groups[k] for k in sorted(groups)]


def _joined(kind: str, count: int) -> Iterator[Case]:
    for number, frames in enumerate(_frames(f"{kind}s")[:count]):
        attachments = np.atleast_1d(frames[0].info["attachments"]).tolist()
        settings = {
            "fragments": [plain(frame) for frame in frames],
            "attachments": [int(k) for text in attachments for k in str(text).split()],
            "n_heavy_atoms": int(frames[0].info["atoms"]),
        }
        yield Case(f"{kind}-{number}", settings, fragments_broken)


def linkers(count: int) -> list[Case]:
    """Pairs of fragments cut from molecules outside all training sets; the linker has as many atoms as were cut out."""
    return list(_joined("linker", count))


def scaffolds(count: int) -> list[Case]:
    """Molecules from which a branch was cut; the new branch has as many atoms."""
    return list(_joined("scaffold", count))


def formulas(count: int) -> list[Case]:
    """Exact formulas."""

    def wrong(atoms: Atoms, mol: Chem.Mol, generator: SimGen) -> str | None:
        symbols = atoms.get_chemical_symbols()
        counts = {e: symbols.count(e) for e in set(symbols)}
        return None if counts == parse_formula(generator.formula) else f"{atoms.get_chemical_formula()} is another"

    return [Case(f"formula-{f}", {"formula": f}, wrong) for f in FORMULAS[:count]]


def macrocycles(count: int) -> list[Case]:
    """Rings of 24 heavy atoms along a circle."""

    def wrong(atoms: Atoms, mol: Chem.Mol, generator: SimGen) -> str | None:
        largest = max((len(ring) for ring in Chem.GetSymmSSSR(mol)), default=0)
        return None if largest >= MACROCYCLE else f"largest ring of {largest} atoms"

    return [Case("macrocycle", {"n_heavy_atoms": 24, "prior": ShapePrior(Circle())}, wrong)] * count


def shapes(count: int, folder: Path) -> list[Case]:
    """The shapes of the molecules from which scaffolds and linkers were cut. The same graph is not a success."""
    cases = []
    for number, target in enumerate(ase.io.read(CASES / "shapes.extxyz", index=":")[:count]):
        heavy = plain(target[target.numbers > 1])
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"target-{number}.xyz"
        write_extxyz([Candidate(heavy, number)], path)
        key = Chem.CanonSmiles(str(target.info["molecule"]))

        def wrong(atoms: Atoms, mol: Chem.Mol, generator: SimGen, key: str = key) -> str | None:
            same = Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False) == key
            return "the same graph as the target" if same else None

        def measure(atoms: Atoms, heavy: Atoms = heavy) -> float:
            return tanimoto(atoms[atoms.numbers > 1], heavy)

        settings = {"n_heavy_atoms": len(heavy), "prior": ShapePrior(MoleculeShape(str(path)))}
        cases.append(Case(f"shape-{number}", settings, wrong, measure))
    return cases


def rows_of(kind: str, cases: Sequence[Sequence[Try]]) -> list[Row]:
    """The rows of one condition, with its targets."""
    flat = [attempt for case in cases for attempt in case]
    share = float(np.mean([attempt.reason is None for attempt in flat]))
    hit = float(np.mean([any(attempt.reason is None for attempt in case) for case in cases]))
    valid = float(np.mean([attempt.smiles is not None for attempt in flat]))
    n = len(flat)
    if kind in ("linker", "scaffold"):
        what, target = ("pairs joined", ">= 0.80") if kind == "linker" else ("scaffolds grown", ">= 0.90")
        return [
            Row(f"{what} in {len(cases[0])} tries", hit, record.SHARE, len(cases), target),
            Row(f"{kind}: intact and valid, per try", share, record.SHARE, n),
            Row(f"{kind}: valid after relaxation, moved or not, per try", valid, record.SHARE, n),
        ]
    if kind == "shape":
        over_all = [attempt.value if attempt.reason is None else 0.0 for attempt in flat]
        over_valid = [attempt.value for attempt in flat if attempt.reason is None]
        return [
            Row("shape Tanimoto, median over attempts", statistics.median(over_all), "", n, ">= 0.60"),
            Row("shape Tanimoto, median over valid ones", statistics.median(over_valid) if over_valid else None, "",
                len(over_valid), ">= 0.70"),
        ]  # fmt: skip
    names = {"formula": "formula exact and valid, per try", "macrocycle": "macrocycle closed and valid, per try"}
    return [Row(names[kind], share, record.SHARE, n, ">= 0.40")]


def likeness(count: int, config: DictConfig, potential: PotentialLike) -> list[Row]:
    """Nearest-neighbour similarities between two reference sets and the molecules generated from each of them."""
    if not count:
        return []
    known = {name: _fingerprints((CASES / f"{name}.smi").read_text().split()) for name in SETS}
    rows, similar = [], {}
    for name in SETS:
        case = Case(f"likeness-{name}", {"reference": str(CASES / f"{name}.smi")}, lambda *_: None)
        attempts = tries(case, count, config, potential)
        made = _fingerprints([attempt.smiles for attempt in attempts if attempt.smiles])
        for other in SETS:
            values = [max(DataStructs.BulkTanimotoSimilarity(f, known[other])) for f in made]
            similar[name, other] = values
            title = f"likeness: made from {name}, similarity to {other}"
            rows.append(Row(title, float(np.mean(values)) if values else None, "Tanimoto", len(values)))
    margins = []
    for name, other in (SETS, SETS[::-1]):
        margin = np.array(similar[name, name]) - np.array(similar[name, other])
        if len(margin) > 1:
            margins.append(float(margin.mean() / margin.std(ddof=1)))
    rows.append(Row("likeness: lead of the diagonal over its spread, smaller of two", min(margins, default=None),
                    "standard deviations", count, ">= 1"))  # fmt: skip
    return rows


def _fingerprints(texts: Sequence[str]) -> list:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    return [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in texts]
