"""Points from files: grids in meshes against exact volumes, what thinning keeps, one-line refusals."""

import numpy as np
import pytest
import trimesh
from ase import Atoms
from ase.build import molecule
from rdkit import Chem

from gendesign.errors import UserError
from gendesign.structure.clouds import heavy_atoms, inside_mesh, read_cloud, read_mesh, spacing_for, thinned


@pytest.mark.parametrize("suffix", ["stl", "obj", "ply"])
def test_points_inside_a_sphere_fill_its_volume_and_nothing_else(tmp_path, suffix):
    sphere = trimesh.creation.icosphere(radius=4.0, subdivisions=4)
    sphere.apply_translation([30.0, -20.0, 7.0])
    sphere.export(tmp_path / f"sphere.{suffix}")
    points = inside_mesh(read_mesh(tmp_path / f"sphere.{suffix}"), 0.4)
    assert len(points) * 0.4**3 == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.02)
    assert np.linalg.norm(points - [30, -20, 7], axis=1).max() <= 4.0
    assert np.allclose(points.mean(0), [30, -20, 7], atol=0.05)


def test_a_body_that_is_not_convex_and_bodies_that_overlap():
    torus = trimesh.creation.torus(major_radius=4.0, minor_radius=1.5, major_sections=64, minor_sections=48)
    points = inside_mesh(torus, 0.3)
    assert len(points) * 0.3**3 == pytest.approx(2 * np.pi**2 * 4 * 1.5**2, rel=0.02)
    assert np.hypot(np.hypot(*points[:, :2].T) - 4, points[:, 2]).max() <= 1.51  # the faces cut through the inner side
    boxes = [trimesh.creation.box((4, 4, 4)), trimesh.creation.box((4, 4, 4))]
    boxes[1].apply_translation([2, 0, 0])
    both = inside_mesh(trimesh.util.concatenate(boxes), 0.25)
    assert len(both) * 0.25**3 == pytest.approx(6 * 4 * 4, rel=0.1)
    flipped = boxes[0].copy()
    flipped.invert()
    assert np.array_equal(inside_mesh(flipped, 0.25), inside_mesh(boxes[0], 0.25))


def test_large_bodies_get_coarser_grids():
    for radius in (3.0, 30.0):
        sphere = trimesh.creation.icosphere(radius=radius, subdivisions=3)
        assert 0.7 * 600 < len(inside_mesh(sphere)) < 1.05 * 600 or spacing_for(sphere.volume) == 0.5


def test_thinned_points_keep_their_distance_and_leave_no_hole():
    points = np.random.default_rng(0).uniform(0, 5, (500, 3))
    kept = thinned(points, 1.0)
    apart = np.linalg.norm(kept[:, None] - kept[None], axis=-1) + 9 * np.eye(len(kept))
    assert apart.min() >= 1.0 - 1e-6
    assert np.linalg.norm(points[:, None] - kept[None], axis=-1).min(1).max() <= 1.0


def test_clouds_of_every_kind_of_file(tmp_path):
    points = np.array([[0, 0, 0], [1, 2, 3.5]])
    (tmp_path / "a.txt").write_text("# x y z\n0 0 0\n\n1 2 3.5\n")
    (tmp_path / "a.csv").write_text("0,0,0\n1,2,3.5\n")
    np.save(tmp_path / "a.npy", points)
    Atoms("CC", points).write(tmp_path / "a.xyz")
    for name in ("a.txt", "a.csv", "a.npy", "a.xyz"):
        assert np.allclose(read_cloud(tmp_path / name), points)


def test_heavy_atoms_stay_where_they_are_and_may_be_charged(tmp_path):
    ethanol = molecule("CH3CH2OH")
    ethanol.positions += 5
    ethanol.write(tmp_path / "a.xyz")
    assert str(heavy_atoms(tmp_path / "a.xyz").symbols) == "C2O" and heavy_atoms(tmp_path / "a.xyz").positions.min() > 3
    acetate = Chem.MolFromMolBlock(
        "\n  made here\n\n  4  3  0  0  0  0            999 V2000\n"
        "    0.0000    0.0000    0.1000 C   0  0\n    1.5000    0.0000    0.0000 C   0  0\n"
        "    2.1000    1.1000    0.0000 O   0  0\n    2.1000   -1.1000    0.0000 O   0  5\n"
        "  1  2  1  0\n  2  3  2  0\n  2  4  1  0\nM  CHG  1   4  -1\nM  END\n"
    )
    Chem.MolToMolFile(acetate, str(tmp_path / "a.sdf"))
    assert str(heavy_atoms(tmp_path / "a.sdf").symbols) == "C2O2"


def test_refusals(tmp_path):
    def said(call, path):
        with pytest.raises(UserError) as caught:
            call(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    box = trimesh.creation.box((4, 4, 4))
    trimesh.Trimesh(box.vertices, box.faces[1:]).export(tmp_path / "open.stl")
    assert "open mesh (3 of its edges" in said(read_mesh, tmp_path / "open.stl")
    (tmp_path / "text.stl").write_text("nothing of the kind")
    assert "mesh" in said(read_mesh, tmp_path / "text.stl") or "faces" in said(read_mesh, tmp_path / "text.stl")
    (tmp_path / "a.step").write_text("")
    assert "no mesh of a known format; give one of .stl" in said(read_mesh, tmp_path / "a.step")
    for call in (read_mesh, read_cloud, heavy_atoms):
        assert "does not exist" in said(call, tmp_path / "missing.ply")
        assert "is a folder" in said(call, tmp_path)
        assert "no file is given" in said(call, None)
    (tmp_path / "none.txt").write_text("# nothing\n")
    assert "holds no points; give three columns" in said(read_cloud, tmp_path / "none.txt")
    (tmp_path / "two.txt").write_text("1 2\n3 4\n")
    assert "shape (2, 2)" in said(read_cloud, tmp_path / "two.txt")
    (tmp_path / "words.txt").write_text("1 2 x\n")
    assert "cannot be read as points" in said(read_cloud, tmp_path / "words.txt")
    molecule("H2").write(tmp_path / "h2.xyz")
    assert "no heavy atom" in said(heavy_atoms, tmp_path / "h2.xyz")
    (tmp_path / "bad.sdf").write_text("nothing")
    assert "cannot be read as SDF" in said(heavy_atoms, tmp_path / "bad.sdf")
