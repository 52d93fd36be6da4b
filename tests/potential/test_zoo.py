"""Loading: exact, and every mistake one line that names what is allowed."""

import hashlib
import os
import pickle
import subprocess
import sys

import pytest
import tiny
import torch
import yaml

from gendesign.errors import UserError
from gendesign.potential import load_potential, save_folder
from gendesign.potential.zoo import bundled, checkpoints_folder, load_folder


@pytest.fixture
def folder(tmp_path):
    save_folder(
        tiny.potential().net,
        tmp_path / "saved",
        name="saved",
        licence="MIT",
        citation="none",
        chemical_potentials=tiny.CHEMICAL_POTENTIALS,
        training={"steps": 0},
    )
    return tmp_path / "saved"


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    path = tmp_path_factory.mktemp("pickled") / "my.model"
    torch.save(tiny.potential().net, path)
    return path


def refusal(*words, **keys) -> str:
    with pytest.raises(UserError) as refused:
        load_potential(*words, **keys)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_saved_and_loaded_is_the_same(folder):
    before, after = tiny.potential(), load_folder(folder)
    wanted, found = before.net.state_dict(), after.net.state_dict()
    assert wanted.keys() == found.keys() and all(torch.equal(wanted[key], found[key]) for key in wanted)
    water = [tiny.rattled("H2O")]
    assert torch.equal(
        load_potential(str(folder), dtype="float64", device="cpu").evaluate(water).forces, before.evaluate(water).forces
    )
    assert (after.name, after.licence, after.chemical_potentials) == ("saved", "MIT", tiny.CHEMICAL_POTENTIALS)
    assert after.elements == ("H", "C", "N", "O") and after.cutoff == 4.0
    assert after.weights_hash == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


def test_dtype_is_converted(folder):
    potential = load_potential(str(folder), device="cpu")
    assert potential.dtype == torch.float32
    energy = potential.evaluate([tiny.rattled("H2O")]).energy
    assert energy.item() == pytest.approx(tiny.potential().evaluate([tiny.rattled("H2O")]).energy.item(), abs=1e-3)


def test_damaged_folders(folder):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    with open(folder / "weights.safetensors", "ab") as handle:
        handle.write(b"x")
    said = refusal(str(folder))
    assert settings["weights_sha256"][:12] in said and "damaged" in said
    (folder / "config.yaml").write_text("name: [half a li")
    assert "config.yaml lacks name" in refusal(str(folder))
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": "saved"}))
    assert "lacks licence, citation, weights_sha256" in refusal(str(folder))
    (folder / "weights.safetensors").unlink()
    assert "weights.safetensors and config.yaml" in refusal(str(folder))


def test_unknown_names(folder):
    said = refusal("orgnic")
    assert all(name in said for name in (*bundled(), "mace-off-small", "mace-mp-"))
    assert "choose float32 or float64" in refusal(str(folder), dtype="float16")
    for device in ("tpu", "meta"):
        assert "choose cpu, cuda or cuda:N" in refusal(str(folder), device=device)
    assert "has Default" in refusal(str(folder), device="cpu", head="omat")


def test_cuda_where_there_is_none(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "choose cpu" in refusal(str(folder), device="cuda")
    assert load_potential(str(folder)).device.type == "cpu"


def test_pickles_need_trust(pickled, tmp_path):
    assert "trust_pickle=true" in refusal(str(pickled))
    trusted = load_potential(str(pickled), trust_pickle=True, dtype="float64", device="cpu")
    water = [tiny.rattled("H2O")]
    assert torch.equal(trusted.evaluate(water).energy, tiny.potential().evaluate(water).energy)
    (tmp_path / "text.model").write_text("not a pickle")
    assert "a file that mace-torch wrote" in refusal(str(tmp_path / "text.model"), trust_pickle=True)
    torch.save({"a": 1}, tmp_path / "dict.model")
    assert "holds a dict" in refusal(str(tmp_path / "dict.model"), trust_pickle=True)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_cached_file_is_checked_before_it_is_unpickled(tmp_path, monkeypatch):
    from mace.calculators import foundations_models

    monkeypatch.setattr(foundations_models, "get_cache_dir", lambda: str(tmp_path))
    cached = tmp_path / os.path.basename(foundations_models.mace_off_urls["small"])
    cached.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    cached.with_suffix(".sha256").write_text("0" * 64)
    assert "differs from what was first downloaded" in refusal("mace-off-small")
    assert not (tmp_path / "sprung").exists()


def test_reference_methods_need_no_torch():
    code = (
        "import sys, gendesign.potential.reference, gendesign.train.teacher, gendesign.structure.files; "
        "print([m for m in ('torch', 'mace') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_agents_are_no_potentials():
    assert "builder" not in bundled() and "organic" in bundled()
    with pytest.raises(UserError, match="holds an agent, not a potential"):
        load_potential(str(checkpoints_folder() / "builder"))


def test_the_first_answer_of_a_process_is_that_of_all_later_ones():
    code = """
import torch
from ase.build import molecule
from gendesign.potential import load_potential
potential, few = load_potential("organic", device="cpu"), [molecule(name) for name in ("CH3CH2OH", "C6H6", "H2O")]
first, *later = [potential.evaluate(few).forces for _ in range(4)]
assert all(torch.equal(first, other) for other in later)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_card_is_that_of_its_weights():
    folders = [path for path in sorted(checkpoints_folder().iterdir()) if (path / "config.yaml").is_file()]
    assert {path.name for path in folders} >= {"organic", "builder", "hoip"}
    for path in folders:
        assert hashlib.sha256((path / "weights.safetensors").read_bytes()).hexdigest() in (path / "card.md").read_text()
