"""Checks of a whole set: which molecules are unique, which are novel, how different they are."""

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from gendesign.errors import UserError
from gendesign.structure.identity import canonical_smiles
from gendesign.structure.types import Verdict

MAX_COMPARED = 2000  # molecules that each one is compared with for diversity, evenly spread over the set
INVALID = "not valid"


@dataclass(frozen=True)
class Reference:
    """What novelty is measured against, as canonical SMILES (structure.identity): build it with `of` or `read`.

    `skeletons`: the kernel's reference molecules; `molecules` and `with_stereo`: the potential's training molecules
    without and with stereochemistry.
    """

    skeletons: tuple[str, ...] = ()
    molecules: frozenset[str] = frozenset()
    with_stereo: frozenset[str] = frozenset()

    @classmethod
    def of(cls, skeletons: Iterable[str] = (), molecules: Iterable[str] = ()) -> "Reference":
        """From any SMILES. Raises UserError for one that RDKit cannot read."""
        molecules = list(molecules)
        return cls(
            tuple(canonical_smiles(text) for text in skeletons),
            frozenset(canonical_smiles(text) for text in molecules),
            frozenset(canonical_smiles(text, stereo=True) for text in molecules),
        )

    @classmethod
    def read(cls, training: Path, skeletons: Iterable[str] = ()) -> "Reference":
        """Training molecules from a file of SMILES, one a line, gzipped if it ends in .gz."""
        opener = gzip.open if str(training).endswith(".gz") else open
        try:
            with opener(training, "rt") as handle:
                lines = [line.split()[0] for line in handle if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            message = f"cannot read training molecules from {training} ({error}); give a file of SMILES"
            raise UserError(message) from error
        return cls.of(skeletons, lines)


def uniqueness(keys: Mapping[int, str | None]) -> list[Verdict]:
    """`unique`: the first candidate with its SMILES without stereo; `keys` maps candidates to SMILES or None."""
    first: dict[str, int] = {}
    for index, key in sorted(keys.items()):
        if key is not None:
            first.setdefault(key, index)
    return [
        Verdict(i, "unique", None, reason=INVALID)
        if key is None
        else Verdict(i, "unique", first[key] == i, reason="" if first[key] == i else f"same as candidate {first[key]}")
        for i, key in keys.items()
    ]


def novelty(
    keys: Mapping[int, str | None], stereo: Mapping[int, str | None], reference: Reference | None
) -> list[Verdict]:
    """`novel`: neither a reference nor a training molecule; `novel_stereo`: no training molecule with its stereo.

    Also `novel_references` and `novel_training` apart. None for invalid candidates and without a reference.
    """
    names = ("novel", "novel_references", "novel_training", "novel_stereo")
    if reference is None:
        return [Verdict(i, name, None, reason="no reference given") for i in keys for name in names]
    skeletons, verdicts = frozenset(reference.skeletons), []
    for i, key in keys.items():
        if key is None:
            verdicts += [Verdict(i, name, None, reason=INVALID) for name in names]
            continue
        new = key not in skeletons, key not in reference.molecules, stereo.get(i) not in reference.with_stereo
        verdicts.append(Verdict(i, "novel", new[0] and new[1]))
        verdicts += [Verdict(i, name, passed) for name, passed in zip(names[1:], new, strict=True)]
    return verdicts


def diversity(keys: Mapping[int, str | None]) -> list[Verdict]:
    """`diversity`: mean of 1 - Tanimoto similarity (Morgan, radius 2, 2048 bits) to the other valid molecules.

    Its mean over the set is the internal diversity. Sets above 2,000 are compared with 2,000 of their members.
    """
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    indices = sorted(i for i, key in keys.items() if key is not None)
    prints = {i: generator.GetFingerprint(Chem.MolFromSmiles(keys[i])) for i in indices}
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), MAX_COMPARED)).round().astype(int))
    others = [indices[k] for k in chosen] if indices else []
    members, bits = set(others), [prints[i] for i in others]
    verdicts = []
    for i in keys:
        if i not in prints:
            verdicts.append(Verdict(i, "diversity", None, reason=INVALID))
            continue
        total = sum(DataStructs.BulkTanimotoSimilarity(prints[i], bits)) - (i in members)
        count = len(others) - (i in members)
        value = 1 - total / count if count else None
        verdicts.append(Verdict(i, "diversity", None, value, reason="" if count else "the only valid molecule"))
    return verdicts
