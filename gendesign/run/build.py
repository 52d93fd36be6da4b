"""From resolved settings to the objects of a run. Everything heavy is imported here, after the arguments were checked."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from gendesign.potential import Potential, load_potential
from gendesign.relaxation import relax
from gendesign.run.stages import Stages
from gendesign.structure.files import read_structures
from gendesign.structure.types import Candidate, UserError


@dataclass(frozen=True)
class Structures:
    """A generator of what was read from files: candidate i is structure i."""

    candidates: Sequence[Candidate]
    name: str = "file"

    def generate(self, indices: Sequence[int], *, seed: int) -> Iterator[Candidate]:
        """The structures with these numbers; `seed` is only recorded."""
        for index in indices:
            yield replace(self.candidates[index], index=index, seed=seed)


def load(config: DictConfig) -> Potential:
    """The potential of the top-level keys."""
    return load_potential(
        config.potential,
        device=None if config.device == "auto" else config.device,
        dtype=config.dtype,
        trust_pickle=config.trust_pickle,
        head=config.head,
    )


def build_stages(config: DictConfig, files: Sequence[str], potential: Potential) -> tuple[Stages, int]:
    """The stages that `config` names, and how many candidates there are to be."""
    if files:
        generator = Structures(read_structures([Path(name) for name in files]))
        n = len(generator.candidates)
        potential.require_elements({symbol for c in generator.candidates for symbol in c.atoms.get_chemical_symbols()})
    else:
        generator, n = make(config.generator, potential=potential), config.n
    stages = Stages(generator, about=about(potential))
    if config.get("relaxation") is not None:
        stages = replace(stages, relax=partial(_relax, potential=potential, settings=make(config.relaxation)))
    if config.get("screening") is not None:
        stages = _with_screening(stages, config, potential)
    return stages, n


def make(section: DictConfig, **arguments: Any) -> Any:
    """The object a section's `_target_` names; settings that its class refuses become a UserError of one line."""
    try:
        return instantiate(section, **arguments, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        while cause.__cause__ is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        raise


def about(potential: Potential) -> dict[str, Any]:
    """What summary.json says of the model."""
    return {
        "model": {
            "name": potential.name,
            "weights_sha256": potential.weights_hash,
            "licence": potential.licence,
            "citation": potential.citation,
            "elements": list(potential.elements),
        }
    }


def digest(path: Path) -> str:
    """sha256 of a file, by which a resumed run knows its input again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
