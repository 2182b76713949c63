from dataclasses import replace

import numpy as np
import pytest

from brainrecon.datasets.noise_ceiling import noise_ceiling
from brainrecon.simulation.brain.anatomy import grow_anatomy
from brainrecon.simulation.brain.ceiling import RepeatStatistics
from brainrecon.simulation.brain.cortex import TARGET_CEILING, Cortex
from brainrecon.simulation.brain.noise import begin_session, trial_noise
from brainrecon.simulation.brain.smooth_maps import smooth_maps
from brainrecon.simulation.world.pictures import draw_pictures


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures(5, range(220))


@pytest.fixture(scope="module")
def cortex(pictures):
    return Cortex(grow_anatomy(400, np.random.default_rng(1)), np.random.default_rng(2), pictures[:120])


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


def test_responses_are_the_same_alone_and_in_company(cortex, pictures):
    together = cortex.respond(pictures[120:])
    np.testing.assert_allclose(cortex.respond(pictures[130:131])[0], together[10], rtol=1e-4, atol=1e-4)
    assert together.dtype == np.float32 and np.isfinite(together).all()


def test_calibration_fixes_baseline_and_scale(cortex, pictures):
    responses = cortex.respond(pictures[:120])
    np.testing.assert_allclose(responses.mean(0), cortex.baseline, atol=1e-3)
    np.testing.assert_allclose(responses.std(0), cortex.signal_sd, rtol=1e-3)
    np.testing.assert_allclose(cortex.patterns, (responses - cortex.baseline) / cortex.signal_sd, rtol=1e-2, atol=1e-3)


def test_gain_and_noise_are_unequal_and_the_median_ceiling_is_the_target(cortex):
    general = cortex.anatomy.labels["nsdgeneral"] == 1
    ceilings = noise_ceiling(cortex.signal_sd / cortex.noise_sd, [3])[general]
    assert np.median(ceilings) == pytest.approx(TARGET_CEILING, abs=1)
    assert np.percentile(ceilings, 10) < 25 and np.percentile(ceilings, 90) > 45
    assert cortex.noise_sd.std() / cortex.noise_sd.mean() > 0.15


def test_early_voxels_answer_their_field_and_nothing_else(cortex, pictures):
    """Change one corner of a picture: only voxels whose field reaches there may notice."""
    before = pictures[150]
    image = before.image.copy()
    image[:16, 48:] = 255 - image[:16, 48:]
    change = np.abs(np.subtract(*cortex.respond([before, replace(before, image=image)]))) / cortex.signal_sd
    angle = np.deg2rad(cortex.receptive_fields["angle"])
    eccentricity, size = cortex.receptive_fields["eccentricity"], cortex.receptive_fields["size"]
    x, y = eccentricity * np.cos(angle), eccentricity * np.sin(angle)
    distance = np.hypot(x - 3.15, y - 3.15) / size
    primary = np.isin(cortex.areas, ["V1", "V2"])
    assert np.median(change[primary & (distance < 1.5)]) > 0.5
    far = change[primary & (np.minimum(x, y) < -1.5)]
    # Where a picture lies in deep shade, the compression makes a little of the fields' tails.
    assert np.median(far) < 0.05 and far.max() < 0.3


def test_higher_areas_know_what_it_is_early_ones_where_it_is(cortex, pictures):
    responses = (cortex.respond(pictures) - cortex.baseline) / cortex.signal_sd
    animate = np.array([picture.category in ("fish", "bird", "cat", "butterfly") for picture in pictures])
    scene = np.array([picture.kind == "scene" for picture in pictures])
    contrast = responses[animate].mean(0) - responses[scene & ~animate].mean(0)
    assert contrast[cortex.areas == "faces"].mean() > 0.5
    assert abs(contrast[cortex.areas == "V1"].mean()) < 0.3


def test_fields_grow_with_eccentricity_and_from_area_to_area(cortex):
    size, eccentricity = cortex.receptive_fields["size"], cortex.receptive_fields["eccentricity"]
    medians = [np.median(size[cortex.areas == area]) for area in ("V1", "V2", "V3", "hV4", "ventral")]
    assert medians == sorted(medians)
    for area in ("V1", "V2", "V3", "hV4"):
        assert correlation(size[cortex.areas == area], eccentricity[cortex.areas == area]) > 0.4


def test_smooth_maps_have_unit_variance_everywhere_and_neighbours_agree(cortex):
    maps = smooth_maps(cortex.anatomy, np.random.default_rng(0), 3000, 1.3)
    assert np.abs(maps.std(0) - 1).max() < 0.06
    volume = np.zeros((3000, *cortex.anatomy.shape), np.float32)
    volume[:, cortex.anatomy.brain] = maps
    x, y, z = cortex.anatomy.ribbon[len(cortex.anatomy.ribbon) // 2]
    beside = [x, y + 1, z] if cortex.anatomy.brain[x, y + 1, z] else [x, y - 1, z]
    assert correlation(volume[:, x, y, z], volume[(slice(None), *beside)]) > 0.6
    assert abs(correlation(volume[:, x, y, z], volume[:, -1 - x, y, z])) < 0.1


def test_noise_has_unit_variance_in_cortex_and_does_not_depend_on_other_sessions(cortex):
    def noise(seed):
        generator = np.random.default_rng([seed, 1])
        session = begin_session(cortex.anatomy, 600, generator)
        blocks = list(trial_noise(cortex.anatomy, session, 600, cortex.patterns, generator))
        assert [block[0].start for block in blocks] == list(range(0, 600, 64))
        return np.concatenate([block[1] for block in blocks])

    drawn = noise(1)
    inside = drawn[:, cortex.anatomy.in_brain]
    assert np.median(inside.std(0)) == pytest.approx(1, abs=0.06)
    assert np.abs(inside.mean(0)).max() < 0.3
    assert (noise(1) == drawn).all() and (noise(2) != drawn).any()


def test_sessions_differ_in_gain_and_offset(cortex):
    sessions = [begin_session(cortex.anatomy, 50, np.random.default_rng(k)) for k in range(40)]
    levels = np.array([session.gain.mean() for session in sessions])
    assert 0.03 < levels.std() < 0.1
    offsets = np.stack([session.offset for session in sessions])
    assert 0.2 < offsets.std() < 0.3


def test_ncsnr_matches_the_manuals_formula_by_brute_force():
    generator = np.random.default_rng(0)
    stimuli = generator.permutation(np.repeat(np.arange(40), 3))
    betas = generator.normal(0, 1, (40, 5))[stimuli] + generator.normal(3, 1.5, (120, 5))
    betas[60:] += 4
    statistics = RepeatStatistics(40, 5)
    statistics.add_session(betas[:60], stimuli[:60])
    statistics.add_session(betas[60:], stimuli[60:])
    scored = np.concatenate([(part - part.mean(0)) / part.std(0) for part in (betas[:60], betas[60:])])
    noise = np.mean([scored[stimuli == k].var(0, ddof=1) for k in range(40)], axis=0)
    expected = np.sqrt(np.maximum(1 - noise, 0) / noise)
    np.testing.assert_allclose(statistics.ncsnr(), expected, rtol=1e-4)


def test_ncsnr_recovers_a_known_ratio_and_is_zero_for_pure_noise():
    generator = np.random.default_rng(0)
    stimuli = np.tile(np.arange(2000), 3)
    signal = generator.normal(0, 1, (2000, 3)) * [0.0, 0.5, 1.0]
    statistics = RepeatStatistics(2000, 4)
    for part in np.split(np.arange(6000), 3):
        betas = signal[stimuli[part]] + generator.normal(0, 1, (len(part), 3))
        statistics.add_session(np.column_stack([betas, np.zeros(len(part))]), stimuli[part])
    ncsnr = statistics.ncsnr()
    np.testing.assert_allclose(ncsnr[1:3], [0.5, 1.0], rtol=0.06)
    assert ncsnr[0] < 0.2


def test_noise_ceiling_is_the_correlation_that_averages_can_reach():
    """Squared correlation of signal and three-trial average, by simulation."""
    generator = np.random.default_rng(0)
    signal = generator.normal(0, 0.7, 20000)
    average = signal + generator.normal(0, 1, (3, 20000)).mean(0)
    assert noise_ceiling(0.7, [3]) == pytest.approx(100 * correlation(signal, average) ** 2, abs=1.5)
