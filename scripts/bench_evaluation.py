"""Time the evaluation: two-way identification, PixCorr and SSIM beside what people use, and a whole protocol.

    python scripts/bench_evaluation.py [--threads 2] [--repeats 5] [--pictures 1000] [--features 100000]
    python scripts/bench_evaluation.py --only identification

Identification is set beside the machine's own matrix product of the same size, in both precisions, and its memory is
counted with both inputs. Pixel metrics are set beside a loop over pictures with scikit-image and np.corrcoef, turn by
turn in one run, so that other work on the machine disturbs both. Every figure is a median of the repeats.
"""

import argparse
import os
import resource
import statistics
import time

PARTS = ("identification", "pixels", "protocol")

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--repeats", type=int, default=5)
arguments.add_argument("--pictures", type=int, default=1000, help="stimuli, and pictures of 256 pixels a side")
arguments.add_argument("--features", type=int, default=100_000)
arguments.add_argument("--only", choices=PARTS)
if __name__ == "__main__":
    options = arguments.parse_args()
    # Before anything starts threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)

import numpy as np
import torch
from skimage.color import rgb2gray
from skimage.measure import pearson_corr_coeff
from skimage.metrics import structural_similarity as skimage_ssim

from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.metrics.pixel_metrics import pixel_correlation
from brainrecon.evaluation.metrics.structural_similarity import structural_similarity

_COLUMNS = 4096


def timed(work):
    """Seconds of one call, and what it gave."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def in_turn(ways, repeats):
    """Median seconds of each of the ways, called in turn `repeats` times after once for warming up; what they gave."""
    measured, found = {name: [] for name in ways}, {}
    for turn in range(repeats + 1):
        for name, work in ways.items():
            seconds, found[name] = timed(work)
            if turn:
                measured[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in measured.items()}, found


def peak_memory():
    """Largest resident size of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def bench_identification(n, n_features, repeats):
    """Two-way identification of `n` stimuli beside matrix products of the same size."""
    before = peak_memory()
    random = np.random.default_rng(0)
    reference = random.standard_normal((n, n_features), dtype=np.float32)
    predicted = random.standard_normal((n, n_features), dtype=np.float32)
    predicted *= 500
    predicted += reference
    inputs = (reference.nbytes + predicted.nbytes) / 1e9
    score = timed(lambda: two_way_identification(reference, predicted))[1].mean()
    peak = peak_memory()

    def product(dtype):
        left = torch.randn(n, min(_COLUMNS, n_features), dtype=dtype)
        total, right = torch.zeros(n, n, dtype=dtype), left.clone()

        def multiply():
            for start in range(0, n_features, _COLUMNS):
                width = min(_COLUMNS, n_features - start)
                total.addmm_(left[:, :width], right[:, :width].T)

        return multiply

    seconds, _ = in_turn(
        {
            "here": lambda: two_way_identification(reference, predicted),
            "dgemm": product(torch.float64),
            "sgemm": product(torch.float32),
        },
        repeats,
    )
    print(f"two-way identification, {n:,} stimuli, {n_features:,} float32 features (mean {100 * score:.1f} %)")
    print(
        f"  {seconds['here']:6.2f} s; the product alone {seconds['dgemm']:.2f} s in float64, {seconds['sgemm']:.2f} s in float32"
    )
    print(f"  memory: {before:.2f} GB before, inputs {inputs:.2f} GB, peak {peak:.2f} GB", flush=True)


def bench_pixels(n, size, repeats):
    """PixCorr and SSIM beside loops over pictures."""
    random = np.random.default_rng(0)
    shown = random.random((n, size, size, 3), dtype=np.float32)
    drawn = random.random((n, size, size, 3), dtype=np.float32)
    drawn += shown
    drawn /= 2

    def corrcoef():
        return [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(shown, drawn)]

    def pearson(dtype):
        return [pearson_corr_coeff(one.astype(dtype), other.astype(dtype))[0] for one, other in zip(shown, drawn)]

    def scikit_image(dtype):
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        return [
            skimage_ssim(rgb2gray(one.astype(dtype)), rgb2gray(other.astype(dtype)), **settings)
            for one, other in zip(shown, drawn)
        ]

    seconds, found = in_turn(
        {
            "PixCorr": lambda: pixel_correlation(shown, drawn),
            "np.corrcoef": corrcoef,
            "scikit-image, pearson, float64": lambda: pearson(np.float64),
            "scikit-image, pearson, float32": lambda: pearson(np.float32),
            "SSIM": lambda: structural_similarity(shown, drawn),
            "scikit-image, float64": lambda: scikit_image(np.float64),
            "scikit-image, float32": lambda: scikit_image(np.float32),
        },
        repeats,
    )
    print(f"{n:,} pictures of {size} x {size}")
    for own, other in (
        ("PixCorr", "np.corrcoef"),
        ("PixCorr", "scikit-image, pearson, float64"),
        ("PixCorr", "scikit-image, pearson, float32"),
        ("SSIM", "scikit-image, float64"),
        ("SSIM", "scikit-image, float32"),
    ):
        largest = np.abs(found[own] - np.array(found[other])).max()
        print(
            f"  {own:8s}{seconds[own]:6.2f} s; {other:30s}{seconds[other]:6.2f} s: {seconds[other] / seconds[own]:4.1f} times "
            f"as fast, differing by at most {largest:.1e}",
            flush=True,
        )
    loop = ("scikit-image, pearson, float64", "scikit-image, float64")
    own, other = (sum(seconds[name] for name in names) for names in (("PixCorr", "SSIM"), loop))
    print(f"  both    {own:6.2f} s; {'scikit-image, float64':30s}{other:6.2f} s: {other / own:4.1f} times as fast")


def bench_protocol(n, repeats):
    """Everything that the embedded protocol scores."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((n, 3, 16, 16), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(256, 256), mode="bilinear").permute(0, 2, 3, 1)
    shown = (smooth.numpy() * 255).astype(np.uint8)
    drawn = np.clip(shown.astype(np.int16) + random.integers(-60, 61, shown.shape, dtype=np.int16), 0, 255).astype(
        np.uint8
    )
    ids = [f"stimulus-{row}" for row in range(n)]
    seconds, found = in_turn(
        {"evaluate": lambda: evaluate(shown, {"reconstruction": Outputs(ids, drawn)}, stimulus_ids=ids)},
        min(repeats, 3),
    )
    names = ", ".join(found["evaluate"].conditions["reconstruction"].values)
    print(f"protocol brainrecon-1, {n:,} pictures of 256 x 256, with intervals: {seconds['evaluate']:.1f} s")
    print(f"  {names}")
    print(f"  peak memory of the whole run {peak_memory():.2f} GB", flush=True)


def main(options):
    """Print one paragraph for each part."""
    torch.set_num_threads(options.threads)
    print(f"{options.threads} thread(s), medians of {options.repeats} repeats\n")
    if options.only in (None, "identification"):
        bench_identification(options.pictures, options.features, options.repeats)
    if options.only in (None, "pixels"):
        bench_pixels(options.pictures, 256, options.repeats)
        bench_pixels(max(1, options.pictures // 4), 425, options.repeats)
    if options.only in (None, "protocol"):
        bench_protocol(options.pictures, options.repeats)


if __name__ == "__main__":
    main(options)
