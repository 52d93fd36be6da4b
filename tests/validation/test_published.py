"""The published values: what is compared is one molecule's, and each row says where its number is from."""

from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from gendesign.structure.types import Row
from scripts.published import __main__ as published
from scripts.published.energies import Difference, symbols_of
from scripts.published.values import CLASSES, FROM_MEMORY, VALUES


def test_values_compare_isomers_of_h_c_n_o():
    for value in VALUES:
        lower, upper = (Chem.AddHs(Chem.MolFromSmiles(c.smiles)) for c in (value.lower, value.upper))
        assert CalcMolFormula(lower) == CalcMolFormula(upper) and symbols_of(value) <= set("HCNO")
        assert value.kind == "isomers" or value.lower.smiles == value.upper.smiles
        for conformation, mol in ((value.lower, lower), (value.upper, upper)):
            for i, j, k, m, _ in conformation.angles:
                bonded = [mol.GetBondBetweenAtoms(*pair) for pair in ((i, j), (j, k), (k, m))]
                assert all(bonded), f"{value.name}: {i}-{j}-{k}-{m} is no chain"
    assert len({(value.kind, value.name) for value in VALUES}) == len(VALUES)


def test_values_from_memory_are_no_part_of_the_verified_classes():
    assert {value.kind for value in VALUES if value.source == FROM_MEMORY} == {CLASSES[-1]}
    verified = [value for value in VALUES if value.source != FROM_MEMORY]
    assert sum(value.kind in CLASSES[:2] for value in verified) >= 15
    assert sum(value.kind == "isomers" for value in verified) >= 8


def test_errors_and_record(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "RECORD", tmp_path / "published.json")
    found = [Difference(value, value.energy + 0.5) for value in VALUES]
    found[0] = Difference(VALUES[0], None, reason="the bond graph changed")
    found[1] = Difference(VALUES[1], VALUES[1].energy - 2, moved=60.0)
    rows = published.energy_rows("mine", found, {"torsion barriers": "<= 0.4"})
    by_name = {row.name: row for row in rows}
    n = sum(value.kind == "torsion barriers" for value in VALUES)
    mean = by_name["mine: torsion barriers, MAE"]
    assert mean.n == n - 1 and abs(mean.value - (0.5 * (n - 2) + 2) / (n - 1)) < 1e-9 and not mean.met
    assert by_name["mine: torsion barriers, minima lost"].value == 1
    published.record("other", [Row("other: isomers, MAE", 1.0, "kcal/mol", 3)])
    published.record("mine", rows)
    published.record("mine", rows)
    text = published.markdown()
    assert f"| {VALUES[1].name} | {VALUES[1].energy:g} | - | {VALUES[1].energy - 2:.2f}* | BHROT27 |" in text
    assert "| isomers, MAE | kcal/mol | 1.00 | 0.50 |" in text
