"""From the scene to the command that is run: inputs as files, then the words of `gendesign`."""

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from gendesign.errors import UserError
from gendesign.run.settings import resolve
from gendesign.structure.files import write_atomically, write_extxyz
from gendesign.structure.types import Candidate
from gendesign.view.drawing import cloud, suggested_atoms
from gendesign.view.scene import SHAPES
from gendesign.view.settings import page_words
from gendesign.view.structures import Store, component, to_atoms, without_water

SIZE = "generator.n_heavy_atoms"
FILES = {
    ".stl": "mesh",
    ".obj": "mesh",
    ".ply": "mesh",
    ".txt": "cloud",
    ".csv": "cloud",
    ".dat": "cloud",
    ".npy": "cloud",
}  # fmt: skip  which prior a dropped file becomes; all others are molecules


@dataclass(frozen=True)
class Inputs:
    """Where the files that a run reads are written, and how paths are shown: relative to where the tool was started."""

    folder: Path
    store: Store

    def structures(self, name: str, structures: Sequence[Atoms]) -> str:
        """A file of these structures, named by its content; its path."""
        text = StringIO()
        path = self.folder / "part.extxyz"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_extxyz([Candidate(atoms, index, "drawn") for index, atoms in enumerate(structures)], path)
        text.write(path.read_text())
        path.unlink()
        return self._file(name, text.getvalue(), "extxyz")

    def points(self, name: str, points: np.ndarray) -> str:
        """A file of points (points, 3) in Angstrom; its path."""
        return self._file(name, "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in points), "txt")

    def _file(self, name: str, text: str, suffix: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        path = self.folder / f"{name}-{digest}.{suffix}"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        return shown_path(path)


def shown_path(path: Path) -> str:
    """A path as it is typed in the folder where the tool was started."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path.resolve())


def of_role(scene: Mapping[str, Any], role: str) -> list[dict[str, Any]]:
    """The structures of a scene with a role."""
    return [row for row in scene["structures"] if row["role"] == role]


def chosen(scene: Mapping[str, Any], verb: str) -> dict[str, str]:
    """The texts that the page has set for a verb."""
    return dict(scene["settings"].get(verb, {}))


def generate_words(scene: Mapping[str, Any], given: Sequence[str], inputs: Inputs) -> list[str]:
    """The words of `gendesign generate` without its output; raises UserError for an impossible scene."""
    settings = chosen(scene, "generate")
    words = ["generate", *given, *page_words("generate", settings)]
    if "fragments" not in resolve("generate", words[1:]).generator:  # a search or a quench takes nothing of a drawing
        return words
    prior = prior_words(scene, inputs)
    words += prior
    if scene["prior"]["kind"] == "drawn" and not any(word.startswith(f"{SIZE}=") for word in words):
        words.append(f"{SIZE}={suggested_atoms(scene['strokes'])}")
    if fragments := of_role(scene, "fragment"):
        words += fragment_words(fragments, inputs)
    if hosts := of_role(scene, "host"):
        atoms = sum((without_water(inputs.store.get(row["file"]), row["pose"]) for row in hosts), Atoms())
        words.append(f"generator.host={inputs.structures('host', [atoms])}")
    if references := of_role(scene, "reference"):
        atoms_of = [to_atoms(inputs.store.get(row["file"])) for row in references]
        words.append(f"generator.reference=[{inputs.structures('references', atoms_of)}]")
    return words


def prior_words(scene: Mapping[str, Any], inputs: Inputs) -> list[str]:
    """The words that choose the prior."""
    prior = scene["prior"]
    kind = prior["kind"]
    if kind == "none":
        return []
    if kind in SHAPES:
        return [f"generator/prior={kind}"]
    if kind == "drawn":
        points = cloud(scene["strokes"])
        if not len(points):
            raise UserError("nothing is drawn: draw a curve or brush, or choose another shape")
        return ["generator/prior=cloud", f"generator.prior.shape.path={inputs.points('drawn', points)}"]
    if kind == "pocket":
        return pocket_words(scene, inputs)
    path = inputs.folder.parent / "uploads" / Path(str(prior.get("file"))).name
    if not path.is_file():
        raise UserError("the file of the shape is missing: drop it on the page again")
    option = FILES.get(path.suffix.lower(), "molecule")
    return [f"generator/prior={option}", f"generator.prior.shape.path={shown_path(path)}"]


def pocket_words(scene: Mapping[str, Any], inputs: Inputs) -> list[str]:
    """The words of a pocket: the room around the molecule that holds atom `atom` of the structure `file`."""
    prior = scene["prior"]
    row = next((row for row in scene["structures"] if row["file"] == prior.get("file")), None)
    if row is None:
        raise UserError("the host of the pocket is no longer in the scene: choose a ligand again")
    content = inputs.store.get(row["file"])
    atom = int(prior.get("atom") or 0)
    if atom >= len(content["numbers"]):
        raise UserError("the ligand of the pocket is no longer in the scene: choose it again")
    ligand = to_atoms(content, row["pose"])[component(content, atom)]
    if len(ligand) > 300:
        raise UserError(f"the molecule of this atom has {len(ligand)} atoms; choose an atom of a ligand")
    host = inputs.structures("host", [without_water(content, row["pose"])])
    return [
        "generator/prior=pocket",
        f"generator.prior.shape.path={host}",
        f"generator.prior.shape.ligand={inputs.structures('ligand', [ligand])}",
    ]


def fragment_words(fragments: Sequence[Mapping[str, Any]], inputs: Inputs) -> list[str]:
    """The words of fragments with their attachments, counted over the file."""
    structures, attachments, first = [], [], 0
    for row in fragments:
        atoms = to_atoms(inputs.store.get(row["file"]), row["pose"])
        if any(atom >= len(atoms) for atom in row["attachments"]):
            raise UserError(f"an attachment of {row['name']} is no atom of it: choose it again")
        structures.append(atoms)
        attachments += [first + atom for atom in row["attachments"]]
        first += len(atoms)
    if not attachments:
        raise UserError("the fragments have no attachment: select an atom of each, then press Attach")
    listed = ",".join(map(str, attachments))
    path = inputs.structures("fragments", structures)
    return [f"generator.fragments={path}", f"generator.attachments=[{listed}]"]


def structure_words(
    verb: str, scene: Mapping[str, Any], structures: Sequence[tuple[Atoms, Sequence[int]]], given: Sequence[str],
    inputs: Inputs,
) -> list[str]:  # fmt: skip
    """The words of a verb that reads structures; each comes with the atoms that stay where they are."""
    if not structures:
        raise UserError(f"nothing is chosen to {verb}: select a structure of the scene or a result")
    held = []
    for atoms, fixed in structures:
        atoms = atoms.copy()
        if fixed:
            atoms.set_constraint(FixAtoms(indices=sorted(fixed)))
        held.append(atoms)
    settings = page_words(verb, chosen(scene, verb))
    common = [word for word in given if word.partition("=")[0] in ("potential", "device", "dtype", "workers")]
    keys = {word.partition("=")[0] for word in settings}
    if verb == "relax" and "relaxation" not in keys and all(atoms.pbc.all() for atoms in held):
        settings.append("relaxation=crystals")
    return [verb, inputs.structures(verb, held), *(w for w in common if w.partition("=")[0] not in keys), *settings]


def as_command(words: Sequence[str]) -> str:
    """The command as it is typed."""
    return shlex.join(["gendesign", *words])


def as_python(words: Sequence[str]) -> str:
    """The same run as a Python program, which then reads its candidates."""
    output = next(word.partition("=")[2] for word in words if word.startswith("output="))
    listed = "".join(f"    {word!r},\n" for word in words)
    return (
        "from ase.io import read\n\nfrom gendesign.cli import main\n\n"
        f'main([\n{listed}])\ncandidates = read({os.path.join(output, "candidates.extxyz")!r}, ":")\n'
    )
