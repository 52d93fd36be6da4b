"""The benchmark of drug-sized molecules, small: a whole table, and what its measures say of known molecules."""

import json

import pytest
from rdkit import Chem

from gendesign import cli
from gendesign.benchmark.druglike import fused_share, passes
from gendesign.benchmark.pockets import complex_rows, complexes, together
from gendesign.benchmark.tally import Tally
from gendesign.errors import UserError
from gendesign.structure.types import Verdict


@pytest.mark.parametrize(
    ("smiles", "good"),
    [
        ("CC(=O)Nc1ccc(C)cc1", True),
        ("C1CCCCCCCCC1", False),  # a ring of ten
        ("C[N+](C)(C)CC(=O)[O-]", False),  # charges
        ("C=CC#N", False),  # an acceptor of Michael additions
        ("C[Si](C)(C)c1ccccc1", False),  # an element
    ],
)
def test_filters_of_moses(smiles: str, good: bool) -> None:
    assert passes(Chem.MolFromSmiles(smiles)) is good


def test_the_molecules_of_moses_pass_their_own_filters() -> None:
    from gendesign.benchmark.druglike import CASES

    molecules = [Chem.MolFromSmiles(text) for text in (CASES / "moses.smi").read_text().split()]
    assert len(molecules) == 200
    assert all(map(passes, molecules))


@pytest.mark.parametrize(
    ("smiles", "share"),
    [("c1ccc2ccccc2c1", 1.0), ("c1ccc(-c2ccccc2)cc1", 0.0), ("CC", 0.0), ("c1ccc2c(c1)CC2C1CC1", 2 / 3)],
)
def test_share_of_fused_rings(smiles: str, share: float) -> None:
    assert fused_share(Chem.MolFromSmiles(smiles)) == pytest.approx(share)


def test_the_table_of_a_tiny_run(tmp_path, capsys) -> None:
    words = [
        f"output={tmp_path / 'out'}", f"record={tmp_path}", "screening=quick", "druglike.sizes=[15]",
        "druglike.attempts=[2]", "druglike.references=2", "generator.steps=20", "generator.particles=2",
        "relaxation.max_steps=40", "workers=1", "druglike.pockets=[]",
    ]  # fmt: skip
    assert cli.main(["benchmark", "druglike", *words]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "druglike.json").read_text())}
    assert rows["15 heavy atoms: strict validity"]["n"] == 2
    assert rows["15 heavy atoms: passes MOSES's filters, MOSES"]["value"] == 1
    assert rows["15 heavy atoms: time in all"]["value"] > 0
    assert "strict validity" in capsys.readouterr().out


def test_sizes_and_attempts_must_match(tmp_path, capsys) -> None:
    assert cli.main(["benchmark", "druglike", f"record={tmp_path}", "druglike.sizes=[15]"]) == 2
    assert "give one number for each of druglike.sizes" in capsys.readouterr().err


def test_rows_of_pockets_count_attempts() -> None:
    def verdicts(check, values):
        return {i: Verdict(i, check, *value) for i, value in enumerate(values)}

    tally = Tally(
        {
            "dock": verdicts("dock", [(True,), (False,), (True,)]),
            "valid": verdicts("valid", [(True,), (False,), (True,)]),
            "shape_tanimoto": verdicts("shape_tanimoto", [(None, 0.8), (None, None), (None, 0.6)]),
        },
        4,
    )
    rows = {row.name: row for row in complex_rows("x", tally)}
    assert rows["x: PoseBusters, config dock"].value == 0.5 and rows["x: PoseBusters, config dock"].n == 4
    assert rows["x: median shape Tanimoto with the ligand"].value == pytest.approx(0.3)  # of 0, 0, 0.6 and 0.8
    both = {row.name: row for row in complex_rows("x", together([tally, tally]))}
    assert both["x: PoseBusters, config dock"].value == 0.5 and both["x: PoseBusters, config dock"].n == 8


def test_complexes_are_hosts_beside_ligands(tmp_path, capsys, monkeypatch) -> None:
    for name in ("a.pdb", "a.sdf", "b.cif", "b.sdf", "c.pdb", "d.sdf"):
        (tmp_path / name).touch()
    assert [(c.name, c.host.name) for c in complexes([str(tmp_path)], tmp_path)] == [("a", "a.pdb"), ("b", "b.cif")]
    with pytest.raises(UserError, match=r"no NAME.pdb beside a NAME.sdf"):
        complexes([str(tmp_path / "nowhere")], tmp_path)
    assert [c.name for c in complexes(["posebusters"], tmp_path / "copies")] == ["1ia1", "1of6", "1s3v", "1uou"]

    def absent(folder):
        raise UserError("this version of PoseBusters has no 1ia1_ligand.sdf")

    monkeypatch.setattr("gendesign.benchmark.pockets.copy_pockets", absent)
    assert complexes(["posebusters"], tmp_path / "copies") == [] and "pockets skipped" in capsys.readouterr().err
