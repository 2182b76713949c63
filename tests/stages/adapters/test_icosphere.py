"""Meshes of the sphere against Euler's formula, counted neighbours, and distances of all pairs."""

import numpy as np
import pytest

from stages.adapters.icosphere import LEVELS, SphereMap, icosphere, icosphere_of
from stages.ground.errors import InputError


@pytest.mark.parametrize("n_vertices", LEVELS)
def test_the_published_meshes(n_vertices):
    sphere = icosphere_of(n_vertices)
    assert len(sphere) == n_vertices and sphere.faces.shape == (2 * n_vertices - 4, 3)
    np.testing.assert_allclose(np.linalg.norm(sphere.vertices, axis=1), 1)
    counts = np.bincount(sphere.faces.reshape(-1), minlength=n_vertices)
    assert sorted(np.unique(counts)) == [5, 6] and (counts == 5).sum() == 12
    # Triangles cover the sphere once, all facing outwards.
    a, b, c = sphere.vertices[sphere.faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    assert (np.einsum("fd,fd->f", normals, a) > 0).all()
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(4 * np.pi, rel=0.08 if n_vertices < 100 else 0.02)


def test_neighbours_are_those_that_share_an_edge():
    sphere = icosphere(7)
    rows = sphere.neighbours
    assert (rows[:, 0] == np.arange(len(sphere))).all()
    edges = {frozenset(pair) for face in sphere.faces.tolist() for pair in zip(face, face[1:] + face[:1])}
    found = {frozenset((row[0], other)) for row in rows.tolist() for other in row[1:] if other != row[0]}
    assert found == edges
    assert ((rows[:, 1:] == rows[:, :1]).sum(axis=1) == (np.bincount(sphere.faces.reshape(-1)) == 5)).all()


def test_the_nearest_vertex_is_the_nearest():
    coarse, fine = icosphere(3).vertices, icosphere(7).vertices
    moved = SphereMap.between(50 * coarse, fine)
    cosines = fine @ coarse.T
    chosen = cosines[np.arange(len(fine)), moved.nearest]
    np.testing.assert_allclose(chosen, cosines.max(axis=1))
    values = np.arange(2 * 92).reshape(2, 92)
    np.testing.assert_array_equal(moved(values), values[:, moved.nearest])
    assert moved(values).dtype == values.dtype


def test_a_map_of_a_coarse_mesh_survives_every_finer_one():
    random = np.random.default_rng(0)
    for coarse, fine in zip(LEVELS, LEVELS[1:]):
        here, there = icosphere_of(coarse).vertices, icosphere_of(fine).vertices
        values = random.standard_normal(coarse)
        again = SphereMap.between(there, here)(SphereMap.between(here, there)(values))
        np.testing.assert_array_equal(again, values)


def test_a_smooth_map_of_the_finest_mesh_survives_the_next():
    fine, coarse = icosphere_of(32492).vertices, icosphere_of(7842).vertices
    smooth = np.sin(5 * fine).sum(axis=1)
    again = SphereMap.between(coarse, fine)(SphereMap.between(fine, coarse)(smooth))
    assert np.corrcoef(smooth, again)[0, 1] > 0.99


def test_what_is_no_sphere_is_said():
    with pytest.raises(InputError, match=r"No icosphere has 100 vertices; they have 10 n\^2 \+ 2, the nearest 92"):
        icosphere_of(100)
    with pytest.raises(InputError, match="n is 0"):
        icosphere(0)
    sphere = icosphere(1).vertices
    with pytest.raises(InputError, match="lies at its centre"):
        SphereMap.between(sphere, np.zeros((1, 3)))
    with pytest.raises(InputError, match=r"shape \(12, 2\); expected \(n_vertices, 3\)"):
        SphereMap.between(sphere[:, :2], sphere)
    with pytest.raises(InputError, match="the source has 12 vertices"):
        SphereMap.between(sphere, sphere)(np.zeros(11))
