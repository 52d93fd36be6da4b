"""Curves and brush strokes as points: lengths, spacings and densities against geometry."""

import numpy as np
import pytest

from gendesign.view.drawing import CHAIN, STEP, brushed, cloud, length, spline, suggested_atoms

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
RING = [[3 * np.cos(a), 3 * np.sin(a), 0.0] for a in ANGLES]


def test_a_closed_curve_through_points_of_a_circle_is_that_circle():
    points = spline(RING, closed=True)
    assert np.abs(np.linalg.norm(points, axis=1) - 3).max() < 0.01
    assert length({"points": RING, "closed": True}) == pytest.approx(6 * np.pi, rel=1e-3)
    gaps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    assert gaps.min() > 0.9 * STEP and gaps.max() < 1.1 * STEP


def test_an_open_curve_ends_at_its_points():
    corners = [[0, 0, 0], [2, 1, 0], [4, 0, 1]]
    points = spline(corners)
    assert np.allclose(points[0], corners[0]) and np.allclose(points[-1], corners[-1])
    assert min(np.linalg.norm(points - corners[1], axis=1)) < STEP
    straight = [[0, 0, 0], [1, 0, 0], [10, 0, 0]]
    assert length({"points": straight}) == pytest.approx(10, rel=1e-3)
    assert len(spline([[1, 2, 3]])) == 1 and len(spline([[1, 2, 3], [1, 2, 3]])) == 1


def test_a_brush_fills_balls_evenly_with_its_density():
    stroke = {"type": "brush", "points": [[0, 0, 0]], "radius": 2.0, "density": 20.0}
    points = brushed(stroke)
    assert len(points) == round(20 * 4 / 3 * np.pi * 8)
    far = np.linalg.norm(points, axis=1)
    assert far.max() <= 2
    assert (far < 2 / 2 ** (1 / 3)).mean() == pytest.approx(0.5, abs=0.03)  # half of the volume
    assert np.abs(points.mean(axis=0)).max() < 0.05
    assert len(brushed({**stroke, "density": 5.0})) == pytest.approx(len(points) / 4, rel=0.01)


def test_suggested_atoms_follow_lengths_and_volumes():
    curve = {"type": "curve", "points": [[0, 0, 0], [12.8, 0, 0]], "closed": False}
    assert suggested_atoms([curve]) == 11  # ten bonds
    assert suggested_atoms([{"type": "curve", "points": RING, "closed": True}]) == round(6 * np.pi / CHAIN)
    few = {"type": "brush", "points": [[0, 0, 0]], "radius": 1.5, "density": 1.0}
    many = {**few, "points": [[x, 0, 0] for x in range(0, 20, 2)]}
    assert suggested_atoms([few]) < suggested_atoms([many])
    assert len(cloud([curve, few])) == len(spline(curve["points"])) + len(brushed(few))
