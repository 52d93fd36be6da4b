"""Bad input is one line before any work starts, and a stranger's folder runs none of its code."""

import json
import sys
from pathlib import Path

import pytest
import toys

from gendesign import cli
from gendesign.campaign import Campaign
from gendesign.campaign.config import configure, engine_of, experiment, read
from gendesign.campaign.coordinator import _judge
from gendesign.campaign.engines import make_engine
from gendesign.campaign.layout import PLAN, safe
from gendesign.errors import SettingsError, UserError
from gendesign.potential import load_potential
from gendesign.run.conf import options

SOUND = """
output: {output}
generators:
  small: {{n: 3, grid: {{seed: [0, 1]}}}}
stages:
  checks: {{keep: [valid]}}
  relaxation: {{}}
rank: {{by: [min sa_score]}}
"""


@pytest.fixture
def sound(tmp_path) -> Path:
    path = tmp_path / "campaign.yaml"
    path.write_text(SOUND.format(output=tmp_path / "out"))
    return path


def test_keys_with_dots_in_a_file_are_those_of_the_command_line(sound):
    nested = read(sound, ["stages.relaxation.relaxation=crystals", "stages.relaxation.relaxation.max_steps=3"])
    dotted = read(sound)
    dotted["stages"]["relaxation"] = {"relaxation": "crystals", "relaxation.max_steps": 3}
    assert configure(dotted).stages[1].stage == configure(nested).stages[1].stage
    assert configure(nested).stages[1].stage.relaxation.max_steps == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generators.small.grid.seed=[]"], "the grid has no run"),
        (["generators.small.n=0"], "a whole number of 1 or more"),
        (["generators.small.settings.output=x"], "output is set by the campaign itself"),
        (["generators.small.settings.screening=quick"], "relaxation and screening are stages"),
        (["generators.small.settings.potential=hoip"], "one potential for all generators"),
        (["generators={}"], "generators: there is none"),
        (["stages.checks.keep=[tasty]"], "no stage before makes tasty"),
        (["stages.checks.keep=[converged]"], "no stage before makes converged"),
        (["stages.checks.keep=['sa_score =< 3']"], "give a check, such as valid"),
        (["stages.checks.kind=chekcs"], "did you mean checks?"),
        (["stages.checks.screening.cheks=[valid]"], "did you mean checks?"),
        (["stages.checks.screening=nothing"], "allowed: amorphous, molecules, perovskites, quick"),
        (["stages.checks.screening.checks=[uniqueness]"], "unique=inchikey"),
        (["stages.relaxation.budget=2"], "acquisition=rank needs objectives"),
        (["stages.relaxation.budget=2", "stages.relaxation.acquisition=diversity"], "kind descriptors"),
        (["stages.relaxation.budget=2", "stages.relaxation.acquisition=uncertainty"], "makes uncertainty"),
        (["stages.relaxation.unique=names"], "allowed are inchikey, structure, descriptor"),
        (["stages.relaxation.relaxation.fmax=-1"], "above 0"),
        (["rank.by=[sa_score]"], "give min or max"),
        (["rank.by=[min sugar]"], "no stage before makes sugar"),
        (["rank.top=0"], "1 or more"),
        (["engine=slrum"], "did you mean slurm?"),
        (["engine.partition=x"], "engine.partition is unknown"),
        (["shard_size=0"], "1 or more"),
        (["shardsize=3"], "did you mean shard_size?"),
        (["stages.checks._target_=os.system"], "no class of settings of gendesign"),
        (["stages.checks.screening._target_=builtins.exec"], "no class of settings of gendesign"),
        (["generators.small._target_=subprocess.Popen"], "no class of settings of gendesign"),
        (["engine._target_=os.system"], "no class of settings of gendesign"),
        (["stages.dft.teacher.command=no-such-python"], "stages.dft"),
        (["stages.dft.teacher=cp2k", "stages.dft.teacher.command=no-such-cp2k"], "apt install cp2k"),
        (["stages.dock.host=nowhere.pdb"], "give the PDB file of a protein"),
        (["stages.dock={}"], "give the PDB file of a protein"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_line_before_any_work(words, said, sound, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gendesign.campaign.coordinator.load_potential_of", lambda config: toys.potential())
    monkeypatch.setattr("gendesign.campaign.coordinator.make_generator", lambda settings, potential: toys.Chains())
    monkeypatch.setattr("gendesign.campaign.coordinator.judge_generator", lambda *given: [])
    assert cli.main(["campaign", str(sound), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gendesign: ") and err.count("\n") == 1 and said in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["campaign"], "give one file.yaml"),
        (["campaign", "missing.yaml"], "missing.yaml does not exist"),
        (["campaign", "experiment=nothing"], "experiment=nothing is unknown"),
        (["campaign", "status"], "give the folder of one campaign"),
        (["campaign", "status", "nowhere"], "no campaign folder"),
        (["campaign", "report", ".", "colour=red"], "colour is unknown"),
        (["campaign", "export", ".", "format=pdf"], "format=pdf is unknown"),
        (["campain", "x"], "did you mean campaign?"),
    ],
)
def test_bad_words_are_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err


def test_help_names_keys_kinds_engines_and_experiments(capsys):
    assert cli.main(["campaign", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("stages.NAME.budget", "xtb", "slurm", "small_molecules"))


def test_the_other_files_of_a_folder_are_left_alone(sound, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("important")
    assert cli.main(["campaign", str(sound)]) == 2
    assert "holds other files" in capsys.readouterr().err


@pytest.mark.parametrize("name", options("campaign"))
def test_the_experiments_that_come_along_are_sound(name):
    from gendesign.campaign.coordinator import _unknown_columns
    from gendesign.campaign.site import run_config

    config = configure(read(experiment(name)))
    of_conditions = {"objective", "host_hydrogen_bonds"}  # columns of the generator's own conditions
    assert {column for _, column in _unknown_columns(config)} <= of_conditions and config.stages
    assert all(run_config(run).n == run.n for run in config.runs)


@pytest.mark.parametrize("name", options("engine"))
def test_the_engines_that_come_along_are_sound(name):
    assert make_engine(engine_of({"engine": name}))


def test_columns_of_checks_are_those_that_molecules_get():
    from ase.build import molecule
    from hydra.utils import instantiate

    from gendesign.campaign.stages import Lent
    from gendesign.run.conf import conf_folder, load
    from gendesign.structure.types import Candidate

    section = load(conf_folder() / "stage" / "checks.yaml")
    checks = ["distances", "convergence", "stability", "validity", "rings", "accessibility", "posebusters"]
    section["screening"] = section["screening"] | {"checks": checks, "posebusters": "mol_fast"}
    stage = instantiate(section, _convert_="all")
    lent = Lent(toys.potential(), toys.Chains, Path())
    made = {verdict.check for verdict in stage.open(lent)([Candidate(molecule("C6H6"), 0)]).verdicts}
    assert made == stage.columns


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "x" * 300, "a\nb", "a b"])
def test_names_cannot_leave_the_folder(name):
    with pytest.raises(UserError):
        safe(name)


def planted(folder, **changes):
    """A campaign's folder that a stranger has changed."""
    content = json.loads((folder / PLAN).read_text())
    (folder / PLAN).write_text(json.dumps(content | changes))


def test_a_strangers_folder_runs_no_code_and_escapes_names(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "campaign"
    content = toys.content(folder, n=10, seeds=[0]) | {"engine": {"use": "local", "workers": 0}}
    Campaign(content, allow=["toys"]).run()
    plan = json.loads((folder / PLAN).read_text())
    evil = {"_target_": "os.system", "command": f"touch {tmp_path}/ran"}
    bad = "<img src=x onerror=alert(1)>"
    steps = [step | {"name": step["name"]} for step in plan["steps"]]
    planted(folder, content=plan["content"] | {"stages": {"x": evil}, "potential": bad})
    monkeypatch.delitem(sys.modules, "toys")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "tests/campaign" not in path])
    for words in (["status"], ["verify"], ["report"], ["export", "format=[sdf,cif,db,csv,optimade,extxyz]"]):
        assert cli.main(["campaign", words[0], str(folder), *words[1:]]) == 0, capsys.readouterr().err
    assert "toys" not in sys.modules and not (tmp_path / "ran").exists()
    page = (folder / "report.html").read_text()
    assert bad not in page and "&lt;img src=x onerror" in page
    for change in (
        {"steps": [steps[0] | {"folder": "../../etc"}, *steps[1:]]},
        {"runs": [plan["runs"][0] | {"name": "/etc"}]},
        {"runs": "none"},
        {"steps": [steps[0] | {"keep": ["__import__('os')"]}]},
    ):
        planted(folder, **change)
        assert cli.main(["campaign", "report", str(folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        planted(folder, **plan)


def test_exports_hold_the_best(tmp_path):
    import ase.db
    from ase.io import read as read_atoms

    from gendesign.campaign.export import EmptyExportError, export, labelling

    folder = tmp_path / "campaign"
    content = toys.content(folder, n=20, seeds=[0]) | {"engine": {"use": "local", "workers": 0}}
    results = Campaign(content, allow=["toys"]).run()
    best = read_atoms(folder / "best.extxyz", index=":")
    assert len(best) == 5 and [atoms.info["index"] for atoms in best] == [1, 2, 3, 4, 5]
    with ase.db.connect(export(results, "db", 3)) as database:
        assert [row.natoms for row in database.select()] == [len(atoms) for atoms in best[:3]]
    lines = [json.loads(line) for line in export(results, "optimade").read_text().splitlines()]
    assert lines[0]["x-optimade"] and lines[1]["attributes"]["nsites"] == len(best[0])
    assert lines[1]["attributes"]["chemical_formula_anonymous"] == "A"
    with pytest.raises(EmptyExportError, match="holds crystals, and none is among the best"):
        export(results, "cif")
    assert export(results, "csv").read_text().count("\n") == 21
    with pytest.raises(SettingsError, match="uncertainty or descriptors"):
        labelling(results.survey, 3)


def test_every_value_of_a_grid_is_judged_before_any_work(sound):
    content = read(sound, ["generators.small.grid={generator.elements: ['[C]','[C,Si]'], seed: [0, 1]}"])
    with pytest.raises(SettingsError, match=r"^generators\.small,elements=_C,Si_,seed=0: .* no Si "):
        _judge(configure(content), load_potential("organic"), [])
