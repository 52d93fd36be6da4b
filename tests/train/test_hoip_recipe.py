"""The recipe of `hoip` (scripts/hoip): k-points, the labels that are shipped, and lattices of the teacher."""

import gzip
import re
from functools import partial

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem

from scripts.hoip import (
    cations,
    cells,
    disagreements,
    extra_cations,
    finetune,
    gather,
    label,
    relaxation_paths,
    search_results,
    streams,
    structures,
    teachers,
)

FIRST = streams.STREAMS["disagreements"].start


def test_a_layer_and_its_supercell_have_the_same_points():
    kpoints = teachers.kpoints
    layer = Atoms("PbC", cell=[6.2, 6.2, 13.8], pbc=True)
    assert kpoints(layer, 4.0) == (5, 5, 1)  # 2 pi / 6.2 Angstrom is 1.01; stacked, one point
    assert kpoints(layer.repeat((2, 2, 1)), 4.0) == (3, 3, 1)
    assert kpoints(Atoms("Pb", cell=[6.2, 6.2, 6.2], pbc=True), 4.0) == (5, 5, 5)
    assert kpoints(Atoms("Pb", cell=[6.2, 12.6, 6.2], pbc=True), 4.0)[1] == 2
    assert kpoints(Atoms("Pb", cell=[6.2, 6.2, 12.6], pbc=True), 4.0)[2] == 2  # nothing keeps its layers apart
    density = teachers.usual_density
    assert [density(Atoms(formula)) for formula in ("CsPbI3", "CsPbI3CH6N", "PbI2", "CsI", "CH6NI")] == [6, 4, 4, 2, 2]


def test_packed_labels_come_back(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gather, "FOLDER", tmp_path)
    gather.unpack()
    shards = sorted((tmp_path / "dft").glob("shard-*.extxyz"))
    before = gather.read_frames(shards)
    assert len(before) == len(shards) >= 50 and f"{len(shards)} of {len(shards)}" in capsys.readouterr().out
    monkeypatch.setattr(gather, "PACKED", tmp_path / "again.extxyz.gz")
    gather.pack()
    shards[3].unlink()
    gather.unpack()
    assert f"1 of {len(shards)}" in capsys.readouterr().out
    (back,) = gather.read_frames([shards[3]])
    assert back == before[3] and back.get_potential_energy() == before[3].get_potential_energy()
    assert np.array_equal(back.get_forces(), before[3].get_forces())


@pytest.mark.parametrize("words", ["", "foo 1 2", "dft small 3", "visited 0 -4", "atoms 3", "again 1"])
def test_what_cannot_be_labelled_is_said_in_one_line(words):
    with pytest.raises(SystemExit, match=f"{words}: give search-results, .*such as visited 0 40; .*or again"):
        label.main(*words.split())


def test_shipped_labels_are_enough_to_measure_by(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gather, "FOLDER", tmp_path)
    gather.unpack()
    gather.gather()
    test, train = (gather.read_frames([tmp_path / f"dft-{name}.extxyz"]) for name in ("test", "train"))
    assert len(test) >= 15 and len(train) >= 70 and not (tmp_path / "rough-replay.extxyz").exists()
    assert not {f.info["molecule"] for f in test} & {f.info["molecule"] for f in train}


def test_replayed_labels_compare_with_those_of_the_teacher():
    def frame(symbols: str, energy: float, **info) -> Atoms:
        atoms = Atoms(symbols, positions=np.arange(3 * len(Atoms(symbols))).reshape(-1, 3), info=info)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((len(atoms), 3)))
        return atoms

    # the teacher has 10 eV more for every Cs and 2 less for every I
    taught = [frame("CsI", 5.0, rough_energy=-3.0), frame("Cs2I", 10.0, rough_energy=-8.0)]
    (moved,) = gather.moved_to_dft([frame("CsI3", -1.0)], taught)
    assert moved.get_potential_energy() == pytest.approx(-1.0 + 10 - 6) and moved.get_forces().shape == (4, 3)


def test_shipped_labels_are_whole_and_of_one_teacher():
    held_out = cations.HELD_OUT + cations.FRESH
    with gzip.open(gather.PACKED, "rt") as handle:
        frames = [frame for frame in ase.io.read(handle, ":", format="extxyz") if "failure" not in frame.info]
    points = re.compile(r"k [246]/Angstrom")  # salts have half as many, caesium perovskites half more
    assert len({points.sub("", frame.info["teacher"]) for frame in frames}) == 1
    assert len({frame.info["stream"] for frame in frames}) == len(frames)
    for frame in frames:
        forces = frame.get_forces()
        assert np.isfinite(forces).all() and np.isfinite(frame.get_stress()).all() and np.abs(forces).max() < 30.0
        # the grid moves nitrogen a little; a net force beyond that would be a label of another structure
        assert np.linalg.norm(forces.sum(0)) < 0.1 * len(frame)
        assert frame.info["held_out"] == any(smiles in frame.info["molecule"].split() for smiles in held_out)


def test_the_wide_part_of_the_stream_takes_its_cations_in_turn():
    names = cations.BROAD + cations.FRESH
    first = structures.WIDE.start
    picked = (0, 7, len(names) - 1, len(names) + 7)
    made = [structures.structure(first + i) for i in picked]
    assert [one.info["molecule"] for one in made] == [names[i % len(names)] for i in picked]
    assert all(len(one) <= structures.WIDE_MOST for one in made)
    assert [one.info["held_out"] for one in made] == [False, False, True, False]
    # what was held out later is neither trained nor in the first measure
    assert [len(part) for part in gather.split(made).values()] == [3, 0, 1, 0]


def test_metallic_crystals_are_not_learned_from_but_stay_in_the_measure():
    def frame(entropy: float, held_out: bool) -> Atoms:
        return Atoms("CsI", info={"molecule": "CCC[NH3+]", "held_out": held_out, "entropy": entropy})

    sets = gather.split([frame(-0.04, False), frame(-1e-5, False), frame(-0.04, True)])
    assert {name: len(part) for name, part in sets.items()} == {"train": 1, "test": 1, "fresh": 0, "metallic": 1}


def test_entropy_of_electrons_is_read():
    output = """
 *** SCF run converged in    13 steps ***
  Electronic entropic energy:                                  -0.00027736638403
 ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]              -48.814199491982
      1      1      H           0.00000000      0.00000000      0.00100000
 STRESS| Analytical stress tensor [GPa]
 STRESS|                        x                   y                   z
 STRESS|      x        1.0    0.0    0.0
 STRESS|      y        0.0    1.0    0.0
 STRESS|      z        0.0    0.0    1.0
"""
    assert teachers.parsed(output, 1)["entropy"] == pytest.approx(-0.00755, abs=1e-5)
    assert teachers.parsed(output.replace("Electronic entropic", "No"), 1)["entropy"] == 0.0


def test_searches_to_learn_from_have_no_cation_that_is_held_out():
    chosen = search_results.small_enough()
    assert len(set(chosen)) == len(chosen) > 50 and not {*chosen} & {*cations.HELD_OUT, *cations.FRESH}
    assert "c1ccccc1C[NH3+]" in chosen and "c1ccccc1CCC[NH3+]" not in chosen  # 41 and 53 atoms


def test_no_cation_is_both_trained_and_held_out():
    names = [*cations.TRAINED, *cations.BROAD, *cations.SMALL, *cations.HELD_OUT, *cations.FRESH]
    molecules = [Chem.MolFromSmiles(smiles) for smiles in names]
    assert len({Chem.MolToSmiles(molecule) for molecule in molecules}) == len(names)
    assert all(Chem.GetFormalCharge(molecule) in (1, 2) for molecule in molecules)


def test_cations_put_together_are_ions_and_none_is_held_out():
    made = extra_cations.combined_cations()
    molecules = [Chem.MolFromSmiles(smiles) for smiles in made]
    assert len(set(made)) == len(made) > 1000
    assert all(Chem.GetFormalCharge(molecule) in (1, 2) for molecule in molecules)
    held_out = {Chem.CanonSmiles(smiles) for smiles in cations.HELD_OUT + cations.FRESH}
    assert not held_out & set(made)
    # the heads, chains and tails do reach them: it is the check that keeps them away
    assert "[NH3+]CC" + "C=C" not in map(Chem.CanonSmiles, made) and Chem.CanonSmiles("[NH3+]CCC=C") in made
    first, again = (structures.structure(structures.EXTRA.start + 5) for _ in range(2))
    assert first == again and len(first) <= structures.EXTRA_MOST and not first.info["held_out"]


def test_relaxation_paths_lead_downhill_and_carry_their_dispersion(monkeypatch):
    argon = partial(LennardJones, sigma=3.4, epsilon=0.0103, rc=6.0, smooth=True)

    def evaluated(structures, *_):
        for atoms in structures:
            atoms.calc = argon()
        return [(a.get_potential_energy(), a.get_forces(), a.get_stress()) for a in structures]

    class Pool:
        def map(self, function, things, chunksize=1):
            return map(function, things)

    def start(k: int) -> Atoms:
        atoms = bulk("Ar", "fcc", a=5.0 + 0.1 * k, cubic=True)
        atoms.rattle(0.1, seed=k)
        atoms.info = {"kind": "none", "molecule": "Ar", "held_out": k == 2, "stream": k}
        return atoms

    constant = {"energy": -0.5, "forces": np.zeros((4, 3)), "stress": np.full(6, 0.01)}
    monkeypatch.setattr(relaxation_paths, "evaluated", evaluated)
    monkeypatch.setattr(relaxation_paths, "structure", start)
    monkeypatch.setattr(relaxation_paths, "dispersion", lambda atoms: constant)
    monkeypatch.setattr(relaxation_paths, "PRESSURES", (0.0,))
    model = torch.nn.Linear(1, 1)
    model.set_is_batch_data = lambda _: None
    given = type("C", (), {"model": model, "cutoff": 5.0})(), {18: 2.0}
    monkeypatch.setattr(relaxation_paths, "tuned_universal", lambda _: given)
    found = relaxation_paths.shard(0, 4, Pool())
    for k in (0, 1, 3):
        own = [frame for frame in found if frame.info["stream"] == k]
        energies = [frame.info["energy"] for frame in own]
        assert energies[0] > energies[1] > energies[-2] < energies[-1]  # shaken at the end
        for frame in own:
            bare = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True, calculator=argon())
            assert frame.info["energy"] == pytest.approx(bare.get_potential_energy() - 0.5 + 4 * 2.0)
            assert frame.info["stress"] == pytest.approx(bare.get_stress() + 0.01)
    assert {frame.info["stream"] for frame in found} == {0, 1, 3}


def test_structures_to_train_on_are_labelled_again_by_the_tuned_potential(monkeypatch, tmp_path):
    monkeypatch.setattr(label, "FOLDER", tmp_path)
    argon = partial(LennardJones, sigma=3.4, epsilon=0.0103, rc=6.0)
    monkeypatch.setattr(label, "Universal", lambda weights: argon())
    (tmp_path / "visited").mkdir()
    frames = []
    for i in range(2 * label.THIN + 1):
        atoms = bulk("Ar", "fcc", a=5.2 + 0.1 * i)
        atoms.set_array("rigid", np.array([-1]))
        atoms.info = {"kind": "none", "molecule": "Ar", "held_out": False, "stream": 3, "stage": "way"}
        atoms.info |= {"energy": 0.0, "teacher": "before"}
        atoms.arrays["forces"] = np.zeros((1, 3))
        frames.append(atoms)
    frames[label.THIN].info["held_out"] = True
    label.write_frames(tmp_path / "visited" / "shard-00003.extxyz", frames)
    found = label.tuned_shard(label.VISITED + 3)
    lengths = [frame.cell.lengths()[0] * 2**0.5 for frame in found]
    taken = [frame for frame in frames if not frame.info["held_out"]][:: label.THIN]
    assert lengths == pytest.approx([frame.cell.lengths()[0] * 2**0.5 for frame in taken])
    for frame in found:
        bare = Atoms(
            frame.numbers, cell=frame.cell, pbc=True, calculator=LennardJones(sigma=3.4, epsilon=0.0103, rc=6.0)
        )
        assert frame.info["energy"] == pytest.approx(bare.get_potential_energy())
        assert frame.info["stress"] == pytest.approx(bare.get_stress()) and "tuned" in frame.info["teacher"]


@pytest.mark.parametrize("words", ["dft small 0 -4", "dft nowhere 0 4", "tuned wide 4 4", "rough small 0 20001"])
def test_streams_are_named_with_their_range(words):
    with pytest.raises(SystemExit, match=words.split(maxsplit=1)[1]):
        label.main(*words.split())
    assert streams.numbers_of("wide", "0", "304") == range(20_000, 20_304)
    assert len(set(streams.Draw)) == len({stream.random() for stream in (streams.stream(d, 7) for d in streams.Draw)})


def test_what_the_fits_and_their_teacher_disagree_about_is_labelled(monkeypatch, tmp_path, capsys):

    def crystal(energy: float, molecule: str, kind: str = "salt", repeat: int = 2, force: float = 0.0) -> Atoms:
        atoms = bulk("Ar", "fcc", a=5.2).repeat((2, 2, repeat))
        forces = np.zeros((len(atoms), 3))
        forces[0, 0] = force
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=np.zeros(6))
        atoms.info = {"molecule": molecule, "kind": kind}
        return atoms

    out = [crystal(0.0, "layer", "layered"), crystal(0.0, "large", repeat=7), crystal(0.0, "violent", force=3.0)]
    given = [crystal(0.0, "a"), crystal(-8.0, "a"), crystal(-4.0, "b"), crystal(0.0, "known", "pair")]
    by_fit = {0.0: [0.1, 0.9, 0.5, 2.0], 0.2: [0.3, 1.3, 0.5, 2.0]}  # eV per atom off

    def off(net, data, batch_size):
        assert len(data) == len(given)  # the others are no salts and pairs, large or violent
        return {i: {"energy": np.array([value])} for i, value in enumerate(by_fit[net])}

    monkeypatch.setattr(disagreements, "load_mace", lambda fit, device: type("P", (), {"net": float(fit)}))
    monkeypatch.setattr(disagreements, "deviations", off)
    assert disagreements.disagreement(given, ["0.0", "0.2"]) == pytest.approx([0.2 + 0.2, 1.1 + 0.4, 0.5, 2.0])
    for module in (label, disagreements):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
        monkeypatch.setattr(module, "DISAGREEMENTS", tmp_path / "disagreements.extxyz")
    monkeypatch.setattr(disagreements, "EVERY", 1)
    ase.io.write(tmp_path / "tuned-train.extxyz", [*given, *out])
    (tmp_path / "dft").mkdir()
    label.write_frames(tmp_path / "dft" / f"shard-{FIRST + 4}.extxyz", [given[3]])
    disagreements.main(["0.0", "0.2"])
    assert "label dft disagreements 5 7" in capsys.readouterr().out
    results = {"energy": -1.0, "stress": np.zeros(6), "scf_steps": 9, "entropy": 0.0}
    monkeypatch.setattr(label, "cp2k", lambda atoms: {**results, "forces": 0 * atoms.positions, "teacher": "CP2K"})
    monkeypatch.setattr(label, "Universal", partial(LennardJones, sigma=3.4, epsilon=0.0103, rc=6.0))
    (worst,), (second,) = (label.dft_shard(FIRST + k) for k in (5, 6))
    assert [frame.info["molecule"] for frame in (worst, second)] == ["a", "b"] and worst.info["energy"] == -1.0
    assert second.info["stream"] == FIRST + 6 and second.info["stage"] == "disagreement"
    assert worst.info["rough_energy"] < 0 and not worst.info["held_out"]
    assert label.dft_shard(FIRST + 7) == []
    searches = streams.STREAMS["searches"].start
    assert [label.search_of(k) for k in (searches - 1, searches + 5, FIRST)] == [None, 2, None]


def test_elements_make_up_for_another_zero_of_energy(monkeypatch):
    monkeypatch.setattr(finetune, "predicted", lambda model, graphs: (torch.tensor([-1.0 * len(graphs[0].numbers)]),))
    numbers = [[55, 53], [55, 55, 53], [55, 53, 53, 53]]
    graphs = [finetune.Graph(np.array(z), None, None, 1.0) for z in numbers]
    cases = [
        finetune.Case(graph, -1.0 * len(z) + 7 * z.count(55) - 2 * z.count(53), None, None)
        for graph, z in zip(graphs, numbers, strict=True)
    ]
    assert finetune.element_energies(None, cases) == pytest.approx({55: 7.0, 53: -2.0})


def test_lattices_of_the_teacher_are_its_own_minima(monkeypatch):
    calls = []

    def taught(atoms):  # argon that is 2 % larger than the potential thinks
        work = atoms.copy()
        work.calc = LennardJones(sigma=3.4 * 1.02, epsilon=0.0103, rc=9.0, smooth=True)
        calls.append(1)
        return {
            "energy": work.get_potential_energy(), "forces": work.get_forces(), "stress": work.get_stress(),
            "teacher": "argon",
        }  # fmt: skip

    monkeypatch.setattr(cells, "cp2k", taught)
    monkeypatch.setattr(cells, "STRESS", 0.02)
    start = bulk("Ar", "fcc", a=5.2, cubic=True)
    start.rattle(0.05, seed=1)
    start.info["material"] = "argon"
    *_, found = cells.relaxed(start, LennardJones(sigma=3.4, epsilon=0.0103, rc=9.0, smooth=True))
    lengths = np.arange(5.2, 5.6, 0.002)
    energies = [taught(bulk("Ar", "fcc", a=a))["energy"] for a in lengths]
    assert found.cell.lengths() == pytest.approx(lengths[int(np.argmin(energies))], abs=0.03)
    assert found.info["calls"] <= 8 and found.info["fmax"] < cells.FMAX
    assert found.info["stress_max"] == pytest.approx(np.abs(taught(found)["stress"]).max() / units.GPa)
    before = len(calls)
    next(cells.relaxed(found, LennardJones(sigma=3.4, epsilon=0.0103, rc=9.0, smooth=True)))
    assert len(calls) == before  # what is known of a crystal is not asked again


def test_the_better_crystal_of_the_teacher_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "OUT", tmp_path / "cells.extxyz")
    monkeypatch.setattr(cells, "load_potential", lambda *_, **__: type("P", (), {"as_ase": lambda self: None})())

    def on_the_way(atoms, potential):
        for number, fmax in enumerate((0.5, 0.2, 0.4)):
            yield Atoms("Ar", cell=[5] * 3, pbc=True, info={"material": "argon", "fmax": fmax, "stress_max": 0.0,
                                                            "calls": number})  # fmt: skip

    monkeypatch.setattr(cells, "relaxed", on_the_way)
    given = tmp_path / "given.extxyz"
    ase.io.write(given, Atoms("Ar", cell=[5] * 3, pbc=True, info={"material": "argon"}))
    cells.main(str(given))
    assert ase.io.read(cells.OUT).info["fmax"] == 0.2
