"""Time the local decoders of Miyawaki et al. (2008) beside one scikit-learn pipeline per image element.

    python scripts/bench_miyawaki.py [--threads 1] [--repeats 3] [--elements 361] [--out FOLDER]

Fits and predicts all elements of 10 x 10 cells at scale 2 on simulated responses, ours and scikit-learn's in turn, and
prints medians, their ratio, and the largest difference between predictions, relative to the standard deviation of the
contrasts. With fewer --elements scikit-learn gets that many, evenly spaced over all sizes and places, and its seconds
are scaled up; the table says so.

What the work is, for n samples, p voxels, m elements and k voxels each: the F values take 2 n p operations per level
less one of every element (3.4e9 here), and a Gram matrix of n x n takes n n k for each element (35e9). A pipeline per
element reads all voxels several times for its F values alone, about 10 n p numbers of 8 bytes (64e9 bytes).
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--threads", type=int, default=1, help="of the libraries, and of ours over elements")
arguments.add_argument("--repeats", type=int, default=3)
arguments.add_argument("--elements", type=int, help="pipelines of scikit-learn that are fitted; all by default")
arguments.add_argument("--models", nargs="+", default=["omp", "linear", "bayesian_ridge", "ridge", "univariate"])
arguments.add_argument("--samples", type=int, default=440)
arguments.add_argument("--voxels", type=int, default=5000)
arguments.add_argument("--selected", type=int, default=500)
arguments.add_argument("--new", type=int, default=120, help="test patterns")
arguments.add_argument(
    "--sparse", action="store_true", help="sparse logistic regression too, on 100 voxels; ours alone"
)
arguments.add_argument("--out", type=Path)
if __name__ == "__main__":
    options = arguments.parse_args()
    # Before anything starts threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)

import numpy as np
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import BayesianRidge, LinearRegression, OrthogonalMatchingPursuit, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.decoders.local.local_models import ALPHAS
from stages.decoders.local.multiscale import MultiscaleDecoder

SCIKIT_LEARN = {
    "omp": lambda: OrthogonalMatchingPursuit(n_nonzero_coefs=10),
    "linear": LinearRegression,
    "bayesian_ridge": BayesianRidge,
    "ridge": lambda: RidgeCV(alphas=ALPHAS),
    "univariate": LinearRegression,
}
# scikit-learn's default tolerance leaves the precisions far from where they settle; it is what is timed.
CONVERGED = {"bayesian_ridge": lambda: BayesianRidge(tol=1e-10, max_iter=20_000)}
CHECKED = 24


def simulated(n_samples, n_voxels, seed=0):
    """Random binary pictures of 10 x 10 cells, and voxels with Gaussian receptive fields, half of them blind."""
    generator = np.random.default_rng(seed)
    pictures = (generator.random((n_samples, 10, 10)) < 0.5).astype(np.float64)
    row, column = generator.uniform(-0.5, 9.5, size=(2, n_voxels, 1, 1))
    width = generator.uniform(0.5, 1.5, size=(n_voxels, 1, 1))
    cells = np.arange(10)
    distance = (cells[:, None] - row) ** 2 + (cells - column) ** 2
    fields = np.exp(-distance / (2 * width**2)).reshape(n_voxels, -1)
    fields[generator.permutation(n_voxels)[: n_voxels // 2]] = 0
    responses = pictures.reshape(n_samples, -1) @ fields.T
    return responses + 2 * generator.normal(size=responses.shape) + 100, pictures


def pipelines(model, patterns, contrasts, new, selected, regressions=SCIKIT_LEARN):
    """Predictions (n_new, n_elements) of one pipeline per element."""
    found = np.empty((len(new), contrasts.shape[1]))
    for element, contrast in enumerate(contrasts.T):
        steps = (
            SelectKBest(f_classif, k=1 if model == "univariate" else selected),
            StandardScaler(),
            regressions[model](),
        )
        found[:, element] = make_pipeline(*steps).fit(patterns, contrast).predict(new)
    return found


def timed(work):
    """Seconds of one call, and what it gave."""
    started = time.perf_counter()
    given = work()
    return time.perf_counter() - started, given


def compare(model, patterns, pictures, new, options):
    """Seconds of both in each repeat, and the largest difference."""
    decoder = MultiscaleDecoder(model=model, n_voxels=options.selected, n_jobs=options.threads)
    elements = decoder.fit(patterns[:50], pictures[:50]).elements_
    contrasts = elements.contrasts(pictures)
    n_fitted = min(options.elements or len(elements), len(elements))
    fitted = np.linspace(0, len(elements) - 1, n_fitted).round().astype(int)
    ours, theirs = [], []
    for _ in range(options.repeats):
        seconds, own = timed(lambda: decoder.fit(patterns, pictures).predict_elements(new))
        ours.append(seconds)
        seconds, other = timed(lambda: pipelines(model, patterns, contrasts[:, fitted], new, options.selected))
        theirs.append(seconds * len(elements) / n_fitted)
    if model in CONVERGED:
        fitted = fitted[:: max(1, n_fitted // CHECKED)]
        other = pipelines(model, patterns, contrasts[:, fitted], new, options.selected, CONVERGED)
    difference = np.abs(own[:, fitted] - other).max() / contrasts.std()
    return {
        "ours": ours,
        "scikit-learn": theirs,
        "pipelines fitted": n_fitted,
        "elements": len(elements),
        "pipelines checked": len(fitted),
        "largest difference": float(difference),
    }


def row(model, found):
    """A line of the table; ratios are paired within a repeat."""
    ours, theirs = (statistics.median(found[name]) for name in ("ours", "scikit-learn"))
    ratio = statistics.median(b / a for a, b in zip(found["ours"], found["scikit-learn"]))
    scaled = "" if found["pipelines fitted"] == found["elements"] else f", from {found['pipelines fitted']} elements"
    return (
        f"| {model} | {ours:.2f} | {theirs:.1f}{scaled} | {ratio:.1f} | {found['largest difference']:.1e} "
        f"({found['pipelines checked']} elements) |"
    )


def main(options):
    """Measure and print."""
    warnings.simplefilter("ignore")
    patterns, pictures = simulated(options.samples + options.new, options.voxels)
    new, patterns, pictures = patterns[options.samples :], patterns[: options.samples], pictures[: options.samples]
    print(
        f"{options.samples} samples, {options.voxels:,} voxels, {options.selected} for each element, {options.new} test "
        f"patterns, {options.threads} threads, medians of {options.repeats}; fit and predict.\n\n"
        "| model | ours, s | scikit-learn, s | ratio | largest difference |\n|---|---|---|---|---|",
        flush=True,
    )
    found = {}
    for model in options.models:
        found[model] = compare(model, patterns, pictures, new, options)
        print(row(model, found[model]), flush=True)
    if options.sparse:
        decoder = MultiscaleDecoder(model="sparse_logistic", n_voxels=100, n_jobs=options.threads)
        seconds = [timed(lambda: decoder.fit(patterns, pictures).predict(new))[0] for _ in range(options.repeats)]
        found["sparse_logistic"] = {"ours": seconds}
        print(f"| sparse_logistic, 100 voxels | {statistics.median(seconds):.1f} | | | |")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "miyawaki.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(options))
