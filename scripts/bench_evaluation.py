"""Time the evaluation: two-way identification, PixCorr and SSIM beside what people use, a whole protocol, and files.

    python scripts/bench_evaluation.py [--threads 2] [--repeats 5] [--pictures 1000] [--features 100000]
    python scripts/bench_evaluation.py --only identification
    python scripts/bench_evaluation.py --only files [--stimuli 24] [--conditions 3] [--size 512]

Identification is set beside the machine's own matrix product of the same size, in both precisions, and its memory is
counted with both inputs. Pixel metrics are set beside a loop over pictures with scikit-image and np.corrcoef, turn by
turn in one run, so that other work on the machine disturbs both. Every figure is a median of the repeats.

Files are PNG. One way is a plain loop, metric by metric and condition by condition, which reads what it compares; the other is
`evaluate`. Both are given the same networks. Seconds are those of the clock and, in brackets, of all processors: where others
work on the machine too, read the latter.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

PARTS = ("identification", "pixels", "protocol", "files")

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--repeats", type=int, default=5)
arguments.add_argument("--pictures", type=int, default=1000, help="stimuli, and pictures of 256 pixels a side")
arguments.add_argument("--features", type=int, default=100_000)
arguments.add_argument("--stimuli", type=int, default=24, help="of the part about files")
arguments.add_argument("--conditions", type=int, default=3, help="of the part about files")
arguments.add_argument("--size", type=int, default=512, help="pixels a side of the part about files")
arguments.add_argument("--only", choices=PARTS)
if __name__ == "__main__":
    options = arguments.parse_args()
    # Before anything starts threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2gray
from skimage.measure import pearson_corr_coeff
from skimage.metrics import structural_similarity as skimage_ssim

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.metrics.pixel_metrics import pixel_correlation
from brainrecon.evaluation.metrics.structural_similarity import structural_similarity
from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.views.networks import load_network
from brainrecon.evaluation.views.resize_and_crop import prepare, resize_pictures
from stages.ground.threads import n_threads

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


def written(folder, n, n_conditions, size):
    """Pictures as PNG: those shown, and by condition half of them and half of another; lists of paths by name."""
    random, paths = np.random.default_rng(0), {}

    def picture():
        layers = [
            Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((size, size), 3)
            for side in (4, 16, 64, size // 2)
        ]
        return np.average([np.asarray(layer, dtype=np.float32) for layer in layers], axis=0, weights=(8, 4, 2, 1))

    for row in range(n):
        shown = picture()
        for name in ("shown", *(f"condition-{k}" for k in range(n_conditions))):
            one = shown if name == "shown" else (shown + picture()) / 2
            paths.setdefault(name, []).append(folder / f"{name}-{row}.png")
            Image.fromarray(np.rint(one).astype(np.uint8)).save(paths[name][-1])
    return paths


def as_published():
    """The embedded protocol at the sizes of a published one: pictures at 256 px, their pixels compared at 425."""
    content = dict(load_protocol("brainrecon-1").content)
    content["name"] = "as-published"
    content["resize"] = {"size": 256, "interpolation": "bilinear", "antialias": False}
    pixels = {"resize": {"size": 425, "interpolation": "bilinear", "antialias": False}}
    content["metrics"] = [
        spec | (pixels if spec["name"] in ("pixcorr", "ssim") else {})
        for spec in content["metrics"]
        if "within" not in spec and spec["measure"] != "brain_correlation"
    ]
    return Protocol(content)


def plain_loop(paths, protocol, networks, batch=64):
    """Every metric of every condition by itself, which reads and resizes what it compares: scores by condition and metric."""

    def read(path):
        return np.asarray(Image.open(path).convert("RGB"))[None]

    def seen(names, spec):
        if spec.features == "pixels":
            return np.concatenate([resize_pictures(read(path), [protocol.resize]).reshape(1, -1) for path in names])
        preparation, network = protocol.networks[spec.features].preparation, networks[spec.features]
        blocks = [names[start : start + batch] for start in range(0, len(names), batch)]
        look = network.classify if spec.metric.takes == "labels" else network.embed
        found = [look(np.concatenate([prepare(read(p), protocol.resize, preparation) for p in own])) for own in blocks]
        if spec.metric.takes == "labels":
            return [name for own in found for name in own[spec.head]]
        return np.concatenate(found)

    scores, settings = {}, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for name, drawn in paths.items():
        for spec in protocol.metrics.values() if name != "shown" else ():
            if spec.metric.takes != "pixels":
                scores[name, spec.name] = spec.metric.function(seen(paths["shown"], spec), seen(drawn, spec))
                continue
            values, steps = [], [protocol.resize, spec.resize]
            for pair in zip(paths["shown"], drawn):
                one, other = (resize_pictures(read(path), steps)[0].astype(np.float64) for path in pair)
                if spec.measure == "pixel_correlation":
                    values.append(np.corrcoef(one.ravel(), other.ravel())[0, 1])
                else:
                    values.append(skimage_ssim(rgb2gray(one), rgb2gray(other), **settings))
            scores[name, spec.name] = np.array(values)
    return scores


def bench_files(n, n_conditions, size, repeats, most_threads):
    """`evaluate` on files beside a plain loop, by threads."""
    protocol = as_published()
    networks = {name: load_network(spec) for name, spec in protocol.networks.items()}
    with tempfile.TemporaryDirectory() as folder:
        paths = written(Path(folder), n, n_conditions, size)
        ids = [f"stimulus-{row}" for row in range(n)]
        shared = dict(stimulus_ids=ids, protocol=protocol, networks=networks, n_resamples=2000)

        def here():
            conditions = {name: (ids, PictureFiles(own)) for name, own in paths.items() if name != "shown"}
            # The data name a category for each picture; which it is does not matter to the time.
            return evaluate(PictureFiles(paths["shown"]), conditions, categories=[["any"]] * n, **shared)

        ways, measured, found = {"plain loop": lambda: plain_loop(paths, protocol, networks), "evaluate": here}, {}, {}
        threads = [1] if most_threads < 2 else [1, most_threads]
        for turn in range(repeats + 1):
            for number in threads:
                torch.set_num_threads(number)
                for way, work in ways.items():
                    before = time.process_time()
                    seconds, found[way] = timed(work)
                    if turn:
                        measured.setdefault((number, way), []).append((seconds, time.process_time() - before))
    print(f"{n} stimuli, {n_conditions} conditions, PNG of {size} x {size}; {', '.join(protocol.metrics)}")
    n_pictures = n * (n_conditions + 1)
    for number in threads:
        (loop, loop_cpu), (own, own_cpu) = (
            [statistics.median(column) for column in zip(*measured[number, way])] for way in ways
        )
        print(
            f"  {number} thread(s): plain loop {loop:.2f} s ({loop_cpu:.2f}), evaluate {own:.2f} s ({own_cpu:.2f}): "
            f"{loop / own:.1f} times as fast ({loop_cpu / own_cpu:.1f})"
        )
        minutes = [value / n_pictures * 982 * 12 / 60 for value in (loop, loop_cpu, own, own_cpu)]
        print(
            "    982 stimuli and 11 conditions at that rate: plain loop {:.1f} min ({:.1f}), evaluate {:.1f} ({:.1f})".format(
                *minutes
            ),
            flush=True,
        )
    largest = max(
        np.abs(found["evaluate"].conditions[name].values[metric] - values).max()
        for (name, metric), values in found["plain loop"].items()
        if metric != "category_agreement"
    )
    print(f"  scores differ by at most {largest:.1e}; at most {n_threads()} thread(s) may be used here")


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
    if options.only in (None, "files"):
        bench_files(options.stimuli, options.conditions, options.size, min(options.repeats, 3), options.threads)


if __name__ == "__main__":
    main(options)
