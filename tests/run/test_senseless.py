"""Values of the right type without sense reach the classes and come back as one line."""

# ruff: noqa: E501 - tables of words read better on long lines

import pytest
import tiny

from gendesign.errors import SettingsError, UserError
from gendesign.run.build import make
from gendesign.run.settings import resolve

SIMGEN = """elements=[Xx] elements=[He] families=0 particles=0 steps=1 swap_every=0 max_atoms=0 likeness=0 formula=C0
formula=Xx formula=7 formula=C7H8N2O2F formula=C(( counts=N counts=N2-1 counts=Xx1 importance=N importance=Q2 n_heavy_atoms=0
n_heavy_atoms=12-5 n_heavy_atoms=many n_heavy_atoms=-3 forbidden=[C(] forbidden=[Zz] reference=[missing.sdf] fragments=missing.sdf
attachments=[0] host=missing.pdb reference_weights=[1] reference_weights=[-1] guidance.function=missing.py:f
guidance.function=os guidance.function=7 objective.components=[nothing] objective.components=[qed_bogus_2]""".split()
OTHER = {
    "relaxation": "fmax=0 max_stress=0 max_atoms=0 pressure=2 optimizer=magic optimizer=7".split(),
    "screening": "checks=[everything] posebusters=no strain_methods=[dft] max_steps=0 fmax=0 time_limit=0 "
    "shape_target=missing.sdf energy_deviation=0 shape_least=0.5".split(),
}
WORDS = [("generator", word) for word in SIMGEN] + [(part, word) for part, words in OTHER.items() for word in words]


@pytest.mark.parametrize(("section", "word"), WORDS)
def test_senseless_values_are_one_line(section, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"potential": tiny.potential()} if section == "generator" else {}
    with pytest.raises((UserError, SettingsError)) as refused:
        make(resolve("generate", [f"{section}.{word}"])[section], **arguments)
    assert str(refused.value) and "\n" not in str(refused.value)


COMPOSITION = "cation=x cation=C cation=[NH4 cation=7 metal=Fe metal=7 halide=F halide=I0 thickness=0 thickness=9 thickness=x conformers=0"
START = """cells=[3x3] cells=[] layers=0 tilt=400 redraws=0 densest_of=0 known_cell=[1,2] known_cell=[1,2,3] space_group=Pbca
orientations=some contact=0"""
GROUPS = {"composition": COMPOSITION, "start": START, "halving": "keep=0 max_atoms=0 rounds=21", "evolution": "share=1"}
PEROVSKITE = [f"{group}.{word}" for group, words in GROUPS.items() for word in words.split()]


AGENT = ["formula=7", "formula=C0", "formula=Xe", "formula=(", "agent=missing", "agent=organic"]


@pytest.mark.parametrize(
    "generator, potential, word",
    [*(("perovskite", "hoip", word) for word in PEROVSKITE), *(("agent", "organic", word) for word in AGENT)],
)
def test_senseless_perovskites_and_agents_are_one_line(generator, potential, word, tmp_path, monkeypatch):
    from gendesign.potential import load_potential

    monkeypatch.chdir(tmp_path)
    with pytest.raises((UserError, SettingsError)) as refused:
        words = [f"generator={generator}", f"generator.{word}"]
        make(resolve("generate", words).generator, potential=load_potential(potential, device="cpu"))
    assert "\n" not in str(refused.value)
