"""An encoding model from time series: latents as parametric regressors of a general linear model.

VanRullen and Reddy (2019) fit the weights of their encoding model to the scans of all runs. Each event is a pulse as long as it
was shown, convolved with a haemodynamic response. A latent's regressor is the sum of these over the events, each times the
event's latent; another one, with 1 for each event, is the response to faces as such:

    X = R [Z 1],    R of shape (n_scans, n_events),

and weights are least squares of the scans on X and whatever else explains them. `InverseEncodingDecoder.from_encoding` inverts
them. If the regressors R of the events overlap nowhere and are equal but for their time, the weights are those of a regression of
single-trial responses on the latents.

The authors used SPM12. Its haemodynamic response is the default here, written from its formula.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

BINS_PER_SCAN = 16
_LENGTH = 32.0  # seconds of the response


def haemodynamic_response(step: float) -> NDArray:
    """Sample SPM's canonical response: a gamma density of shape 6, less a sixth of one of shape 16, of sum 1.

    >>> response = haemodynamic_response(0.125)
    >>> round(float(response.sum()), 6), float(np.argmax(response) * 0.125)
    (1.0, 5.0)

    Parameters
    ----------
    step : float
        Seconds between samples.

    Returns
    -------
    response : array of shape (n_samples,), float64
        Over 32 seconds.
    """
    check("step", step, Number(0, above=True, example=0.125))
    times = np.arange(0, _LENGTH + step / 2, step)
    response = gamma.pdf(times, 6) - gamma.pdf(times, 16) / 6
    return response / response.sum()


def event_regressors(
    onsets: NDArray, durations: NDArray, n_scans: int, repetition_time: float, response: NDArray | None = None
) -> NDArray:
    """Convolve each event of a run by itself.

    >>> event_regressors([0.0, 40.0], [1.0, 1.0], n_scans=40, repetition_time=2.0).argmax(axis=0).tolist()
    [3, 23]

    Parameters
    ----------
    onsets, durations : array of shape (n_events,)
        In seconds from the beginning of the first scan.
    n_scans : int
    repetition_time : float
        Seconds from scan to scan.
    response : array of shape (n_samples,), optional
        Of the brain, `BINS_PER_SCAN` samples for each scan; SPM's by default.

    Returns
    -------
    regressors : array of shape (n_scans, n_events), float64
        At the beginning of each scan. An event of no duration is a pulse of one bin.

    Raises
    ------
    InputError
        As many onsets as durations are expected, none below 0, and a scan or more.
    """
    onsets, durations = np.asarray(onsets, dtype=np.float64), np.asarray(durations, dtype=np.float64)
    check("n_scans", n_scans, Number(1, whole=True))
    check("repetition_time", repetition_time, Number(0, above=True, example=2.0))
    if onsets.ndim != 1 or onsets.shape != durations.shape or not (durations >= 0).all() or not (onsets >= 0).all():
        raise InputError(
            f"There are onsets {onsets.shape} and durations {durations.shape}; expected as many of both, in seconds, none "
            "below 0."
        )
    step = repetition_time / BINS_PER_SCAN
    response = haemodynamic_response(step) if response is None else np.asarray(response, dtype=np.float64)
    times = np.arange(n_scans * BINS_PER_SCAN) * step
    regressors = np.empty((n_scans, len(onsets)))
    for event, (onset, duration) in enumerate(zip(onsets, durations)):
        # Half a bin of rounding, so that an onset on a bin begins there.
        shown = (times >= onset - step / 2) & (times < max(onset + duration, onset + step) - step / 2)
        regressors[:, event] = np.convolve(shown, response)[: len(times) : BINS_PER_SCAN]
    return regressors


def parametric_design(regressors: NDArray, latents: NDArray) -> NDArray:
    """Make a regressor of each latent, and one of the events as such.

    >>> parametric_design(np.eye(2), np.array([[5.0, 6], [7, 8]])).tolist()
    [[5.0, 6.0, 1.0], [7.0, 8.0, 1.0]]

    Parameters
    ----------
    regressors : array of shape (n_scans, n_events)
        Of several runs one below the other, each with zeros for the events of other runs.
    latents : array of shape (n_events, n_latents)
        Of what was shown.

    Returns
    -------
    design : array of shape (n_scans, n_latents + 1)
        The events as such last.
    """
    regressors, latents = np.asarray(regressors, dtype=np.float64), np.asarray(latents, dtype=np.float64)
    if regressors.ndim != 2 or latents.ndim != 2 or regressors.shape[1] != len(latents):
        raise InputError(
            f"Regressors of events have shape {regressors.shape} and latents {latents.shape}; expected (n_scans, n_events) and "
            "(n_events, n_latents): give the latents of each event."
        )
    return regressors @ np.column_stack([latents, np.ones(len(latents))])


def encoding_from_scans(scans: NDArray, design: NDArray, others: NDArray | None = None) -> NDArray:
    """Fit the weights of an encoding model to scans.

    minimise over W and V   ||S - X W - C V||^2

    >>> design = parametric_design(np.eye(4), np.array([[1.0], [2], [3], [5]]))
    >>> encoding_from_scans(design @ [[3.0], [7.0]], design).round(9).tolist()
    [[3.0], [7.0]]

    Parameters
    ----------
    scans : array of shape (n_scans, n_voxels)
    design : array of shape (n_scans, n_latents + 1)
        As of `parametric_design`.
    others : array of shape (n_scans, n_others), optional
        C, whatever else explains the scans: a constant of each run, test faces, fixation, movement, drifts.

    Returns
    -------
    weights : array of shape (n_latents + 1, n_voxels), float64
        For `stages.decoders.inverse_encoding.InverseEncodingDecoder.from_encoding`. If several fit equally, the smallest.
    """
    scans, design = np.asarray(scans, dtype=np.float64), np.asarray(design, dtype=np.float64)
    whole = design if others is None else np.column_stack([design, others])
    if scans.ndim != 2 or len(scans) != len(whole):
        raise InputError(
            f"Scans have shape {scans.shape} but the design {whole.shape}; expected (n_scans, n_voxels), and a row for each scan."
        )
    return np.linalg.lstsq(whole, scans, rcond=None)[0][: design.shape[1]]
