"""Shapes against lengths, areas and volumes; the prior's spread and direction; the wall around a host."""

from pathlib import Path

import numpy as np
import posebusters
import pytest
import torch
import trimesh
from ase import Atoms
from ase.build import molecule
from hydra.utils import instantiate

from gendesign.errors import UserError
from gendesign.generate.simgen.prior import EllipsoidPrior
from gendesign.generate.simgen.shape import CHAIN, SHEET, VOLUME, ZIGZAG, Circle, Heart, Line, Shell, Torus
from gendesign.generate.simgen.shape_files import (
    Mesh,
    MoleculeShape,
    Pocket,
    PointCloud,
    _largest_room,
    near_each_other,
)
from gendesign.generate.simgen.shape_prior import HostRepulsion, ShapePrior
from gendesign.generate.simgen.state import new_swarm
from gendesign.run.settings import resolve
from gendesign.structure.clouds import FINEST, spacing_for
from gendesign.structure.counter_random import keys

CURVES = [(Line(), False), (Circle(), True), (Heart(), True)]


def swarm_of(sizes, particles=1):
    return new_swarm(torch.tensor(sizes), keys(3, torch.arange(len(sizes))), particles)


@pytest.mark.parametrize(("shape", "closed"), CURVES)
def test_curves_are_as_long_as_the_chain_and_centred(shape, closed):
    points = shape.points(20)
    if closed:
        points = np.vstack([points, points[:1]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    length = steps.sum() if closed else steps.sum() + steps[0]
    assert length == pytest.approx(20 * CHAIN, rel=2e-3)
    assert np.allclose(shape.points(20).mean(0), 0, atol=1e-9) and np.allclose(points[:, 2], 0)


def test_sizes_that_are_given():
    assert np.allclose(np.linalg.norm(Circle(4.0).points(9), axis=1), 4)
    assert np.allclose(np.linalg.norm(Shell(3.0).points(9), axis=1), 3)
    assert np.ptp(Heart(10.0).points(200)[:, 0]) == pytest.approx(10, rel=1e-2)
    atoms = ShapePrior(Line(10.0)).sample(swarm_of([8]), scale=0.0)
    assert np.ptp(atoms[:, 0]) == pytest.approx(10, rel=0.03)  # from the first atom to the last


def test_a_shell_has_the_area_of_its_atoms_everywhere():
    points = Shell().points(30)
    radius = np.linalg.norm(points, axis=1)
    assert np.allclose(4 * np.pi * radius**2, 30 * SHEET)
    for axis in range(3):  # the area of a sphere is even along any axis
        share = np.histogram(points[:, axis] / radius, bins=4, range=(-1, 1))[0] / len(points)
        assert np.abs(share - 0.25).max() < 0.03


def test_a_torus_holds_its_atoms():
    radius, tube = Torus().size(24)
    assert 2 * np.pi**2 * radius * (tube + 1.5) ** 2 == pytest.approx(24 * VOLUME)
    assert Torus(radius=5.0).size(60)[0] == 5.0 and Torus(tube=1.0).size(60)[1] == 1.0
    points = Torus(4.0, 1.5).points(24)
    volume = 2 * np.pi**2 * 4 * 1.5**2
    assert len(points) * spacing_for(volume) ** 3 == pytest.approx(volume, rel=0.1)


@pytest.mark.parametrize("shape", [*(s for s, _ in CURVES), Shell(), Torus()])
def test_the_start_covers_the_shape_evenly(shape):
    swarm = swarm_of([18] * 6 + [11], particles=2)
    prior = ShapePrior(shape)
    start = prior.sample(swarm)
    padded = start.new_full((14, 18, 3), torch.nan)
    padded[swarm.system, swarm.slot] = start
    assert torch.equal(padded[0], padded[1]) and not torch.equal(padded[0], padded[2])  # particles share, molecules not
    for size, atoms in ((18, padded[0]), (11, padded[12, :11])):
        points = torch.as_tensor(shape.points(size))
        apart = torch.cdist(atoms, points)
        owned = torch.bincount(apart.argmin(0), minlength=size).double()
        assert owned.min() > 0 and owned.std() / owned.mean() < 0.6  # random choice: 1 for points on a curve
        assert apart.min(1).values.mean() < 0.55  # blurred by a quarter of the distance between neighbours
    alone = ShapePrior(shape).sample(swarm_of([18]))
    assert torch.allclose(alone, padded[0], atol=1e-12)  # whatever else is in the batch


def test_the_pull_goes_to_the_shape_and_lets_go_at_the_end():
    prior = ShapePrior(Circle(5.0), cover=0.0)
    swarm = swarm_of([12], particles=2)
    start = prior.sample(swarm, scale=0.0)
    outside = prior(swarm.at(1.3 * start), 0.5)
    inside = prior(swarm.at(0.8 * start), 0.5)
    assert ((outside * start).sum(1) < 0).all() and ((inside * start).sum(1) > 0).all()
    assert outside.norm(dim=1).mean() == pytest.approx(prior.strength * (1.5 - ZIGZAG), rel=0.1)  # 1.5 Angstrom off
    assert prior(swarm.at(1.3 * start), 0.0).abs().max() == 0 and prior.fade(0.5) > 0.99


def test_atoms_inside_a_volume_are_left_alone(tmp_path):
    trimesh.creation.icosphere(radius=3.0, subdivisions=3).export(tmp_path / "ball.stl")
    prior = ShapePrior(Mesh(str(tmp_path / "ball.stl")), cover=0.0)
    swarm = swarm_of([50])
    way = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    way /= way.norm(dim=1, keepdim=True)
    inner = swarm.at(way * torch.linspace(0, 2.4, 50)[:, None])
    assert prior(inner, 1.0).norm(dim=1).max() < 0.2
    pull = prior(swarm.at(6.0 * way), 1.0)
    assert ((pull * way).sum(1) < -2 * prior.strength).all()


def test_shares_pull_atoms_apart_until_each_has_its_own():
    prior, swarm = ShapePrior(Circle()), swarm_of([16])
    bunch = prior.sample(swarm) * torch.tensor([1.0, 0.4, 1.0])
    points = torch.as_tensor(Circle().points(16))

    def gap(x):
        return torch.cdist(x, points).amin(0).max()

    x = bunch
    for _ in range(40):
        x = x + 0.03 * prior(swarm.at(x), 1.0)
    assert gap(x) < 0.9 < gap(bunch)


def test_molecule_and_cloud_stay_in_place(tmp_path):
    benzene = molecule("C6H6")
    benzene.positions += [50, 0, 0]
    benzene.write(tmp_path / "benzene.xyz")
    points = MoleculeShape(str(tmp_path / "benzene.xyz")).points(6)
    carbons = benzene.positions[benzene.numbers == 6]
    assert np.linalg.norm(points[:, None] - carbons, axis=-1).min(1).max() <= 0.8
    assert np.linalg.norm(points[:, None] - carbons, axis=-1).min(0).max() <= 0.4
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).normal(7, 2, (5000, 3)))
    cloud = PointCloud(str(tmp_path / "cloud.npy")).points(5)
    assert 300 < len(cloud) <= 600 and np.allclose(cloud.mean(0), 7, atol=0.5)


def cage(radius=7.0, n=400):
    """A hollow sphere of carbon, the simplest host."""
    return Atoms("C" * n, Shell(radius).points(n // 8)[:n])


def test_a_pocket_is_what_the_host_leaves_free(tmp_path):
    host = cage()
    host.write(tmp_path / "host.pdb")
    pocket = Pocket(str(tmp_path / "host.pdb"), centre=(0, 0, 0), contact=3.2, reach=7.0)
    points = pocket.points(200)
    # a ball of radius 7 - 3.2, as the wall is dense, and its innermost part for a small molecule
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(3.8, abs=0.3)
    assert np.linalg.norm(pocket.points(10), axis=1).max() == pytest.approx((75 * 0.75 / np.pi) ** (1 / 3), abs=0.3)
    assert len(pocket.host) == len(host)
    guest = Atoms("CO", [[0, 0, 0.0], [1.2, 0, 0]])
    guest.write(tmp_path / "guest.xyz")
    (host + guest).write(tmp_path / "both.xyz")  # the guest is still in the file of its host
    of_guest = Pocket(str(tmp_path / "both.xyz"), ligand=str(tmp_path / "guest.xyz"), reach=7.0, radius=2.0)
    far = np.linalg.norm(of_guest.points(100)[:, None] - guest.positions, axis=-1).min(1)
    assert far.max() <= 2.0 and len(of_guest.host) == len(host)


def test_the_room_along_a_ligand_is_one_piece():
    data = Path(posebusters.__file__).parent / "datasets" / "pdb" / "1s3v"
    pocket = Pocket(str(data / "1s3v_protein_one_lig_removed.pdb"), ligand=str(data / "1s3v_ligand.sdf"))
    sizes = []
    for n in (5, 9, 15, 27):
        room = pocket.room[: round(n * VOLUME / 2 / FINEST**3)]
        assert len(_largest_room(room, FINEST)) > 0.97 * len(room)  # steps along diagonals count as one piece too
        sizes.append(np.ptp(room, axis=0).max())
    # as long as n atoms are; points near to any atom of the ligand would lie as far apart as its ends, 12 Angstrom
    assert sizes[0] < 6 and sizes[1] < 7 and sizes[-1] > 10


def test_refusals(tmp_path):
    path = str(tmp_path / "host.xyz")
    cage().write(path)

    def said(call):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no point within radius=6.0" in said(lambda: Pocket(path, centre=(0, 0, 0), contact=7.5, reach=8.0))
    assert "no point within" in said(lambda: Pocket(path, centre=(90, 0, 0)))
    assert "either centre=[x,y,z] or ligand=FILE or residue=NAME" in said(lambda: Pocket(path))
    assert "centre=[1,2]: give three numbers" in said(lambda: Pocket(path, centre=("1", "2")))
    assert "reach=-1: give a number above 0, Angstrom" in said(lambda: Pocket(path, centre=(0, 0, 0), reach=-1))
    assert "radius=0: give a number above 0, Angstrom" in said(lambda: Circle(0))
    assert "tube=3 exceeds" in said(lambda: Torus(2, 3))
    assert "no file is given" in said(lambda: Mesh())
    trimesh.creation.box((0.1, 0.1, 0.1)).export(tmp_path / "small.stl")
    assert "0.1 x 0.1 x 0.1 Angstrom holds no point" in said(lambda: Mesh(str(tmp_path / "small.stl")))
    assert "strength=-1" in said(lambda: ShapePrior(Circle(), strength=-1))
    assert "prior.axes=[1.0, 0.0]" in said(lambda: EllipsoidPrior([1.0, 0.0]))


def test_settings_make_the_priors(tmp_path):
    cage().write(tmp_path / "host.xyz")
    path = f"generator.prior.shape.path={tmp_path / 'host.xyz'}"
    words = {"circle": ["generator.prior.shape.radius=4"], "cloud": [path], "molecule": [path]}
    words["pocket"] = [path, "generator.prior.shape.centre=0,0,-0.5"]
    # the defaults of class and file agree
    for name in ("line", "circle", "heart", "shell", "torus", "cloud", "molecule", "pocket"):
        config = resolve("generate", [f"generator/prior={name}", *words.get(name, [])])
        prior = instantiate(config.generator.prior, _convert_="all")
        assert isinstance(prior, ShapePrior) and prior == ShapePrior(prior.shape)
        assert len(prior.shape.points(9))
    axes = resolve("generate", ["generator/prior=anisotropic"]).generator.prior.axes
    assert EllipsoidPrior(axes).gaussian.covariance[0, 0] == 4


def test_the_order_of_points_keeps_neighbours_together():
    points = np.random.default_rng(1).uniform(0, 10, (400, 3))
    ordered = near_each_other(points)
    steps = [np.linalg.norm(np.diff(p, axis=0), axis=1).mean() for p in (points, ordered)]
    assert steps[1] < 0.35 * steps[0] and set(map(tuple, ordered)) == set(map(tuple, points))


def test_the_wall_of_a_host(monkeypatch):
    host = cage(n=800)
    wall = HostRepulsion.of(host)
    swarm = swarm_of([9, 5], particles=2)
    assert not wall(swarm.at(0.1 * torch.ones(28, 3)), 0.5).any()  # far from it there is nothing
    near = swarm.at(swarm.positions + torch.tensor([6.0, 0.3, 0.1]))
    push = wall(near, 0.5)
    assert (push[:, 0] < 0).all() and push.norm(dim=1).max() <= wall.most + 1e-9
    single = HostRepulsion(torch.zeros(1, 3), torch.tensor([6]), torch.tensor([False]), most=100.0)
    at = swarm.at(swarm.positions + torch.tensor([2.0, 0.0, 0.0]))
    contact = 0.95 * 2 * 1.7
    expected = torch.tensor([10 * (contact - 2), 0, 0], dtype=torch.float64).expand(28, 3)
    assert torch.allclose(single(at, 0.1), expected)
    monkeypatch.setattr("gendesign.generate.simgen.shape_prior.PAIRS", 1000)
    assert torch.allclose(wall(near, 0.5), push)
