"""The GPU kit on the processor: labels there and back, fits that end in time and go on exactly, and every other job."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import clouds
import numpy as np
import pytest
import tiny
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gendesign.errors import UserError
from gendesign.generate.diffusion.checkpoint import load as load_diffusion
from gendesign.generate.diffusion.data import Molecules
from gendesign.potential import load_potential, save_folder
from gendesign.train.dataset import Dataset
from scripts.acac import TESTS
from scripts.gpu import diffusion, labels
from scripts.gpu import job as kit
from scripts.organic.labels import copied, subset

ROOT = Path(__file__).parents[2]
TINY = ("channels=4", "max_ell=1", "correlation=1", "n_bessel=4", "radial_mlp=[8]", "readout=4", "batch_size=4")


def labelled(name: str, seed: int) -> Atoms:
    atoms = tiny.rattled(name, seed)
    atoms.positions += 7.0 * seed
    work = atoms.copy()
    work.calc = EMT()
    energy = work.get_potential_energy() + sum(tiny.ENERGIES[int(z)] for z in atoms.numbers)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=work.get_forces())
    atoms.info["kind"] = "dimer" if name == "H2" else "train"
    return atoms


@pytest.fixture(scope="module")
def frames():
    atoms = [Atoms([z], info={"energy": e, "kind": "atom"}) for z, e in tiny.ENERGIES.items()]
    return [*atoms, *(labelled(n, k) for k in range(6) for n in ("CH4", "H2O", "CH3OH", "H2", "CH3CONH2"))]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a job with a limit; its lines of results."""
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def go(name: str, *options: str, limit: float = 30.0, out: str = "out") -> list[dict]:
        monkeypatch.setenv("OUT", str(tmp_path / out))
        monkeypatch.setenv("DEADLINE", str(time.time() + limit))
        assert kit.main(name, *options) == 0
        return [json.loads(line) for line in (tmp_path / out / "results.jsonl").read_text().splitlines()]

    return go


def test_labels_come_back_within_the_rounding(frames, tmp_path):
    data = Dataset.from_frames(frames)
    size = labels.pack(data, tmp_path / "labels.npz")
    back = labels.read(tmp_path / "labels.npz")
    assert size < 8000 and len(back) == len(frames)
    assert torch.equal(back.energy, data.energy) and torch.equal(back.pointer, data.pointer)
    assert torch.equal(back.numbers, data.numbers) and back.kind.tolist() == data.kind.tolist()
    for k, frame in enumerate(frames):
        part = slice(back.pointer[k], back.pointer[k + 1])
        moved = frame.positions - frame.positions[0]
        np.testing.assert_allclose(back.positions[part], moved, atol=0.51 * 2 * labels.STEP)
        np.testing.assert_allclose(back.forces[part], data.forces[part], rtol=2**-11, atol=1e-7)
    assert labels.isolated(back) == tiny.ENERGIES
    chosen = copied(back, {"dimer": 3})
    assert len(chosen) == len(frames) + 2 * 6 and (chosen.kind == "dimer").sum() == 18
    few = labels.thinned(back, 4)
    assert labels.isolated(few) == tiny.ENERGIES and len(few) == 3 + len(frames[::4])


def test_crystals_and_missing_files_are_refused(frames, tmp_path):
    crystal = frames[5].copy()
    crystal.calc = frames[5].calc
    crystal.cell, crystal.pbc = [9, 9, 9], True
    with pytest.raises(UserError, match="crystals cannot be packed"):
        labels.pack(Dataset.from_frames([crystal]), tmp_path / "no.npz")
    with pytest.raises(UserError, match="does not exist; make it with"):
        labels.read(tmp_path / "no.npz")


def test_the_labels_of_training_are_packed(frames, tmp_path, monkeypatch, capsys):
    for name, part in (("turned", frames[4:]), ("real-dimers", frames[:4]), ("test", frames[4:9])):
        (tmp_path / name).mkdir()
        ase.io.write(tmp_path / name / "shard-00000.extxyz", part, format="extxyz")
    monkeypatch.setattr("scripts.organic.labels.ROOT", tmp_path)
    labels.main("organic", str(tmp_path / "kit"), "every=2")
    back = labels.read(tmp_path / "kit" / "organic.npz")
    assert labels.isolated(back) == tiny.ENERGIES and len(back) == 4 + 15
    assert len(labels.read(tmp_path / "kit" / "organic-test.npz")) == 5
    assert "bytes a label" in capsys.readouterr().out


def test_rounding_is_measured_by_the_potential(tmp_path):
    data = Dataset.from_frames([labelled(name, 1) for name in ("CH4", "CH3OH")])
    cost = labels.rounding(data, tmp_path)
    assert cost["labels"] == 2 and 0 < cost["positions_force_rms"] < 0.01 and 0 < cost["forces_rms"] < 0.01


def packed(frames, folder: Path, name: str) -> list[str]:
    data = Dataset.from_frames(frames)
    labels.pack(data, folder / f"{name}.npz")
    labels.pack(subset(data, np.arange(4, 20)), folder / f"{name}-test.npz")
    return [f"kit={folder}"]


def test_training_ends_in_time_and_leaves_a_potential(frames, tmp_path, run):
    """A thousand million steps end because the time does; tests/train/test_fit.py tests when exactly."""
    (row,) = run("organic", *packed(frames, tmp_path, "organic"), *TINY, "minute=0.5", limit=6)
    assert row["finished"] and row["steps"] > 1 and row["test"] == 16 and row["force_mae_mev_a"] > 0
    limit = json.loads((tmp_path / "out" / "fit" / "settings.json").read_text())["fit"]["time_limit"]
    saved = torch.load(tmp_path / "out" / "fit" / "state.pt", weights_only=True)
    assert 0 < limit < 6 * 0.91 and saved["seconds"] >= limit and saved["step"] == row["steps"] < 10**5
    potential = load_potential(tmp_path / "out" / "checkpoint")
    assert torch.isfinite(potential.evaluate([molecule("CH3OH")]).energy).all()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) <= 8  # what a device machine sends back


def test_a_stopped_fit_goes_on_exactly(frames, tmp_path, run):
    """Steps, not time, end these fits, and saved states stop the first of two runs."""
    options = [*packed(frames, tmp_path, "organic"), *TINY, "time_limit=0", "save_every=5", "minute=1000"]
    run("organic", *options, "steps=10", limit=3000, out="whole")
    (half,) = run("organic", *options, "steps=10", limit=1000, out="half")  # stops at its first saved state
    assert not half["finished"] and half["steps"] == 5
    (rest,) = run("organic", *options, "steps=10", f"resume={tmp_path / 'half' / 'fit'}", limit=3000, out="rest")
    assert rest["finished"] and rest["steps"] == 10
    whole, resumed = (torch.load(tmp_path / name / "fit" / "state.pt", weights_only=True) for name in ("whole", "rest"))
    for key, value in whole["average"].items():
        assert torch.equal(value, resumed["average"][key]), key
    for key, value in whole["net"].items():
        assert torch.equal(value, resumed["net"][key]), key


def test_coupled_cluster_labels_continue_a_potential_with_old_data(frames, tmp_path, run):
    options = packed(frames, tmp_path, "organic-cc")
    labels.pack(Dataset.from_frames(frames[:12]), tmp_path / "replay.npz")
    save_folder(tiny.potential(dtype="float32").net, tmp_path / "init", name="tiny", licence="MIT", citation="none")
    (row,) = run("organic-cc", *options, f"init={tmp_path / 'init'}", "batch_size=4", "steps=3")
    assert row["finished"] and row["steps"] == 3
    with pytest.raises(UserError, match="no option channels"):
        run("relaxations", "channels=8")


def test_molecules_are_counted_and_profiled(tmp_path, run):
    save_folder(tiny.potential(dtype="float32").net, tmp_path / "tiny", name="tiny", licence="MIT", citation="none",
                chemical_potentials=tiny.CHEMICAL_POTENTIALS)  # fmt: skip
    options = ["n=2", "block=2", "heavy=3", "profile=1", f"potential={tmp_path / 'tiny'}", "steps=4", "particles=2",
               "families=1", f"reference={tiny.references(tmp_path)}"]  # fmt: skip
    rows = run("molecules", *options, limit=1000)
    assert rows[-1]["molecules"] == 2 and rows[-1]["molecules_per_minute"] > 0
    assert "aten::" in (tmp_path / "out" / "profile.txt").read_text()
    assert (tmp_path / "out" / "molecules.xyz").is_file()


def test_relaxations_and_a_search(run):
    rows = run("relaxations", "molecules=2", "crystals=1", "max_steps=2", "candidates=1", "cation=MA", "halide=Br",
               limit=100)  # fmt: skip
    assert [row["what"] for row in rows] == ["molecules", "crystals", "search"]
    assert rows[0]["structures"] == 2 and rows[0]["batched_per_second"] > 0 and rows[0]["ase_per_second"] > 0
    assert rows[2]["candidates"] == 1


def test_acetylacetone(frames, tmp_path, run):
    folder = tmp_path / "acac"
    folder.mkdir()
    molecules = [f for f in frames[4:] if str(f.symbols) == "COH4"]
    ase.io.write(folder / "train_300K.xyz", molecules[:3], format="extxyz")
    for name in TESTS:
        ase.io.write(folder / name, molecules[3:], format="extxyz")
    isolated = [Atoms([z], info={"energy": tiny.ENERGIES[z], "config_type": "IsolatedAtom"}) for z in (1, 6, 8)]
    ase.io.write(folder / "isolated_atoms.xyz", isolated, format="extxyz")
    shape = ["channels=4", "max_ell=1", "max_l=0", "correlation=1", "cutoff=3.0", "radial_mlp=[8]"]
    (row,) = run("acac", f"kit={tmp_path}", *shape, "steps=2", "batch_size=2")
    assert row["MD_300K"]["mace"] == [0.9, 5.1] and row["MD_600K"]["energy_rmse_mev"] > 0
    assert load_potential(tmp_path / "out" / "acac").name == "acac"


def test_the_script_refuses_what_it_does_not_know(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path), "KIT": str(tmp_path), "LIMIT": "60"}
    command = ["sh", "scripts/gpu/run.sh"]
    done = subprocess.run([*command, "gold"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(
        "error: no job 'gold'; the jobs are organic"
    )
    assert subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode == 2


def test_a_diffusion_model_is_trained_packed_and_resumed(tmp_path, run):
    molecules = Molecules.from_atoms(clouds.molecules(150))
    diffusion.pack(tmp_path / "qm9.npz", molecules)
    back = diffusion.unpack(tmp_path / "qm9.npz")
    np.testing.assert_array_equal(back.numbers, molecules.numbers)
    np.testing.assert_allclose(back.positions, molecules.positions, atol=1.01 * diffusion.UNIT)
    options = [
        f"data={tmp_path / 'qm9.npz'}",
        "channels=4",
        "width=4",
        "n_radial=3",
        "layers=1",
        "batch_size=4",
        "samples=2",
    ]
    (row,) = run("diffusion", *options, "steps=2", limit=60)
    assert row["finished"] and row["steps"] == 2 and row["samples"] == 2 and 0 <= row["valid"] <= 1
    assert load_diffusion(str(tmp_path / "out" / "checkpoint")).model.elements == tuple(molecules.elements)
    (row,) = run("diffusion", *options, "steps=3", f"resume={tmp_path / 'out' / 'fit'}", limit=60, out="more")
    assert row["steps"] == 3
    files = [path for path in (tmp_path / "more").rglob("*") if path.is_file()]
    assert len(files) <= 8
