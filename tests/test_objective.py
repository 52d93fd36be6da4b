"""Objectives: transforms and means by hand, properties by RDKit itself, failures, diversity filters, messages."""

import logging
import math
import pickle

import numpy as np
import pytest
import tiny
from ase import Atoms
from ase.build import molecule
from rdkit import Chem, DataStructs
from rdkit.Chem import QED, AllChem, Crippen, Descriptors, rdMolDescriptors

from gendesign.errors import UserError
from gendesign.objective import NAMED, Component, DiversityFilter, Objective, Transform, build_objective
from gendesign.relaxation import Relaxation, relax

TEXTS = ["CC(=O)O", "c1ccccc1O", "CC(C)CCO", "C1CC1N"]


def embedded(text: str) -> Atoms:
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    AllChem.MMFFOptimizeMolecule(mol)
    return Atoms([a.GetAtomicNum() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


@pytest.fixture(scope="module")
def structures() -> list[Atoms]:
    return [embedded(text) for text in TEXTS]


def heavy(atoms, mol):
    """Share of heavy atoms."""
    return float((atoms.numbers > 1).mean())


def raising_on_nitrogen(atoms, mol):
    if 7 in atoms.numbers:
        raise ZeroDivisionError("no nitrogen, please")
    return 0.5


def nan_on_rings(atoms, mol):
    return math.nan if mol.GetRingInfo().NumRings() else 1.0


@pytest.mark.parametrize(
    ("words", "values", "wanted"),
    [
        ("as_is", [-1, 0, 0.3, 1, 2], [0, 0, 0.3, 1, 1]),
        ("rising 2 4", [1, 2, 2.5, 4, 9], [0, 0, 0.25, 1, 1]),
        ("falling 2 6", [1, 2, 3, 6, 9], [1, 1, 0.75, 0, 0]),
        ("sigmoid 1 3", [-1e9, 1, 2, 3, 1e9], [0, 0.05, 0.5, 0.95, 1]),
        ("reverse_sigmoid 1 3", [1, 2, 3], [0.95, 0.5, 0.05]),
        ("gaussian 2 0.5", [2, 2.5, 1.0], [1, 0.6065306597126334, 0.1353352832366127]),  # e^-1/2, e^-2
        ("range 1 2", [0.99, 1, 2, 2.01], [0, 1, 1, 0]),
        ("above 3", [2.9, 3, 4], [0, 1, 1]),
        ("below 3", [2.9, 3, 4], [1, 1, 0]),
    ],
)
def test_transforms(words, values, wanted):
    found = Transform.read(words)(np.array(values, dtype=float))
    assert found == pytest.approx(wanted, abs=1e-12)
    assert np.isnan(Transform.read(words)(np.array([np.nan]))[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rise 1 2", "allowed are as_is, rising"),
        ("rising 2 2", "low must be less than high"),
        ("range 3 1", "low must be less than high"),
        ("rising 1", "needs 2 finite numbers; write it as rising LOW HIGH"),
        ("gaussian 1 0", "width must be above zero"),
        ("above high", "needs 1 finite numbers"),
        ("sigmoid 0 inf", "finite"),
    ],
)
def test_wrong_bounds_are_one_line(words, said):
    with pytest.raises(UserError, match=said) as error:
        Transform.read(words)
    assert "\n" not in str(error.value)


def test_named_scores_are_those_of_rdkit(structures):
    names = ["qed", "logp", "molecular_weight", "tpsa", "rings", "rotatable_bonds"]
    made = Objective(
        ["qed", *(f"{n} rising 0 200" for n in names[1:]), "similarity CC(=O)O OCC", "substructure [OX2H] above 1"]
    )
    found = made(structures).values
    graphs = [Chem.MolFromSmiles(text) for text in TEXTS]
    functions = [
        QED.qed,
        Crippen.MolLogP,
        Descriptors.MolWt,
        rdMolDescriptors.CalcTPSA,
        rdMolDescriptors.CalcNumRings,
        rdMolDescriptors.CalcNumRotatableBonds,
    ]
    for name, function in zip(names, functions, strict=True):
        assert found[name] == pytest.approx([function(graph) for graph in graphs]), name
    morgan = AllChem.GetMorganGenerator(radius=2, fpSize=2048)
    known = [morgan.GetFingerprint(Chem.MolFromSmiles(text)) for text in ("CC(=O)O", "CCO")]
    wanted = [max(DataStructs.TanimotoSimilarity(morgan.GetFingerprint(g), k) for k in known) for g in graphs]
    assert found["similarity CC(=O)O OCC"] == pytest.approx(wanted) and wanted[0] == 1
    assert found["substructure [OX2H]"].tolist() == [1, 1, 1, 0]


def test_accessibility_is_that_of_screening(structures):
    from gendesign.screening.accessibility import accessibility
    from gendesign.structure.bonds import perceive
    from gendesign.structure.types import Candidate

    found = Objective(["sa_score"])(structures)
    for i, atoms in enumerate(structures):
        score = accessibility(Candidate(atoms, i), perceive(atoms))[0].value
        assert found.values["sa_score"][i] == score and found.by_component["sa_score"][i] == pytest.approx(
            (10 - score) / 9
        )


def test_means_and_penalties_by_hand(structures):
    def third(atoms, mol):
        return 0.3

    def most(atoms, mol):
        return 0.8

    def half(atoms, mol):
        return 0.5

    parts = [Component(third, weight=2.0), Component(most), Component(half, penalty=True)]
    assert Objective(parts)(structures).total == pytest.approx((0.3**2 * 0.8) ** (1 / 3) * 0.5)
    assert Objective(parts, combine="arithmetic")(structures).total == pytest.approx((2 * 0.3 + 0.8) / 3 * 0.5)
    assert Objective([Component(half, penalty=True)])(structures).total == pytest.approx(0.5)
    zero = Component(lambda atoms, mol: 0.0, name="zero")
    assert Objective([*parts, zero])(structures).total.tolist() == [0] * 4
    assert len(Objective(parts)([]).total) == 0


def test_candidates_without_a_molecule_score_nothing_and_are_not_asked(structures):
    asked = []
    made = Objective([Component(lambda atoms, mol: asked.append(mol) or 1.0, name="one")], probe=False)
    bad = [molecule("CH3"), Atoms(), structures[0]]
    found = made(bad)
    assert found.total.tolist() == [0, 0, 1] and found.valid.tolist() == [False, False, True]
    assert len(asked) == 1 and not found.failed.any() and made.failures == {"one": 0}


def test_a_failing_score_is_zero_for_its_candidate_only(structures, caplog):
    parts = [raising_on_nitrogen, nan_on_rings, "qed"]
    made = Objective(parts, combine="arithmetic")
    with caplog.at_level(logging.WARNING):
        found = made([*structures, molecule("CH3")])
        made(structures)
    qed = found.values["qed"][:4]
    assert found.by_component["raising_on_nitrogen"].tolist() == [0.5, 0.5, 0.5, 0, 0]
    assert found.by_component["nan_on_rings"].tolist() == [1, 0, 1, 0, 0]
    assert found.total == pytest.approx([*(np.array([1.5, 0.5, 1.5, 0]) + qed) / 3, 0])
    assert found.failed.tolist() == [False, True, False, True, False]
    assert made.failures == {"raising_on_nitrogen": 2, "nan_on_rings": 4, "qed": 0}
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and all("\n" not in line for line in lines)  # the first failure of each
    assert "C3H7N" in lines[0] and "ZeroDivisionError: no nitrogen, please" in lines[0]


def test_values_outside_are_clipped_with_a_word(structures, caplog):
    made = Objective([Component(lambda atoms, mol: 3.0, name="three")])
    with caplog.at_level(logging.WARNING):
        assert made(structures).total.tolist() == [1] * 4
        made(structures)
    assert [r.getMessage() for r in caplog.records if "clips" in r.getMessage() and "three" in r.getMessage()]
    assert len(caplog.records) == 1


def test_what_a_score_does_to_a_molecule_stays_with_it(structures):
    def spoils(atoms, mol):
        atoms.positions[:] = 0
        atoms.numbers[:] = 1
        return 1.0

    before = structures[0].copy()
    made = Objective([spoils, heavy])
    assert made([structures[0]]).values["heavy"] == pytest.approx([0.5])
    assert structures[0] == before


def test_own_scores_from_files(structures, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def oxygens(atoms, mol):\n    return sum(atoms.numbers == 8)\n\ndef two(a):\n    pass"
    )
    made = Objective([f"{tmp_path}/mine.py:oxygens rising 0 4 weight 2"])
    assert made(structures).total == pytest.approx([0.5, 0.25, 0.25, 0])
    again = pickle.loads(pickle.dumps(made))
    assert again(structures).total == pytest.approx(made(structures).total)
    monkeypatch.syspath_prepend(tmp_path)
    assert Objective(["mine:oxygens below 1"])(structures).total.tolist() == [0, 1, 1, 1]


def own_file(tmp_path, text):
    (tmp_path / "own.py").write_text(text)
    return f"{tmp_path}/own.py"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("qedd", "score 'qedd' is unknown; allowed are qed, sa_score"),
        ("logp", "add a transform, such as 'logp gaussian 2 1'"),
        ("logp rising 2 1", "low must be less"),
        ("qed weight", "'weight' is followed by a wrong number of words"),
        ("qed weight 0", "must be above zero"),
        ("qed weight x", "'x' is not a number"),
        ("qed CCO", "takes no argument"),
        ("qed above 1 below 2", "two of 'transform'"),
        ("similarity C1CC", "is not a SMILES"),
        ("similarity", "needs SMILES"),
        ("substructure [C above 1", "is not one SMARTS"),
        ("strain many below 5", "one number of steps"),
        ({"score": "qed", "wieght": 1}, "wieght"),
        ("nowhere.py:f", "there is no file nowhere.py"),
        ("gendesign.nowhere:f", "cannot be imported"),
        ("gendesign.objective:nothing", "has no nothing"),
        ("gendesign.objective:NAMED", "is a dict, not a function"),
        ("gendesign.structure.identity:ring_sizes", r"takes \(mol.*but is called as \(atoms, mol\)"),
        ("file.py:", "names no function"),
        ("", "names no score"),
        (lambda atoms, mol: None, "failed on ethanol and on benzene"),
        (lambda atoms: 1.0, "is called as"),
    ],
)
def test_mistakes_are_one_line(given, said):
    with pytest.raises(UserError, match=said) as error:
        Objective([given])
    assert "\n" not in str(error.value)


def test_more_mistakes(tmp_path):
    for text, said in (("raise SystemExit(3)", "SystemExit"), ("def f(:", "SyntaxError"), ("x = 1", "has no f")):
        with pytest.raises(UserError, match=said) as error:
            Objective([own_file(tmp_path, text) + ":f"])
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="allowed are geometric, arithmetic"):
        Objective(["qed"], combine="harmonic")
    with pytest.raises(UserError, match="two components are called 'qed'"):
        Objective(["qed", "qed rising 0 0.5"])
    assert len(Objective(["qed", "qed rising 0 0.5 named better"]).components) == 2
    with pytest.raises(UserError, match="needs components"):
        Objective([])
    assert build_objective([]) is None and build_objective(["qed"]).components[0].score == "qed"


def test_diversity_filter_of_scaffolds(structures):
    phenol, toluene, chain, ring = (embedded(t) for t in ("c1ccccc1O", "Cc1ccccc1", "CCO", "C1CC1N"))
    made = Objective([lambda atoms, mol: 0.8], diversity_filter=DiversityFilter(bucket_size=2))
    found = made([phenol, toluene, phenol, chain, ring]).total
    assert found.tolist() == [0.8, 0.8, 0, 0.8, 0.8]  # benzene's bucket was full
    assert made.diversity_filter.hits == {"c1ccccc1": 3, "CCO": 1, "C1CC1": 1}
    assert made([chain], remember=False).total[0] == made([chain]).total[0] == 0.8 and made([chain]).total[0] == 0
    linear = Objective([lambda atoms, mol: 0.8], diversity_filter=DiversityFilter(bucket_size=4, penalty="linear"))
    assert linear([phenol] * 6).total == pytest.approx([0.8, 0.6, 0.4, 0.2, 0, 0])
    low = Objective([lambda atoms, mol: 0.3], diversity_filter=DiversityFilter(bucket_size=1))
    assert low([phenol] * 3).total.tolist() == [0.3] * 3 and not low.diversity_filter.hits


def test_diversity_filter_of_clusters(structures):
    near = [embedded(t) for t in ("CCCCCCO", "CCCCCCCO", "c1ccncc1")]
    made = Objective(
        [lambda atoms, mol: 1.0], diversity_filter=DiversityFilter("cluster", bucket_size=1, min_similarity=0.6)
    )
    assert made(near).total.tolist() == [1, 0, 1] and made.diversity_filter.hits == {"CCCCCCO": 2, "c1ccncc1": 1}


@pytest.mark.parametrize("kind", ["scaffold", "cluster"])
def test_a_resumed_diversity_filter_goes_on_exactly(kind, structures):
    import json

    def fresh():
        return Objective(
            ["qed", nan_on_rings],
            combine="arithmetic",
            diversity_filter=DiversityFilter(kind, bucket_size=3, penalty="linear", min_score=0),
        )

    stream = [structures[i] for i in np.random.default_rng(0).integers(4, size=24)]
    whole = fresh()
    wanted = np.concatenate([whole(stream[:12]).total, whole(stream[12:]).total])
    first = fresh()
    head = first(stream[:12]).total
    second = fresh()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert np.array_equal(np.concatenate([head, second(stream[12:]).total]), wanted)
    assert (
        second.state_dict() == whole.state_dict()
        and pickle.loads(pickle.dumps(second)).state_dict() == whole.state_dict()
    )
    with pytest.raises(UserError, match="another objective"):
        Objective(["qed"]).load_state_dict(whole.state_dict())
    other = Objective(["qed", nan_on_rings], diversity_filter="cluster" if kind == "scaffold" else "scaffold")
    with pytest.raises(UserError, match="saved diversity filter has kind="):
        other.load_state_dict(whole.state_dict())


def test_wrong_memories():
    for wrong, said in (
        ({"kind": "ring"}, "scaffold, cluster"),
        ({"bucket_size": 0}, "1 or more"),
        ({"min_score": 2}, "from 0 to 1"),
    ):
        with pytest.raises(UserError, match=said):
            DiversityFilter(**wrong)


def test_scores_under_a_potential():
    potential = tiny.potential()
    atoms = [tiny.rattled("CH3CH2OH"), molecule("CH3Cl"), tiny.rattled("CH3CH2NH2")]
    made = Objective(["energy falling -5 5", "strain 8 falling 0 100"], potential=potential)
    found = made(atoms)
    known = [atoms[0], atoms[2]]
    energy = potential.evaluate(known).energy.numpy()
    chemical = [sum(tiny.CHEMICAL_POTENTIALS[s] for s in a.symbols) for a in known]
    sizes = np.array([len(a) for a in known])
    assert found.values["energy"][[0, 2]] == pytest.approx((energy - chemical) / sizes)
    end = [c.info["energy"] for c in relax(known, potential, Relaxation(max_steps=8))]
    assert found.values["strain 8"][[0, 2]] == pytest.approx((energy - end) * 23.060548, rel=1e-6)
    assert found.failed.tolist() == [False, True, False] and found.total[1] == 0  # chlorine is unknown to it
    assert made.failures == {"energy": 1, "strain 8": 1}
    assert pickle.loads(pickle.dumps(made))(atoms).total == pytest.approx(found.total)
    with pytest.raises(UserError, match="needs a potential"):
        Objective(["strain below 5"])(atoms)
    with pytest.raises(UserError, match="tiny has no stored uncertainty"):
        Objective(["uncertainty below 0.1"]).under(potential)


def test_a_potential_that_fails_on_one_molecule():
    class Fails:
        name, elements, dtype = "fails", ("H", "C", "O"), None
        formation = staticmethod(lambda structures, energies: np.array(energies))

        def evaluate(self, structures, **_):
            if any(len(a) > 10 for a in structures):
                raise RuntimeError("too large")
            return type("P", (), {"energy": np.array([float(len(a)) for a in structures])})

    made = Objective(["energy rising 0 2"], potential=Fails(), probe=False)
    found = made([molecule("CH4"), molecule("C6H6"), molecule("H2O")])
    assert found.values["energy"].tolist()[::2] == [1, 1] and found.failed.tolist() == [False, True, False]


def test_a_diversity_filter_of_molecules_counts_each_by_itself():
    objective = Objective(["valid"], diversity_filter=DiversityFilter("molecule", bucket_size=2))
    ethanol, ether, broken = molecule("CH3CH2OH"), molecule("CH3OCH3"), Atoms("CH", [[0, 0, 0], [0, 0, 1.1]])
    assert objective([ethanol, ether, ethanol, broken, ethanol]).total.tolist() == [1, 1, 1, 0, 0]


def test_every_named_score_has_a_sensible_default_or_asks():
    shaped = {name for name, known in NAMED.items() if known.transform is not None}
    assert shaped == {"qed", "sa_score", "similarity", "valid"}


def test_keys_of_the_command_line():
    from hydra.utils import instantiate

    from gendesign.run.settings import resolve

    def made(*words):
        return instantiate(resolve("generate", words).generator.objective, _convert_="all")

    assert made() is None
    words = "generator.objective.components=[qed, substructure [C,N]=O above 1, logp gaussian 2 1 weight 0.5]"
    own = made(words, "generator.objective.combine=arithmetic")
    assert [c.name for c in own.components] == ["qed", "substructure [C,N]=O", "logp"]
    assert own.components[2].weight == 0.5 and own.combine == "arithmetic"
    assert [c.score for c in made("generator/objective=druglike").components] == ["qed", "sa_score"]


def test_another_text_of_an_own_score_is_another_run(tmp_path):
    from gendesign.run.identity import identify
    from gendesign.run.settings import resolve

    def digests():
        config = resolve("generate", [f"generator.objective.components=[qed, {path}:f rising 0 1]"])
        return identify([], config)["files"]

    path = tmp_path / "own.py"
    path.write_text("def f(atoms, mol):\n    return 1.0\n")
    first = digests()
    path.write_text("def f(atoms, mol):\n    return 0.5\n")
    assert first.keys() == digests().keys() == {str(path)} and first != digests()
