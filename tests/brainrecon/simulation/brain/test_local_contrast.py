import numpy as np
import pytest

from brainrecon.simulation.brain.local_contrast import (
    CELL_DEGREES,
    SIGNAL_TO_NOISE,
    LocalContrastCortex,
    cell_weights,
    grow_early_cortex,
)


@pytest.fixture(scope="module")
def cortex():
    anatomy = grow_early_cortex(1000, np.random.default_rng(0))
    return LocalContrastCortex(anatomy, np.random.default_rng(1))


def centres():
    """(x, y) of every cell in degrees, rows from the top."""
    along = (np.arange(10) - 4.5) * CELL_DEGREES
    return np.repeat(along[None], 10, 0).ravel(), np.repeat(-along[:, None], 10, 1).ravel()


def test_weights_are_the_integral_of_a_gaussian_over_a_cell():
    x, y, size = np.array([0.3, -4.1, 7.0]), np.array([1.2, 5.0, -7.0]), np.array([0.6, 1.5, 0.8])
    fine = 60
    along = ((np.arange(10 * fine) + 0.5) / fine - 5) * CELL_DEGREES
    step = CELL_DEGREES / fine
    for voxel, weights in enumerate(cell_weights(x, y, size).T):
        right, up = np.meshgrid(along, -along)
        field = np.exp(-((right - x[voxel]) ** 2 + (up - y[voxel]) ** 2) / 2 / size[voxel] ** 2)
        field *= step**2 / (2 * np.pi * size[voxel] ** 2)
        expected = field.reshape(10, fine, 10, fine).sum(axis=(1, 3)).ravel()
        np.testing.assert_allclose(weights, expected, atol=5e-5)
    assert cell_weights(x, y, size).sum(axis=0).max() <= 1


def test_a_voxel_responds_most_to_the_cell_in_its_field(cortex):
    single = np.eye(100).reshape(100, 10, 10)
    best = cortex.respond(single).argmax(axis=0)
    x, y = centres()
    half = 5 * CELL_DEGREES
    inside = (abs(cortex.x) < half) & (abs(cortex.y) < half)
    assert inside.mean() > 0.8
    for found, wanted in ((x[best], cortex.x), (y[best], cortex.y)):
        assert np.abs(found - wanted)[inside].max() <= CELL_DEGREES / 2 + 1e-3


def test_fields_are_dense_and_small_at_the_centre_of_gaze(cortex):
    eccentricity = np.hypot(cortex.x, cortex.y)
    density = [
        np.count_nonzero((eccentricity >= low) & (eccentricity < high)) / (high**2 - low**2)
        for low, high in ((0, 1), (1, 2), (2, 4), (4, 8))
    ]
    assert density == sorted(density, reverse=True) and density[0] > 5 * density[2]
    for area in ("V1", "V2", "V3"):
        own = cortex.areas == area
        assert np.corrcoef(cortex.size[own], eccentricity[own])[0, 1] > 0.6
    medians = [np.median(cortex.size[cortex.areas == area]) for area in ("V1", "V2", "V3")]
    assert medians == sorted(medians) and medians[0] < medians[2] / 1.5


def test_magnification_follows_horton_and_hoyt():
    """The share of the cortex within an eccentricity, against a sum over thin rings."""
    eccentricity = np.sort(grow_early_cortex(3000, np.random.default_rng(0)).eccentricity)
    edges = np.linspace(0, 8.5, 5001)
    middles = (edges[1:] + edges[:-1]) / 2
    rings = middles * (17.3 / (middles + 0.75)) ** 2
    share = np.cumsum(rings) / rings.sum()
    for limit in (0.5, 1, 2, 4, 6):
        found = np.mean(eccentricity < limit)
        assert found == pytest.approx(share[np.searchsorted(middles, limit)], abs=0.02)


def test_responses_grow_with_contrast_but_less_and_less(cortex):
    """Cells are switched on one by one: a response never falls within the field, and the sum is compressed."""
    voxel = int(np.argmax((cortex.areas == "V3") * cortex.fields.sum(axis=0)))
    order = np.argsort(-cortex.fields[:, voxel])
    patterns = np.array([np.isin(np.arange(100), order[:k]) for k in range(30)]).reshape(-1, 10, 10)
    answers = cortex.respond(patterns)[:, voxel]
    drive = np.array([cortex.fields[order[:k], voxel].sum() for k in range(30)])
    assert answers[0] == pytest.approx(cortex.baseline[voxel], abs=1e-5)
    slope = np.diff(answers[:8]) / np.diff(drive[:8])
    assert (np.diff(answers[:8]) > 0).all() and slope[0] > 1.5 * slope[-1]


def test_contrast_around_the_field_holds_a_voxel_back(cortex):
    """In the middle of the field; the far cells add next to nothing to the drive of a small field."""
    voxel = int(np.argmin(np.hypot(cortex.x, cortex.y)))
    middle = np.zeros((10, 10))
    middle[3:7, 3:7] = 1
    alone, among = cortex.respond(np.stack([middle, np.ones((10, 10))]))[:, voxel]
    assert cortex.baseline[voxel] < among < alone


def test_signal_to_noise_is_as_planned_and_noise_scales_it(cortex):
    patterns = np.random.default_rng(7).integers(0, 2, (300, 10, 10))
    leading = cortex.areas != "V3"
    ratio = np.median((cortex.respond(patterns).std(axis=0) / cortex.noise_sd)[leading])
    assert ratio == pytest.approx(SIGNAL_TO_NOISE, rel=0.05)
    louder = LocalContrastCortex(cortex.anatomy, np.random.default_rng(1), noise=2)
    np.testing.assert_allclose(louder.noise_sd, 2 * cortex.noise_sd, rtol=1e-6)
    np.testing.assert_allclose(louder.respond(patterns), cortex.respond(patterns), rtol=1e-6)
