"""The generator as a whole, with a tiny untrained potential: the same again, whatever the batch; one-line refusals."""

import ase.io
import numpy as np
import pytest
import tiny
import torch
from ase.build import molecule

from gendesign.errors import UserError
from gendesign.generate.simgen import SimGen
from gendesign.generate.simgen.finish import Finish
from gendesign.structure.counter_random import keys


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.extxyz"
    ase.io.write(path, [molecule(name) for name in ("CH3CH2OH", "CH3CONH2", "CH3NO2", "C2H6", "CH3CH2NH2", "SiH4")])
    return str(path)


@pytest.fixture(scope="module")
def simgen(reference):
    few = Finish(finalists=1, rough_steps=1, sweeps=0)
    return SimGen(
        tiny.potential(),
        n_heavy_atoms="3-4",
        reference=reference,
        steps=8,
        particles=4,
        families=2,
        swap_every=2,
        finishing=few,
    )


def test_the_same_seed_gives_the_same_candidates(simgen):
    first, second = list(simgen.generate(range(4), seed=7)), list(simgen.generate(range(4), seed=7))
    assert [c.index for c in first] == [0, 1, 2, 3] and all(c.seed == 7 for c in first)
    for a, b in zip(first, second, strict=True):
        assert a.failure == b.failure and a.atoms == b.atoms and a.info == b.info
        assert a.failure is not None or a.history == ("sampled", "hydrogenated")
    assert all(c.failure is None or c.failure.startswith("no molecule: ") for c in first)


def test_a_candidate_depends_on_its_index_alone(simgen):
    index = torch.arange(5)
    sizes = torch.tensor([3, 4, 4, 3, 4])
    together, _, wanted, references, *_ = simgen.sample(sizes, keys(7, index))
    single, _, own_wanted, own_references, *_ = simgen.sample(sizes[2:3], keys(7, index[2:3]))
    own = together.molecule // simgen.families == 2
    assert torch.equal(wanted[2:3], own_wanted) and wanted.sum(1).tolist() == [3, 4, 4, 3, 4]
    assert torch.equal(references[2:3], own_references)
    assert torch.equal(together.numbers[own], single.numbers)
    assert torch.allclose(together.positions[own], single.positions, rtol=0, atol=1e-6)
    (alone,) = simgen.generate([2], seed=7)
    batch = list(simgen.generate(range(4), seed=7))[2]
    assert alone.failure == batch.failure and str(alone.atoms.symbols) == str(batch.atoms.symbols)
    np.testing.assert_allclose(alone.atoms.positions, batch.atoms.positions, atol=1e-5)


def test_references_hold_allowed_elements_only(simgen, reference):
    assert len(simgen.problem.skeletons) == 5 and all(
        set(a.symbols) <= {"C", "N", "O"} for a in simgen.problem.skeletons
    )
    assert len(SimGen(tiny.potential(), elements=("C",), reference=reference).problem.skeletons) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_heavy_atoms": "12-5"}, "runs backwards"),
        ({"n_heavy_atoms": 0}, "begin at 1"),
        ({"n_heavy_atoms": "many"}, "is not a count"),
        ({"elements": ()}, "generator.elements=.*give at least one of C"),
        ({"elements": ("C", "Xx")}, "generator.elements=.*allowed are C, N"),
        ({"elements": ("C", "S")}, "does not know S; it knows H C N O"),
        ({"steps": 1}, "generator.steps=1: give a whole number of 2 or more"),
        ({"particles": 0}, "generator.particles=0"),
        ({"particles": 4, "families": 3}, "generator.families=3 must divide generator.particles=4"),
        ({"swap_every": 0}, "generator.swap_every=0"),
        ({"max_atoms": 0}, "generator.max_atoms=0"),
        ({"reference": "missing.xyz"}, "missing.xyz"),
        ({"reference": __file__}, "test_simgen.py"),
        ({"elements": ("N",)}, "holds no molecule of N only"),
    ],
)
def test_wrong_settings_are_one_line(reference, wrong, said):
    with pytest.raises(UserError, match=said) as refused:
        SimGen(tiny.potential(), **{"reference": reference, **wrong})
    assert "\n" not in str(refused.value)


def test_workers_may_help_with_what_needs_no_potential(simgen):
    from gendesign.processes import Pool

    def made(**own):
        done = simgen.generate(range(2), seed=1, **own)
        return [(c.failure, c.atoms.numbers.tolist(), c.atoms.positions.tolist()) for c in done]

    with Pool(2, preload=("gendesign.generate.simgen.proposals",)) as pool:
        assert made(spread=pool) == made()
