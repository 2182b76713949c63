"""Time stage one: this solver beside what people use, and at the size of NSD against the machine's own limit.

    python scripts/bench_decoder.py [--out FOLDER] [--threads 2] [--repeats 3]
    python scripts/bench_decoder.py --full FOLDER [--threads 2] [--shape 8859 15724] [--columns 347680]

The first command compares at a reduced size, in one run, on data in memory. The second makes random data of the real
shape in FOLDER (about 7 GB, kept for the next time), fits and predicts from a cold file, and sets the time beside the
sum of its parts at the rates measured just before. Both write a table as markdown and as JSON, and plots.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--full", type=Path, metavar="FOLDER", help="the real shape, its data kept in FOLDER")
arguments.add_argument("--out", type=Path, default=Path("bench_decoder"))
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--repeats", type=int, default=3)
arguments.add_argument("--shape", type=int, nargs=2, metavar=("STIMULI", "VOXELS"))
arguments.add_argument("--columns", type=int)
arguments.add_argument("--new", type=int, help="test patterns")
arguments.add_argument("--memory", type=float, default=4.0, help="GB that a fit may plan with")
arguments.add_argument("--device", default="cpu")
arguments.add_argument("--keep", default="factorisation")
arguments.add_argument("--alphas", type=int, default=20, help="penalties to choose from; 1 takes the published ones")
if __name__ == "__main__":
    options = arguments.parse_args()
    # Before anything starts threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import Ridge

from brainrecon.assembly.resumable_ridge import fit_by_blocks
from brainrecon.features.table import FeatureTable
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.ridge.ridge_solver import RidgeSolver, ridge_predictions
from weights.whole_files import put_in_place, whole_file

TARGETS = {"vdvae": 91_168, "clip_image": 257 * 768, "clip_text": 77 * 768}
PUBLISHED = {"vdvae": 5e4, "clip_image": 6e4, "clip_text": 1e5}
TOKEN = 256


# The machine


def seconds(work, repeats=3):
    """Median seconds of calling `work`, after once for warming up."""
    work()
    return statistics.median(timed(work) for _ in range(repeats))


def timed(work):
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rates(device="cpu"):
    """Operations per second of square-ish matrix products, float64 and float32, and of a Cholesky factorisation."""
    found = {}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        left = torch.randn(3000, 6000, dtype=dtype, device=device)
        found[name] = 2 * 3000 * 6000 * 3000 / seconds(lambda left=left: (left @ left.T)[0, 0].item(), 5)
    square = torch.randn(3000, 3000, dtype=torch.float64, device=device)
    square = square @ square.T + 3000 * torch.eye(3000, dtype=torch.float64, device=device)
    found["cholesky"] = 3000**3 / 3 / seconds(lambda: torch.linalg.cholesky(square)[0, 0].item(), 5)
    return found


def forget(path):
    """Ask the kernel to forget a file's pages."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_whole(path):
    """Read a file from its beginning to its end, 16 MB at a time."""
    buffer = bytearray(1 << 24)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


# The reduced size


def compare(n_stimuli, n_voxels, n_columns, n_new, repeats, device):
    """Every way to fit and predict, once in turn for each repeat; dict of name to list of seconds, and what they gave."""
    random = np.random.default_rng(0)
    patterns = random.standard_normal((n_stimuli, n_voxels), dtype=np.float32)
    new = random.standard_normal((n_new, n_voxels), dtype=np.float32)
    signal = random.standard_normal((n_voxels, n_columns), dtype=np.float32) * (0.3 / n_voxels**0.5)
    targets = patterns @ signal + random.standard_normal((n_stimuli, n_columns), dtype=np.float32)
    grid = list(np.logspace(0, 7, 20))
    ways = {
        "this solver, fixed penalty": lambda: ridge_predictions(patterns, targets, new, 1e4, device=device),
        "this solver, 20 penalties on a sketch": lambda: _chosen(patterns, targets, new, grid, device),
        "this solver, 20 penalties, all columns": lambda: _chosen(
            patterns, targets, new, grid, device, penalty="target"
        ),
        "this solver, 20 penalties on a sketch, recalibrated": lambda: _chosen(
            patterns, targets, new, grid, device, rescale="held_out", held_out="tenth"
        ),
        "scikit-learn Ridge, all targets at once": lambda: Ridge(1e4).fit(patterns, targets).predict(new),
        "scikit-learn Ridge per token (the published procedure)": lambda: _by_token(patterns, targets, new),
    } | _himalaya(patterns, targets, new, grid)
    measured, slow = {name: [] for name in ways}, set()
    for _ in range(repeats):
        for name, work in ways.items():
            if name in slow:
                continue
            measured[name].append(timed(work))
            # What takes longest is far from every bound, and is measured once.
            if measured[name][-1] > 40:
                slow.add(name)
            print(f"  {measured[name][-1]:7.2f} s  {name}", flush=True)
    return measured


def _chosen(patterns, targets, new, grid, device, **options):
    solver = RidgeSolver(patterns, {"target": targets.shape[1]}, len(targets), grid, device=device, **options)
    tables = {"target": targets}
    solver.factorise().choose(tables)
    return np.hstack([solved.predictions for solved in solver.solve(tables, new)])


def _by_token(patterns, targets, new):
    """As published: a fit for each token, predictions rescaled with their own statistics."""
    found = np.empty((len(new), targets.shape[1]), np.float32)
    for start in range(0, targets.shape[1], TOKEN):
        token = slice(start, start + TOKEN)
        predicted = Ridge(1e4, max_iter=50_000).fit(patterns, targets[:, token]).predict(new)
        predicted = (predicted - predicted.mean(axis=0)) / predicted.std(axis=0)
        found[:, token] = predicted * targets[:, token].std(axis=0) + targets[:, token].mean(axis=0)
    return found


def _himalaya(patterns, targets, new, grid):
    """Himalaya's ways, on whichever of its backends is faster for each on a processor; none where it is not installed."""
    try:
        from himalaya.backend import set_backend
        from himalaya.kernel_ridge import KernelRidge, KernelRidgeCV
        from himalaya.ridge import Ridge as HimalayaRidge
        from himalaya.ridge import RidgeCV
    except ImportError:
        print("himalaya is not installed (pip install 'brainrecon[banded]'): its rows are left out")
        return {}

    def on(backend, make):
        def work():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays = [set_backend(backend).asarray(values) for values in (patterns, targets, new)]
                return make().fit(*arrays[:2]).predict(arrays[2])

        return work

    def kernel_ridge():
        return KernelRidge(alpha=1e4, kernel="linear", solver="eigenvalues")

    def kernel_ridge_cv():
        return KernelRidgeCV(alphas=grid, kernel="linear", cv=5)

    return {
        "himalaya KernelRidge, eigenvalues (numpy)": on("numpy", kernel_ridge),
        "himalaya KernelRidge, eigenvalues (torch)": on("torch", kernel_ridge),
        "himalaya KernelRidgeCV, 20 penalties, 5 folds (numpy)": on("numpy", kernel_ridge_cv),
        "himalaya KernelRidgeCV, 20 penalties, 5 folds (torch)": on("torch", kernel_ridge_cv),
        "himalaya Ridge, singular values (numpy)": on("numpy", lambda: HimalayaRidge(alpha=1e4, solver="svd")),
        "himalaya RidgeCV, 20 penalties, 5 folds (numpy)": on("numpy", lambda: RidgeCV(alphas=grid, cv=5)),
    }


def growth(patterns_shape, device):
    """Seconds of reading, centring and multiplying as targets, and test patterns, grow: two lists of (size, seconds)."""
    random = np.random.default_rng(1)
    n_stimuli, n_voxels = patterns_shape
    patterns = random.standard_normal((n_stimuli, n_voxels), dtype=np.float32)
    new = random.standard_normal((1600, n_voxels), dtype=np.float32)
    targets = random.standard_normal((n_stimuli, 32_768), dtype=np.float32)
    solver = RidgeSolver(patterns, {"target": 1}, n_stimuli, 1e4, device=device).factorise()

    def predict(n_columns, n_new):
        solver.groups = {"target": n_columns}
        for _ in solver.solve({"target": targets[:, :n_columns]}, new[:n_new]):
            pass

    by_targets = [(n, seconds(lambda n=n: predict(n, 333))) for n in (4096, 8192, 16_384, 32_768)]
    by_new = [(n, seconds(lambda n=n: predict(16_384, n))) for n in (200, 400, 800, 1600)]
    return {"targets": by_targets, "test patterns": by_new}


# The real shape


def make_data(folder, n_stimuli, n_voxels, n_new, groups):
    """Random patterns and targets with a little in common, on disk; what is there stays. Returns patterns and tables."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("train.npy", "test.npy")]
    generator = torch.Generator().manual_seed(0)
    rank = 200
    mixing = torch.randn(rank, n_voxels, generator=generator)
    # Shared patterns of falling strength on top of noise, as in cortex.
    sources = torch.randn(n_stimuli + n_new, rank, generator=generator) * (torch.arange(rank) + 1.0) ** -0.5
    for path, rows in zip(paths, (slice(0, n_stimuli), slice(n_stimuli, None))):
        if not path.exists():
            own = sources[rows]
            values = own @ mixing + torch.randn(len(own), n_voxels, generator=generator)
            _write_whole(path, values.numpy())
    tables = {}
    for name, n_columns in groups.items():
        table = FeatureTable(
            folder / name, tuple(map(str, range(n_stimuli))), (n_stimuli, n_columns), np.dtype(np.float16)
        )
        tables[name] = table
        if table.path.exists():
            continue
        table.folder.mkdir(exist_ok=True)
        partial = table.folder / "partial.npy"
        runs = np.lib.format.open_memmap(partial, "w+", np.float16, (-(-n_columns // 32), n_stimuli, 32))
        for start in range(0, len(runs), 64):
            part = runs[start : start + 64]
            random = torch.randn(len(part), n_stimuli, 32, generator=generator)
            random += 0.5 * (sources[:n_stimuli] @ torch.randn(len(part), rank, 32, generator=generator))
            part[...] = random.half().numpy()
        runs.flush()
        del runs
        put_in_place(partial, table.path)
        print(f"  made {name}: {table.nbytes / 1e9:.2f} GB", flush=True)
    return *(np.load(path) for path in paths), tables


def _write_whole(path, values):
    with whole_file(path) as partial:
        np.save(partial, values)


def full(folder, shape, n_new, groups, n_alphas, options):
    """Fit and predict at the real shape from a cold file; dict of seconds, parts and memory."""
    n_stimuli, n_voxels = shape
    patterns, new, tables = make_data(folder, n_stimuli, n_voxels, n_new, groups)
    found = {"rates": rates(options["device"])}
    cold = 0.0
    for table in tables.values():
        forget(table.path)
        cold += timed(lambda table=table: read_whole(table.path))
        forget(table.path)
    n_targets, n_bytes = sum(groups.values()), sum(table.nbytes for table in tables.values())
    alphas = list(np.logspace(0, 7, n_alphas)) if n_alphas > 1 else PUBLISHED
    n_tried = n_alphas if n_alphas > 1 else len(set(PUBLISHED.values()))
    gram = 2 * n_stimuli**2 * n_voxels / found["rates"]["float64"]
    products = 2 * n_new * n_stimuli * n_targets / found["rates"]["float32"]
    penalties = n_tried * n_stimuli**3 / 3
    found["parts"] = {
        "2 n^2 p, float64": gram,
        f"{n_tried} n^3/3 at the rate of products": penalties / found["rates"]["float64"],
        f"{n_tried} n^3/3 at the rate of Cholesky": penalties / found["rates"]["cholesky"],
        "2 n_test n targets, float32": products,
        f"cold read of {n_bytes / 1e9:.2f} GB": cold,
    }
    found["sum"] = gram + products + cold + penalties / found["rates"]["float64"]
    found["sum with Cholesky's rate"] = gram + products + cold + penalties / found["rates"]["cholesky"]

    if n_alphas == 1:
        # The published recipe: penalties typed in, predictions rescaled by their own statistics.
        options = options | dict(rescale="transductive", held_out="none")
    decoder = RidgeDecoder(alphas=alphas, **options)
    steps, began = {}, time.perf_counter()

    def progress(label, done, total):
        steps.setdefault(label, [time.perf_counter() - began, 0.0])[1] = time.perf_counter() - began

    out = folder / "run"
    for path in (out / "config.json", out / "model.safetensors", out / "test.safetensors"):
        path.unlink(missing_ok=True)
    out.mkdir(exist_ok=True)
    names = [f"new{row}" for row in range(n_new)]
    files = dict(new_patterns=new, new_ids=names, embeddings=out / "test.safetensors")
    found["seconds"] = timed(lambda: fit_by_blocks(decoder, patterns, tables, out, progress=progress, **files))
    found["steps"] = {label: [round(when, 1) for when in both] for label, both in steps.items()}
    found["peak memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found["penalties"] = decoder.alpha_
    found["penalties whose error was worked out"] = {
        name: int(np.isfinite(errors).sum()) for name, errors in decoder.error_.items()
    }
    found["kept"], found["decoder bytes"] = decoder.stored_, (out / "model.safetensors").stat().st_size
    found["published"] = published_estimate(patterns, tables["clip_image"], new, groups)
    return found


def published_estimate(patterns, table, new, groups):
    """Seconds of the published procedure: one token of 768 columns measured, and as many fits as there are tokens."""
    token = table.columns(0, 768)
    one = timed(lambda: Ridge(6e4, max_iter=50_000).fit(patterns, token).predict(new))
    return {"a token": one, "all tokens (extrapolated)": one * (groups["clip_image"] + groups["clip_text"]) / 768}


def main(options):
    """Measure, print, and write what was measured."""
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    found = {"threads": options.threads, "device": options.device, "torch": torch.__version__}
    if options.full:
        n_stimuli, n_voxels = options.shape or (8859, 15_724)
        n_new = options.new or 982
        share = (options.columns or sum(TARGETS.values())) / sum(TARGETS.values())
        groups = {name: max(round(n * share), 768) for name, n in TARGETS.items()}
        found |= {"shape": [n_stimuli, n_voxels, n_new], "groups": groups}
        decoder = dict(memory=options.memory * 1e9, device=options.device, keep=options.keep)
        found |= full(options.full, (n_stimuli, n_voxels), n_new, groups, options.alphas, decoder)
        lines = _full_table(found)
        name = "full" if options.alphas > 1 else "full_fixed"
    else:
        n_stimuli, n_voxels = options.shape or (3000, 6000)
        n_columns, n_new = options.columns or 64 * TOKEN, options.new or round(n_stimuli * 982 / 8859)
        found |= {"shape": [n_stimuli, n_voxels, n_new], "columns": n_columns, "rates": rates(options.device)}
        measured = compare(n_stimuli, n_voxels, n_columns, n_new, options.repeats, options.device)
        found["seconds"] = measured
        found["growth"] = growth((n_stimuli, n_voxels), options.device)
        lines, name = _table(found), "reduced"
        _plot_growth(found["growth"], options.out / "growth.png")
    (options.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _rates_line(found):
    rate = {name: f"{value / 1e9:,.0f}" for name, value in found["rates"].items()}
    return (
        f"{found['threads']} threads, {found['device']}: products {rate['float64']} (float64) and {rate['float32']} (float32), "
        f"Cholesky {rate['cholesky']} (float64), in 10^9 operations per second."
    )


def _table(found):
    n_stimuli, n_voxels, n_new = found["shape"]
    medians = {name: statistics.median(values) for name, values in found["seconds"].items()}
    fixed, sketch, columns = (medians[name] for name in list(medians)[:3])
    lines = [
        _rates_line(found),
        "",
        f"{n_stimuli:,} stimuli, {n_voxels:,} voxels, {found['columns']:,} columns, {n_new} test patterns; "
        "fit and predict, float32 in memory, medians.",
        "",
        "| way | seconds | times measured | / fixed | / sketch | / all columns |",
        "|---|---|---|---|---|---|",
    ]
    for name, value in sorted(medians.items(), key=lambda item: item[1]):
        ratios = " | ".join(f"{value / own:.1f}" for own in (fixed, sketch, columns))
        lines.append(f"| {name} | {value:.2f} | {len(found['seconds'][name])} | {ratios} |")
    for what, rows in found["growth"].items():
        lines += ["", f"Growth with {what}: " + ", ".join(f"{size:,}: {value:.3f} s" for size, value in rows)]
    return lines


def _full_table(found):
    n_stimuli, n_voxels, n_new = found["shape"]
    measured, published = found["seconds"], found["published"]
    sums = {"products": found["sum"], "Cholesky": found["sum with Cholesky's rate"]}
    steps = ", ".join(f"{label} {begin:.0f} to {end:.0f} s" for label, (begin, end) in found["steps"].items())
    worked_out = found["penalties whose error was worked out"]
    chosen = ", ".join(
        f"{name} {alpha:,.0f} ({worked_out[name]} worked out)" for name, alpha in found["penalties"].items()
    )
    return [
        _rates_line(found),
        "",
        f"{n_stimuli:,} stimuli, {n_voxels:,} voxels, {sum(found['groups'].values()):,} columns in float16 on disk, "
        f"{n_new} test patterns.",
        "",
        "| part | seconds |",
        "|---|---|",
        *(f"| {name} | {value:.1f} |" for name, value in found["parts"].items()),
        *(f"| sum, factorisations at the rate of {rate} | {value:.1f} |" for rate, value in sums.items()),
        f"| **measured, files written** | **{measured:.1f}** |",
        *(f"| measured / sum at the rate of {rate} | {measured / value:.2f} |" for rate, value in sums.items()),
        "",
        f"Peak memory {found['peak memory'] / 1e9:.2f} GB; the decoder keeps its {found['kept']}, "
        f"{found['decoder bytes'] / 1e9:.2f} GB.",
        f"Steps: {steps}.",
        f"Penalties: {chosen}.",
        f"The published procedure: {published['a token']:.0f} s for one token of 768 columns (measured), "
        f"{published['all tokens (extrapolated)'] / 3600:.1f} h for all tokens (extrapolated; latents not counted).",
    ]


def _plot_growth(measured, path):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, (what, rows) in zip(axes, measured.items()):
        sizes, values = np.array(rows).T
        slope, start = np.polyfit(sizes, values, 1)
        line = np.array([0, sizes[-1]])
        axis.plot(line, start + slope * line, color="0.6", label="straight line fitted")
        axis.plot(sizes, values, "o", color="black", label="measured, median of 3")
        axis.set(xlabel=what, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axis.legend(frameon=False)
    figure.suptitle("Seconds of predicting, the patterns factorised before")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main(options))
