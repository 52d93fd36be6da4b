"""Models of other packages in processes of their own: with a double of such a package, and with those installed."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from gendesign import packages
from gendesign.cli import main
from gendesign.errors import UserError
from gendesign.potential import check_potential, load_mace, load_potential
from gendesign.potential.conformance import assert_conforms
from gendesign.potential.engines import install, registry
from gendesign.processes import Pool
from gendesign.relaxation import Relaxation, relax
from gendesign.structure.graph import Batch
from gendesign.structure.types import Candidate

HERE, REPOSITORY = Path(__file__).parent, Path(__file__).parents[2]
DEPTH, WIDTH = 0.01, 3.4
PACKAGE = packages.Package("double", ("double==1.0",), 1)
ARGON = Atoms("Ar3", [[0, 0, 0], [3.6, 0, 0], [0.4, 3.7, 0.2]])


def model(name: str = "double", **changes) -> registry.EngineModel:
    keywords = {"layers": 2, **changes}
    return registry.EngineModel(
        name, PACKAGE, "engine_double:Double", ("double/*.json",), ("Ar", "H", "C", "O", "He", "Ne", "Kr"), 6.0,
        "none", "MIT", "nobody", **keywords,
    )  # fmt: skip


def write_package(folder: Path, **content) -> Path:
    (folder / "double").mkdir(parents=True)
    (folder / "double-1.0.dist-info").mkdir()
    shutil.copy(HERE / "engine_double.py", folder)
    weights = folder / "double/weights.json"
    weights.write_text(json.dumps({"depth": DEPTH, "width": WIDTH, "deep": 2 * DEPTH, **content}))
    return weights


ADDED = {"double": model(), "double-heads": model("double-heads", heads=("depth", "deep"))}


@pytest.fixture(scope="module", autouse=True)
def models():
    """The double among the known models."""
    with pytest.MonkeyPatch.context() as patch:
        for name, entry in ADDED.items():
            patch.setitem(registry.MODELS, name, entry)
        yield


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """The double, installed anew; the file of its weights."""
    monkeypatch.setenv(packages.VARIABLE, str(tmp_path / "engines"))
    return write_package(tmp_path / "engines/double")


@pytest.fixture(scope="module")
def potential(models, tmp_path_factory):
    """The double, loaded once: a process takes seconds to start."""
    folder = tmp_path_factory.mktemp("engines")
    write_package(folder / "double")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(packages.VARIABLE, str(folder))
        loaded = load_potential("double", dtype="float64", device="cpu")
    yield loaded
    loaded.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def lives(pid: int) -> bool:
    """Whether a process that ends with another one is still alive after some seconds."""
    for _ in range(50):
        if not alive(pid):
            return False
        time.sleep(0.1)
    return True


def evaluated(potential) -> tuple[int, int, float]:
    return os.getpid(), potential.process.pid or 0, float(potential.energies([ARGON])[0]), potential.process.pid


def test_it_conforms(potential):
    assert_conforms(potential)


def test_energy_of_a_dimer_and_single_atoms(potential):
    distance = 2 ** (1 / 6) * WIDTH
    pair, far = Atoms("Ar2", [[0, 0, 0], [0, 0, distance]]), Atoms("Ar2", [[0, 0, 0], [0, 0, 30]])
    out = potential.evaluate([pair, far, Atoms("Ar")])
    assert out.energy.tolist() == pytest.approx([36 - DEPTH, 36, 18], abs=1e-12)
    assert out.forces.abs().max() < 1e-10


def test_a_batch_is_one_exchange(potential, monkeypatch):
    calls, call = [], potential.process.call
    monkeypatch.setattr(potential.process, "call", lambda fields, arrays: calls.append(fields) or call(fields, arrays))
    potential.evaluate([ARGON] * 7)
    assert [fields["n_systems"] for fields in calls] == [7]


def test_gradient_of_descriptors_against_finite_differences(potential):
    batch = Batch.from_atoms([ARGON, ARGON[:2]], torch.float64, "cpu")
    weights = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value(positions):
        return (potential.descriptors(batch.at(positions), layers=2) * weights).sum()

    positions = batch.positions.clone().requires_grad_()
    first = value(positions)
    potential.evaluate([ARGON])
    potential.descriptors([ARGON])  # the process keeps the graph of the last call alone, and makes it again
    (gradient,) = torch.autograd.grad(first, positions)
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        step = torch.zeros_like(batch.positions)
        step[atom, axis] = 1e-4
        with torch.no_grad():
            slope = (value(batch.positions + step) - value(batch.positions - step)) / 2e-4
        assert gradient[atom, axis].item() == pytest.approx(slope.item(), abs=1e-7)


def test_overlapping_atoms_have_finite_descriptors(potential):
    batch = Batch.from_atoms([Atoms("Ar3", [[0, 0, 0], [0, 0, 0], [0, 0.1, 0]])], torch.float64, "cpu")
    positions = batch.positions.requires_grad_()
    features = potential.descriptors(batch.at(positions), shortest=0.75)
    (gradient,) = torch.autograd.grad(features.sum(), positions)
    assert torch.isfinite(features).all() and torch.isfinite(gradient).all()
    beyond = Batch.from_atoms([Atoms("Ar2", [[0, 0, 0], [0, 0, 0.75]])], torch.float64, "cpu")
    near = Batch.from_atoms([Atoms("Ar2", [[0, 0, 0], [0, 0, 0.2]])], torch.float64, "cpu")
    assert torch.allclose(potential.descriptors(near, shortest=0.75), potential.descriptors(beyond))


def test_too_many_layers_are_refused(potential):
    with pytest.raises(UserError, match="layers=3: potential double has 2"):
        potential.descriptors([ARGON], layers=3)


def test_a_worker_starts_its_own_process(potential):
    expected = float(potential.energies([ARGON])[0])
    with Pool(1, residents={"potential": potential}) as pool:
        (worker, before, energy, server), second = pool.map([(evaluated, (pool.resident(potential),))] * 2)
        assert alive(server)
    assert before == 0 and energy == expected and second == (worker, server, expected, server)
    assert potential.process.pid not in (None, server) and worker != os.getpid()
    assert float(potential.energies([ARGON])[0]) == expected
    assert not lives(server)


def test_a_process_that_dies_is_started_again_once(potential):
    before = potential.process.pid
    assert float(potential.energies([Atoms("Ne")])[0]) == 10 and potential.process.pid != before
    with pytest.raises(UserError) as error:
        potential.evaluate([Atoms("He")])
    text = str(error.value)
    assert "\n" not in text and "potential double: its process died 2 times" in text
    assert "status 3" in text and "helium is too much / for me" in text
    assert float(potential.energies([Atoms("Ar")])[0]) == 18


def test_a_killed_idle_process_is_started_again(potential):
    os.kill(potential.process.pid, signal.SIGKILL)
    assert float(potential.energies([Atoms("Ar")])[0]) == 18


def test_an_error_of_the_model_is_one_line(potential):
    with pytest.raises(UserError, match=r"potential double failed .*KeyError"):
        potential.process.call({"do": "evaluate"}, {})


def test_the_process_ends_with_a_killed_parent(weights):
    code = (
        "import os, signal; import test_engines as t; from gendesign.potential.engines import registry, loading;"
        "registry.MODELS['double'] = t.model(); import torch;"
        "p = loading.load_engine('double', torch.device('cpu'), torch.float64, None);"
        "print(p.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    paths = os.pathsep.join([str(HERE), str(REPOSITORY)])
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    pid = int(done.stdout)
    assert done.returncode == -signal.SIGKILL and not lives(pid)


def test_the_process_imports_no_mace():
    code = "import sys, gendesign.potential.engines.server; print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert not {"mace", "e3nn", "torch_sim", "rdkit"} & set(done.stdout.split())


def test_a_pickled_potential_has_no_process_yet(potential):
    copy = pickle.loads(pickle.dumps(potential))
    assert copy.process.pid is None and copy.weights_hash == potential.weights_hash


def test_structures_without_finite_energy_fail_alone(potential):
    start = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.5]])
    candidates = [Candidate(start, 0), Candidate(Atoms("ArKr", start.positions), 1)]
    good, bad = relax(candidates, potential, Relaxation(fmax=1e-4))
    assert good.failure is None and good.atoms.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * WIDTH, abs=1e-2)
    assert "not finite" in bad.failure


def test_heads(weights, potential):
    with pytest.raises(UserError, match="has the heads depth, deep; choose one with head=NAME"):
        load_potential("double-heads")
    with pytest.raises(UserError, match="head='x': potential double-heads does not have it; choose one of depth, deep"):
        load_potential("double-heads", head="x")
    with pytest.raises(UserError, match=r"head='x': .* it has one output"):
        load_potential("double", head="x")
    deep = load_potential("double-heads", head="deep", dtype="float64", device="cpu")
    energies = [float(p.energies([ARGON])[0]) - 54 for p in (potential, deep)]
    deep.close()
    assert energies[1] == pytest.approx(2 * energies[0]) and deep.weights_hash != potential.weights_hash


def test_a_missing_package_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(packages.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"potential double is not installed; .*: gendesign install double$"):
        load_potential("double")
    assert main(["install"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("double ")).split()[2] == "no" and str(tmp_path) in lines[-1]


def test_empty_weights_are_named(weights):
    weights.write_text("")
    with pytest.raises(UserError, match=r"double 1.0 in .* has empty files in place of weights .*; install double"):
        load_potential("double")
    weights.unlink()
    with pytest.raises(UserError, match="has no files in place of weights"):
        load_potential("double")


def test_a_model_that_cannot_be_loaded(weights):
    weights.write_text(json.dumps({"broken": "two\nlines"}))
    with pytest.raises(UserError, match=r"double cannot be loaded \(ValueError: two lines\); install it again"):
        load_potential("double")


def test_a_fit_cannot_start_from_it(weights):
    with pytest.raises(UserError, match="potential chgnet is no MACE network"):
        load_mace("chgnet")


def test_install_from_a_folder_of_wheels(tmp_path, monkeypatch, capsys):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "double-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(HERE / "engine_double.py", "engine_double.py")
        wheel.writestr("double/weights.json", json.dumps({"depth": DEPTH, "width": WIDTH}))
        wheel.writestr("double-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: double\nVersion: 1.0\n")
        wheel.writestr("double-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("double-1.0.dist-info/RECORD", "")
    monkeypatch.setenv(packages.VARIABLE, str(tmp_path / "engines"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert main(["install", "double"]) == 0
    assert "double 1.0 in" in capsys.readouterr().out
    assert [path.name for path in install.weights_of(ADDED["double"])] == ["weights.json"]
    assert main(["install", "chgnet"]) == 2
    assert "pip could not install chgnet==" in capsys.readouterr().err
    assert main(["install", "nonsense"]) == 2
    assert "'nonsense' is no model to install" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "engines").iterdir()) == ["double"]


INSTALLED = [name for name, entry in registry.MODELS.items() if packages.installed_version(entry.package)]
ENGINES = [
    pytest.param(name, marks=[] if name in INSTALLED else pytest.mark.skip(f"not installed: gendesign install {name}"))
    for name in registry.MODELS
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    """Each installed model, loaded once."""
    heads = registry.MODELS[request.param].heads
    loaded = load_potential(request.param, dtype="float64", device="cpu", head=heads[0] if heads else None)
    yield loaded
    loaded.close()


def test_installed_models_conform(engine):
    assert [str(check) for check in check_potential(engine) if not check.passed] == []


def test_installed_models_take_atoms_without_neighbours(engine):
    symbol = engine.elements[0]
    atom, pair, far = Atoms(symbol), Atoms([symbol] * 2, [[0, 0, 0], [0, 0, 0.8]]), Atoms([symbol] * 2)
    far.positions[1, 2] = 4 * engine.cutoff
    single, bound, apart = engine.evaluate([atom, pair, far]).energy.tolist()
    assert apart == pytest.approx(2 * single, abs=1e-4) and abs(bound - apart) > 0.1


def test_gradient_of_installed_descriptors(engine):
    atoms = Atoms("CO2H", [[0, 0, 0], [1.2, 0.1, 0], [-0.7, 1.0, 0.2], [-0.5, -0.9, 0.3]])
    batch = Batch.from_atoms([atoms], torch.float64, "cpu")
    positions = batch.positions.clone().requires_grad_()
    features = engine.descriptors(batch.at(positions), shortest=0.75)
    weights = torch.randn(features.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((features * weights).sum(), positions)
    numeric = torch.zeros_like(gradient)
    for atom, axis in np.ndindex(4, 3):
        step = torch.zeros_like(gradient)
        step[atom, axis] = 1e-4
        with torch.no_grad():
            up, down = (engine.descriptors(batch.at(batch.positions + s), shortest=0.75) for s in (step, -step))
        numeric[atom, axis] = ((up - down) * weights).sum() / 2e-4
    assert torch.allclose(gradient, numeric, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))


OWN = """
import sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from ase.build import bulk, molecule
name, weights, head = sys.argv[1:4]
if name.startswith("sevennet"):
    from sevenn.calculator import SevenNetCalculator
    calculator = SevenNetCalculator(weights, device="cpu", modal=head or None)
elif name.startswith("chgnet"):
    from chgnet.model import CHGNet, CHGNetCalculator
    model = CHGNet.load(model_name="r2scan" if "r2scan" in name else "0.3.0", use_device="cpu", verbose=False)
    calculator = CHGNetCalculator(model, use_device="cpu")
elif name == "diep":
    from pathlib import Path
    from diep.pretrained import make_calculator
    calculator = make_calculator(Path(weights).parent)
else:
    import torchani
    kind = torchani.models.ANI1x if name == "ani1x" else torchani.models.ANI1ccx
    calculator = kind(periodic_table_index=True).double().ase()
structures = [molecule("CH3CH2OH", vacuum=8), molecule("C6H6", vacuum=8)]
for atoms in structures:
    atoms.rattle(0.05, seed=1)
if not name.startswith("ani"):
    for atoms in structures:
        atoms.pbc = True
    structures.append(bulk("NaCl", "rocksalt", a=5.5))
    structures[-1].rattle(0.05, seed=1)
out = []
for atoms in structures:
    atoms.calc = calculator
    out += [[atoms.get_potential_energy()], atoms.get_forces().ravel()]
    out += [atoms.get_stress(voigt=False).ravel()] if len(structures) == 3 else []
print(*np.concatenate(out))
"""


def test_installed_models_give_the_numbers_of_their_packages(engine, tmp_path):
    """Energies in eV, forces in eV/Angstrom and stresses against the package's own ASE calculator, mostly float32."""
    from ase.build import bulk, molecule

    script = tmp_path / "own.py"
    script.write_text(OWN)
    stand_in = tmp_path / "sklearn"  # which sevenn imports for fits
    stand_in.mkdir()
    (stand_in / "__init__.py").write_text("")
    (stand_in / "linear_model.py").write_text("Ridge = object")
    folder = os.pathsep.join(
        [str(packages.folder_of(engine.model.package)), *[str(tmp_path)] * ("sevenn" in engine.name)]
    )
    words = [engine.name, engine.process.settings["weights"][0], engine.head or ""]
    environment = {**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = np.array(done.stdout.splitlines()[-1].split(), dtype=float)
    structures = [molecule("CH3CH2OH", vacuum=8), molecule("C6H6", vacuum=8)]
    for atoms in structures:
        atoms.rattle(0.05, seed=1)  # in symmetric ones, rounding decides which edge of a triangle is longest for DIEP
    if not engine.name.startswith("ani"):
        for atoms in structures:
            atoms.pbc = True
        structures.append(bulk("NaCl", "rocksalt", a=5.5))
        structures[-1].rattle(0.05, seed=1)
    ours = []
    for atoms in structures:
        out = engine.evaluate([atoms], stress=len(structures) == 3)
        ours += [out.energy, out.forces.flatten()] + ([out.stress.flatten()] if len(structures) == 3 else [])
    difference = np.abs(torch.cat(ours).numpy() - theirs)
    size = 1 + np.abs(theirs)
    assert (difference / size).max() < 3e-4  # CHGNet in float32
