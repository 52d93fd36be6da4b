"""Imports are quick and silent, change no result, and fall back to plain ones where that is needed."""

import subprocess
import sys
import textwrap

from gendesign.imports import Deferred, deferred, import_library

import pytest

HEAVY = ("torch._dynamo", "torch._inductor", "torchmetrics", "pandas", "scipy.signal")
ENERGY = """
from ase.build import molecule, bulk
from gendesign import Relaxation, SimGen, load_potential, relax
atoms = molecule("CH3CH2OH")
atoms.rattle(0.05, seed=1)
crystal = bulk("C", "diamond", 3.5, cubic=True)
crystal.rattle(0.05, seed=1)
limits = Relaxation(max_steps=4, cell=True)
done = relax([atoms, crystal], load_potential("organic", device="cpu"), limits)
result = [(c.info["energy"], c.atoms.positions.tobytes().hex(), c.atoms.cell.array.tobytes().hex()) for c in done]
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)


def test_imports_are_silent_light_and_change_no_result():
    quick = run(f"{ENERGY}\nimport sys; print([m for m in {HEAVY} if m in sys.modules]); print(result)")
    loaded, result = quick.stdout.splitlines()
    assert loaded == "[]" and quick.stderr == ""
    plain = run(f"import torch_sim, mace.tools, mace.modules\n{ENERGY}\nprint(result)")
    assert plain.stdout.splitlines()[-1] == result
    assert "deprecated" in plain.stderr  # what is silenced otherwise; once it is gone, so may NOTES


def test_what_was_deferred_is_there_when_used():
    done = run(
        """
        import gendesign.imports.mace
        import mace.tools, mace.tools.compile
        from mace.tools.train import MACELoss
        import torchmetrics
        print(issubclass(MACELoss, torchmetrics.Metric), mace.tools.train.__name__)
        print(mace.tools.SWAContainer(None, None, 3, None).start)
        print(hasattr(mace.tools.compile.dynamo.config, "verbose"))
        """
    )
    assert done.stdout.split() == ["True", "train", "3", "True"]


def test_the_package_itself_imports_nothing_heavy():
    done = run("import sys, gendesign; print([m for m in ('torch', 'numpy', 'ase') if m in sys.modules])")
    assert done.stdout.strip() == "[]"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Write modules by name and content; they can be imported within the test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> None:
        for name, content in modules.items():
            path = tmp_path.joinpath(*name.split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(content)

    yield write
    for name in [name for name in sys.modules if name.split(".")[0].startswith("shelf")]:
        del sys.modules[name]


def test_functions_and_classes_are_deferred(library):
    library(
        shelf_heavy="class Base:\n    size = 2\ndef twice(x):\n    return 2 * x\n",
        shelf_user="import shelf_heavy\nfrom shelf_heavy import Base, twice\ndef use():\n    return twice(Base.size)\n",
    )
    import_library("shelf_user", ["shelf_user"], defer=["shelf_heavy"])
    assert "shelf_heavy" not in sys.modules
    user = sys.modules["shelf_user"]
    assert user.use() == 4 and "shelf_heavy" in sys.modules
    assert isinstance(user.shelf_heavy, Deferred) and user.shelf_heavy.twice(3) == 6
    assert isinstance(sys.modules["shelf_heavy"].Base(), user.Base)


def test_a_library_that_needs_what_was_deferred_is_imported_plainly(library):
    library(shelf_heavy="number = 3\n", shelf_needy="from shelf_heavy import number\nanswer = number + 1\n")
    import_library("shelf_needy", ["shelf_needy"], defer=["shelf_heavy"])
    assert sys.modules["shelf_needy"].answer == 4
    library(shelf_absent="number = 3\n", shelf_hard="import shelf_absent\n")
    import_library("shelf_hard", ["shelf_hard"], absent=["shelf_absent"])
    assert sys.modules["shelf_hard"].shelf_absent.number == 3


def test_nothing_is_left_behind_after_an_error():
    with pytest.raises(RuntimeError), deferred(["shelf_a"], absent=["shelf_b"]):
        assert isinstance(sys.modules["shelf_a"], Deferred)
        raise RuntimeError
    assert not {"shelf_a", "shelf_b"} & sys.modules.keys()


def test_a_missing_library_is_missed_by_name():
    with pytest.raises(ModuleNotFoundError, match="shelf_nowhere"):
        import_library("shelf_nowhere", ["shelf_nowhere"])
