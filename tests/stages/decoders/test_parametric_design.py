"""Encoding models from time series: SPM's response, the convolution, and the regression of single-trial responses."""

import math

import numpy as np
import pytest

from stages.decoders.inverse_encoding import InverseEncodingDecoder
from stages.decoders.parametric_design import (
    BINS_PER_SCAN,
    encoding_from_scans,
    event_regressors,
    haemodynamic_response,
    parametric_design,
)
from stages.ground.errors import InputError

TR = 2.0


def run(n_events=12, apart=40.0, n_latents=3, n_voxels=5, seed=0):
    """Regressors, latents and scans of a run whose events are `apart` seconds from each other."""
    random = np.random.default_rng(seed)
    onsets = apart * np.arange(n_events)
    n_scans = int((onsets[-1] + 40) / TR)
    regressors = event_regressors(onsets, np.ones(n_events), n_scans, TR)
    latents = random.normal(size=(n_events, n_latents))
    return regressors, latents, random.normal(size=(n_scans, n_voxels))


def test_the_response_is_two_gamma_densities():
    step = 0.125
    times = np.arange(257) * step

    def density(shape):
        return times ** (shape - 1) * np.exp(-times) / math.factorial(shape - 1)

    expected = density(6) - density(16) / 6
    np.testing.assert_allclose(haemodynamic_response(step), expected / expected.sum(), atol=1e-15)


def test_an_event_is_its_pulse_convolved():
    """Every scan from the sum over the bins of the pulse, one after the other."""
    response = haemodynamic_response(TR / BINS_PER_SCAN)
    found = event_regressors([3.0], [1.5], 20, TR)[:, 0]
    for scan in range(20):
        lags = [scan * BINS_PER_SCAN - k for k in range(24, 36)]
        assert found[scan] == pytest.approx(sum(response[lag] for lag in lags if 0 <= lag < len(response)), abs=1e-15)


def test_events_that_do_not_overlap_are_the_regression_of_single_trial_responses():
    regressors, latents, scans = run()
    # Equal but for their time, and nowhere both.
    gram = regressors.T @ regressors
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-12)
    betas = np.linalg.lstsq(regressors, scans, rcond=None)[0]
    expected = np.linalg.lstsq(np.column_stack([latents, np.ones(len(latents))]), betas, rcond=None)[0]
    np.testing.assert_allclose(encoding_from_scans(scans, parametric_design(regressors, latents)), expected, atol=1e-10)


def test_events_that_overlap_are_not():
    regressors, latents, scans = run(apart=3.0)
    betas = np.linalg.lstsq(regressors, scans, rcond=None)[0]
    other = np.linalg.lstsq(np.column_stack([latents, np.ones(len(latents))]), betas, rcond=None)[0]
    found = encoding_from_scans(scans, parametric_design(regressors, latents))
    assert np.abs(found - other).max() > 0.1


def test_weights_are_found_beside_whatever_else_there_is():
    regressors, latents, _ = run(n_events=40, apart=3.0)
    random = np.random.default_rng(1)
    weights, others = random.normal(size=(4, 9)), random.normal(size=(len(regressors), 2))
    design = parametric_design(regressors, latents)
    scans = design @ weights + others @ random.normal(size=(2, 9))
    np.testing.assert_allclose(encoding_from_scans(scans, design, others), weights, atol=1e-8)
    decoder = InverseEncodingDecoder.from_encoding(encoding_from_scans(scans, design, others))
    np.testing.assert_allclose(decoder.predict(latents @ weights[:-1] + weights[-1]), latents, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: event_regressors([1.0], [1.0, 2.0], 5, TR), "as many of both"),
        (lambda: event_regressors([-1.0], [1.0], 5, TR), "none below 0"),
        (lambda: event_regressors([1.0], [1.0], 0, TR), "n_scans is 0"),
        (lambda: haemodynamic_response(0.0), "step is 0.0"),
        (lambda: parametric_design(np.eye(3), np.ones((2, 4))), "the latents of each event"),
        (lambda: encoding_from_scans(np.ones((3, 2)), np.ones((4, 1))), "a row for each scan"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call()
