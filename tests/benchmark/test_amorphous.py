"""`gendesign benchmark amorphous`: rows, trends, parts that are kept, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from omegaconf import OmegaConf
from pairs import Argon

from gendesign.benchmark import amorphous, glass_parts, glass_pictures, glass_runs, glass_scale, glass_speed
from gendesign.benchmark.glass_parts import Part
from gendesign.benchmark.settings import GLASS_PARTS
from gendesign.benchmark.settings import Amorphous as Settings
from gendesign.errors import UserError
from gendesign.run.settings import resolve
from gendesign.structure.types import Candidate, Row


def bench(folder, **settings) -> glass_runs.Bench:
    """A bench of a cheap potential; settings of the section amorphous."""
    section = OmegaConf.structured(Settings(**settings))
    common = {"output": str(folder), "record": str(folder / "record"), "potential": "argon"}
    config = OmegaConf.create({"seed": 0, "dtype": "float64", "amorphous": section, **common})
    return glass_runs.Bench(config, Path(folder), Argon())


def made(*models) -> glass_runs.Made:
    candidates = [Candidate(atoms, k, info={"cooling_rate": 1.0}) for k, atoms in enumerate(models)]
    return glass_runs.Made(Path("nowhere"), tuple(candidates), 1, 30.0)


def silicon(noise: float, seed: int = 0):
    atoms = bulk("Si", "diamond", a=5.431, cubic=True) * 3
    atoms.positions += np.random.default_rng(seed).normal(0, noise, atoms.positions.shape)
    return atoms


def test_every_part_has_a_function_and_its_settings():
    assert tuple(amorphous.PARTS) == GLASS_PARTS == tuple(amorphous.USED)
    fields = resolve("benchmark").amorphous
    for prefixes in amorphous.USED.values():
        assert all(any(key.startswith(prefix) for key in fields) for prefix in prefixes)
    assert resolve("benchmark", ["amorphous=quick"]).amorphous.silicon_atoms == 64


def test_rows_of_silicon(tmp_path, monkeypatch):
    """Two models of known defects and angles, beside one that failed."""
    own = bench(tmp_path, silicon_atoms=216)
    monkeypatch.setattr(glass_parts, "ANALYSED", ("coordination", "distributions", "structure_factor"))
    missing = silicon(0.0)
    del missing[0]
    monkeypatch.setattr(glass_runs.Bench, "generate", lambda *_: made(silicon(0.0), missing))
    monkeypatch.setattr(glass_runs.Bench, "above", lambda *_: [0.1, 0.3])
    monkeypatch.setattr(glass_parts, "crystal_density", lambda _: 2.33)
    part = glass_parts.silicon(own)
    rows = {row.name.removeprefix("a-Si, 216 atoms: "): row for row in part.rows}
    assert rows["models that ended well"].value == pytest.approx(2 / 3)
    assert (
        rows["coordination defects at 2.85 Angstrom"].value == pytest.approx(100 * 4 / 215 / 2)
        and rows["one core"].value == 10
    )
    assert rows["coordination defects at 2.85 Angstrom"].met and rows["energy above diamond"].value == pytest.approx(
        0.2
    )
    assert rows["bond angle"].value == pytest.approx(109.47, abs=0.02)
    assert (
        rows["density over that of diamond, at least"].met
        and rows["density over that of diamond, at most"].met is False
    )
    assert set(part.curves["a-Si, 216 atoms"]) == {"rdf", "angles", "sq", "sq_from_rdf"}
    glass_pictures.draw(part, tmp_path / "silicon.png")
    assert (tmp_path / "silicon.png").stat().st_size > 10_000


def test_slower_is_lower_beyond_the_error_bars():
    samples = {100.0: {"energy": [0.30, 0.32, 0.31], "defects": [0.10, 0.02, 0.06]},
               10.0: {"energy": [0.25, 0.26, 0.27], "defects": [0.05, 0.06, 0.07]},
               1.0: {"energy": [0.20], "defects": [0.01]}}  # fmt: skip
    rows = {row.name: row for row in glass_parts.falls(samples)}
    first = rows["trend: energy at 10 below that at 100 K/ps"]
    assert first.value == pytest.approx(0.05 / (2 * 0.01**2 / 3) ** 0.5) and first.met
    assert rows["trend: defects at 10 below that at 100 K/ps"].met is False
    assert rows["trend: energy at 1 below that at 100 K/ps"].value is None  # one model has no error bar


def test_dynamics_in_a_batch_and_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(glass_speed, "TRIED", 2)
    own = bench(tmp_path, silicon_atoms=64, batch_models=2, batch_single=1, batch_steps=4)
    part = glass_speed.batching(own)
    rows = {row.name.split(": ")[1]: row for row in part.rows}
    assert rows["2 models in a batch over ASE one by one"].value == pytest.approx(
        rows["in a batch"].value / rows["one by one"].value, rel=1e-6
    )
    assert all(row.value > 0 for row in part.rows) and glass_speed.step_cost(own, [silicon(0.05)[:64]]) > 0


def test_published_glasses_of_another_kind_are_off(tmp_path):
    """Quartz at the name of a glass of 1 K/ps: fourfold, but too dense and with other angles."""
    from ase.io import write

    from gendesign.analysis.energetics import quartz

    path = tmp_path / "sio2_3000_glass_1k_sample0.extxyz"
    write(path, quartz() * (3, 3, 3))
    rows = {row.name: row for row in glass_parts.published(bench(tmp_path, glasses=(str(path),))).rows}
    title = "published glasses, 1 K/ps"
    assert rows[f"{title}: Si fourfold"].value == 100 and rows[f"{title}: Si fourfold, off the published one"].met
    assert rows[f"{title}: density, off the published one"].value == pytest.approx(100 * (2.65 / 2.129 - 1), abs=1)
    assert rows[f"{title}: density, off the published one"].met is False
    with pytest.raises(UserError, match=r"amorphous\.glasses"):
        glass_parts.published(bench(tmp_path))


def test_a_large_model_from_a_file(tmp_path, monkeypatch):
    from ase.io import write

    monkeypatch.setattr(glass_parts, "ANALYSED", ("coordination", "defects"))
    write(tmp_path / "model.extxyz", silicon(0.05))
    part = glass_parts.large(bench(tmp_path, large=str(tmp_path / "model.extxyz"), large_atoms=1000))
    rows = {row.name: row for row in part.rows}
    assert rows["a-Si, 216 atoms, from a file: atoms"].met is False
    assert rows["a-Si, 216 atoms, from a file: coordination defects at 2.85 Angstrom"].value == 0


def test_the_analysis_of_a_size(monkeypatch):
    monkeypatch.delitem(glass_scale.PARTS, "rings")  # dear without numba
    result = glass_scale.measure(glass_scale.displaced(64))
    assert result["atoms"] == 64 and result["memory"] > 0.01 and set(glass_scale.PARTS) < set(result)


def test_parts_are_kept_and_other_settings_refused(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(
        amorphous.PARTS, "scale", lambda b: calls.append(b) or Part([Row("x", 1.0, "s", 1)], points={"y": [[0, 1]]})
    )
    own = bench(tmp_path)
    assert amorphous.measured(own, "scale", compute=False) is None
    for _ in range(2):
        assert amorphous.measured(own, "scale", compute=True).rows == [Row("x", 1.0, "s", 1)]
    assert len(calls) == 1
    assert amorphous.measured(bench(tmp_path, silicon_models=7), "scale", compute=True)  # of another part
    with pytest.raises(UserError, match="other settings"):
        amorphous.measured(bench(tmp_path, scale_atoms=2000), "scale", compute=True)


def test_the_command_writes_what_is_finished(tmp_path, monkeypatch, capsys):
    def loaded(_):
        return Argon()

    monkeypatch.setattr(amorphous, "load", loaded)
    monkeypatch.setitem(amorphous.PARTS, "scale", lambda b: Part([Row("scale", 1.0, "s", 1, "<= 2")]))
    monkeypatch.setitem(amorphous.PARTS, "batching", lambda b: Part([Row("batching", 3.0, "ratio", 1)]))
    for name in ("scale", "batching"):  # one after the other: the second call also shows the first part
        config = resolve("benchmark", [f"amorphous.parts=[{name}]", f"output={tmp_path}/out", f"record={tmp_path}"])
        amorphous.run(config)
    rows = json.loads((tmp_path / "amorphous.json").read_text())
    assert [row["name"] for row in rows] == ["batching", "scale"]
    assert "scale" in capsys.readouterr().out

    monkeypatch.setattr(amorphous, "load", lambda _: SimpleNamespace(domain=SimpleNamespace(kinds=("molecules",))))
    with pytest.raises(UserError, match="knows no crystals"):
        amorphous.run(config)


def test_a_run_that_fails_says_where(tmp_path, capfd):
    own = bench(tmp_path)
    with pytest.raises(UserError, match="status 2"):
        own.run("broken", "generate", "no_such_key=1")
    assert "no_such_key" in capfd.readouterr().err
