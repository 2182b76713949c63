"""Stage one at the size of NSD: our ridge regression beside the published procedure, a fit for each token."""

import numpy as np
import torch

from gpu_parts.check import Row, tf32
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.ridge.ridge_solver import ridge_predictions

PENALTY = 6e4


def stage_one(check):
    """Yield seconds of fitting and predicting every CLIP token, penalty given and penalty chosen."""
    n, n_voxels, n_new, n_tokens, width = check.chosen((8859, 15_724, 982, 257, 768), (300, 500, 50, 8, 64))
    random = torch.Generator(check.device).manual_seed(0)

    def made(*shape):
        return torch.randn(shape, generator=random, device=check.device).cpu().numpy()

    patterns, new = made(n, n_voxels), made(n_new, n_voxels)
    targets = np.hstack([made(n, width) for _ in range(n_tokens)])
    name = f"{n:,} x {n_voxels:,} to {targets.shape[1]:,}"

    there, new_there = (torch.from_numpy(each).to(check.device) for each in (patterns, new))

    def by_token():
        return _token(there, torch.from_numpy(targets[:, :width]).to(check.device), new_there).cpu()

    with tf32(False):
        by_token()
        plain = check.seconds(by_token) * n_tokens
    yield Row(f"{name}, plain: a fit for each token, float32 (one measured)", plain, "s")
    limit = _limit(check, n, n_voxels, n_new, targets.shape[1])
    device = str(check.device)
    ridge_predictions(patterns[:64, :64], targets[:64, :64], new[:8, :64], PENALTY, device=device)
    seconds = check.seconds(lambda: ridge_predictions(patterns, targets, new, PENALTY, device=device))
    yield Row(
        f"{name}, penalty given", seconds, "s", plain=plain, note=f"its products at the matrix rates: {limit:.3g} s"
    )
    if check.left() < 20 * seconds:
        yield Row(f"{name}, penalty chosen of 20: skipped, no time left")
        return
    decoder = RidgeDecoder(alphas=list(np.logspace(2, 7, 20)), keep="targets", device=device)
    seconds = check.seconds(lambda: decoder.fit(patterns, targets).predict(new))
    yield Row(f"{name}, penalty chosen of 20, rescaled by held-out", seconds, "s", plain=plain)


def _token(patterns, targets, new):
    """As published: standardise, factorise, fit one token and predict."""
    mean, scale, level = patterns.mean(0), patterns.std(0), targets.mean(0)
    x = (patterns - mean) / scale
    kernel = x @ x.T
    kernel.diagonal().add_(PENALTY)
    weights = x.T @ torch.cholesky_solve(targets - level, torch.linalg.cholesky(kernel))
    return (new - mean) / scale @ weights + level


def _limit(check, n, n_voxels, n_new, n_targets):
    """Seconds of the Gram matrix and its factor in float64, and of predictions in float32, at the matrix rates."""
    rates = check.rates
    double = rates.get("float64") or rates.get("float32") or float("nan")
    single = rates.get("float32") or float("nan")
    return (2 * n**2 * n_voxels + n**3 / 3) / double + 2 * n_new * n * n_targets / single
