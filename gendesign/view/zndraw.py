"""The actions in a running ZnDraw 0.6: Generate, Hydrogenate, Relax, Link.

ZnDraw draws and selects; each action runs `gendesign` as the page of this package does and appends the structures that
it makes. Start a server by `zndraw --no-celery --host 127.0.0.1`, then `gendesign view --zndraw http://127.0.0.1:PORT`.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from ase import Atoms

from gendesign.errors import UserError
from gendesign.view.results import Results
from gendesign.view.scene import EMPTY, new_structure
from gendesign.view.structures import Store, to_json
from gendesign.view.tools import hydrogenate
from gendesign.view.words import Inputs, generate_words, structure_words

LIMIT = 600.0  # seconds for one action
INSTALL = "pip install 'zndraw==0.6.0' 'asebytes<0.2'"


class Actions:
    """What the buttons do, from the atoms, the selection and the curve of ZnDraw to new structures."""

    def __init__(self, folder: Path, given: Sequence[str]) -> None:
        self.folder, self.given = folder, list(given)
        self.inputs = Inputs(folder / "inputs", Store(folder / "structures"))
        self.count = 0

    def generate(self, atoms: Atoms, selection: Sequence[int], curve: Sequence[Sequence[float]], n: int) -> list[Atoms]:
        """Molecules along the curve if there is one, off the atoms that are there."""
        scene: dict[str, Any] = json.loads(json.dumps(EMPTY))
        if len(curve) > 1:
            scene["strokes"] = [{"type": "curve", "closed": False, "points": [list(map(float, p)) for p in curve]}]
            scene["prior"] = {"kind": "drawn"}
        if len(atoms):
            scene["structures"] = [self._entry(atoms, "host")]
        return self._run([*generate_words(scene, self.given, self.inputs), f"n={n}"])

    def link(self, atoms: Atoms, selection: Sequence[int], curve: Sequence[Sequence[float]], n: int) -> list[Atoms]:
        """Molecules that join the fragments of the selected atoms."""
        if len(selection) < 2:
            raise UserError("select an atom of each fragment, then press Link")
        entry = {**self._entry(atoms, "fragment"), "attachments": sorted(map(int, selection))}
        scene = {**EMPTY, "structures": [entry]}
        return self._run([*generate_words(scene, self.given, self.inputs), f"n={n}"])

    def hydrogenate(self, atoms: Atoms, selection: Sequence[int], curve: Any = (), n: int = 1) -> list[Atoms]:
        """The molecule with the hydrogens that it, or the selected atoms, lack."""
        content = hydrogenate(to_json(atoms), list(map(int, selection)))
        return [Atoms(content["numbers"], content["positions"])]

    def relax(self, atoms: Atoms, selection: Sequence[int], curve: Any = (), n: int = 1) -> list[Atoms]:
        """The structure relaxed, all of it or the selected atoms."""
        held = [k for k in range(len(atoms)) if k not in set(selection)] if len(selection) else []
        return self._run(structure_words("relax", EMPTY, [(atoms, held)], self.given, self.inputs))

    def _entry(self, atoms: Atoms, role: str) -> dict[str, Any]:
        return new_structure(self.inputs.store.add(to_json(atoms)), "ZnDraw", role)

    def _run(self, words: Sequence[str]) -> list[Atoms]:
        """Run a command; raises UserError with its own line."""
        self.count += 1
        output = self.folder / f"{self.count:04d}-{words[0]}"
        command = [sys.executable, "-m", "gendesign.cli", *words, f"output={output}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise UserError(f"{words[0]} took more than {LIMIT:g} s and was ended") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("gendesign: ")]
            raise UserError(lines[-1].removeprefix("gendesign: ") if lines else f"{words[0]} failed")
        return [c.atoms for c in Results(output).read()[0] if c.failure is None and len(c.atoms)]


def perform(action: Callable[..., list[Atoms]], scene: Any, n: int) -> None:
    """Do an action with what a ZnDraw `scene` holds, and append the structures; errors are logged there."""
    frames = list(scene)
    atoms = frames[int(scene.step or 0)].copy() if frames else Atoms()
    curve = np.asarray(getattr(scene, "points", ()), float).reshape(-1, 3)
    try:
        made = action(atoms, list(scene.selection or ()), curve.tolist(), n)
    except UserError as error:
        scene.log(" ".join(str(error).split()))
        return
    before = len(frames)
    scene.bookmarks = {**(scene.bookmarks or {}), max(0, before - 1): f"before {action.__name__}"}
    scene.extend(made)
    if made:
        scene.step = before
    scene.log(f"{action.__name__}: {len(made)} structure{'s' * (len(made) != 1)}")


def serve_zndraw(address: str, given: Sequence[str]) -> None:
    """Register the actions at a running ZnDraw and serve them until Ctrl-C; raises UserError."""
    try:
        zndraw = importlib.import_module("zndraw")
        extension = importlib.import_module("zndraw.base").Extension
    except ImportError as error:
        raise UserError(f"--zndraw needs ZnDraw 0.6 ({error}): {INSTALL}") from None
    actions = Actions(Path(mkdtemp(prefix="gendesign-zndraw-")), given)
    try:
        connected = zndraw.ZnDraw(url=address, token="gendesign", verify=False)
    except Exception as error:  # its client raises errors of several libraries
        raise UserError(f"--zndraw {address}: no ZnDraw answers ({error}); start it first") from None
    for name in ("generate", "hydrogenate", "relax", "link"):
        connected.register(_button(extension, name, getattr(actions, name)), public=True)
    print(f"gendesign view: Generate, Hydrogenate, Relax and Link are offered in {address}", flush=True)
    connected.socket.wait()


def _button(extension: type, name: str, action: Callable[..., list[Atoms]]) -> type:
    """A class that ZnDraw shows as a form with a button."""

    def run(self: Any, vis: Any, **_: Any) -> None:
        perform(action, vis, int(self.n))

    content = {"__annotations__": {"n": int}, "n": 4, "run": run, "__doc__": action.__doc__, "__module__": __name__}
    return type(name.capitalize(), (extension,), content)
