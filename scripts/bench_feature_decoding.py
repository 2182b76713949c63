"""Time the decoders of units beside a loop over the authors' package and one over scikit-learn, unit by unit.

    python scripts/bench_feature_decoding.py [--out FOLDER] [--threads 2] [--repeats 3]

Ridge on 500 voxels of each unit's own choice, of 1,000 and of 4,000 voxels, on 1,200 trials and on 6,000, five of each
picture: once with units that neighbour in a layer and choose nearly the same voxels, and once with units that have nothing in
common. What is done once, such as the Gram matrix, takes part nowhere; products of units with patterns count for this decoder
alone. The package's loop takes one thread whatever it is given. With one thread, seconds are the processor's own, so that they
hold on a machine that others use, too. Repeats are paired, and predictions compared. Beside them
stands what the machine would take for the products and the factorisations alone.
`scripts/decode_full_size.py` decodes a whole network.
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
arguments.add_argument("--out", type=Path, default=Path("bench_feature_decoding"))
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--repeats", type=int, default=3)
arguments.add_argument("--units", type=int, default=1024, help="of this decoder in a block")
arguments.add_argument("--few", type=int, default=16, help="of the others")
arguments.add_argument("--chosen", type=int, default=500)
arguments.add_argument("--voxels", type=int, nargs="+", default=[700, 1000, 4000])
arguments.add_argument("--trials", type=int, nargs="+", default=[1200, 6000])
if __name__ == "__main__":
    options = arguments.parse_args()
    # Before anything starts threads of its own.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)

import numpy as np
import torch
from sklearn.linear_model import Ridge

from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.unitwise.chosen_voxels import places_of
from stages.decoders.unitwise.principal_systems import batches
from stages.decoders.unitwise.unit_models import UnitModels
from stages.decoders.unitwise.unitwise import UnitwiseDecoder

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from authors_ridge import fast_l2_lir

N_PICTURES, ALPHA, N_NEW = 1200, 100.0, 50


def made_up(n_trials, n_voxels, n_units, neighbours, seed=0):
    """Patterns (n_trials, n_voxels), units (n_pictures, n_units) and the picture of each trial; float32, standardised."""
    random = np.random.default_rng(seed)
    pictures = min(n_trials, N_PICTURES)
    common = random.normal(size=(pictures, 40))
    units = random.normal(size=(pictures, n_units))
    if neighbours:
        # Each is like the one before it, as places of a layer that see nearly the same.
        for unit in range(1, n_units):
            units[:, unit] = 0.97 * units[:, unit - 1] + np.sqrt(1 - 0.97**2) * units[:, unit]
    shown = np.tile(np.arange(pictures), n_trials // pictures)
    voxels = common @ random.normal(size=(40, n_voxels)) + units[:, : n_units // 8] @ random.normal(
        size=(n_units // 8, n_voxels)
    )
    patterns = voxels[shown] + 2 * voxels.std() * random.normal(size=(len(shown), n_voxels))
    patterns = (patterns - patterns.mean(axis=0)) / patterns.std(axis=0, ddof=1)
    units = (units - units.mean(axis=0)) / units.std(axis=0, ddof=1)
    return patterns.astype(np.float32), units.astype(np.float32), shown


def now():
    """Seconds, the processor's own where there is one thread."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def timed(work):
    """Seconds, and what came out."""
    start = now()
    found = work()
    return now() - start, found


def authors(patterns, units, new, chosen):
    """Seconds for a unit in the loop of the authors' package, products with the patterns left out, and its predictions."""
    marks = []

    def loop(numbers):
        marks.append(now())
        yield from numbers
        marks.append(now())

    package = fast_l2_lir(selects=True, loop=loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package.fit(patterns, units, alpha=ALPHA, n_feat=chosen)
    return (marks[1] - marks[0]) / units.shape[1], package.predict(new)


def by_scikit_learn(patterns, units, new, places):
    """Seconds for a unit by scikit-learn's ridge on the voxels that it has chosen, and predictions."""

    def one(unit):
        own = np.column_stack([patterns[:, places[unit]], np.ones(len(patterns), patterns.dtype)])
        ridge = Ridge(alpha=ALPHA, fit_intercept=False, solver="cholesky").fit(own, units[:, unit])
        return ridge.predict(np.column_stack([new[:, places[unit]], np.ones(len(new), new.dtype)]))

    seconds, found = timed(lambda: [one(unit) for unit in range(len(places))])
    return seconds / len(places), np.stack(found, axis=1)


def limit(n_pictures, n_voxels, size):
    """Seconds for a unit that the machine takes for its product in 64 bits, and for one factorisation in 32."""
    left, right = (torch.randn(n_pictures, n, dtype=torch.float64) for n in (n_voxels, 512))
    matrices = torch.eye(size).expand(batches(1024, size, torch.empty(0))[0].stop, -1, -1).contiguous()
    product = min(timed(lambda: right.T @ left)[0] for _ in range(5)) / 512
    return product, min(timed(lambda: torch.linalg.cholesky_ex(matrices))[0] for _ in range(9)) / len(matrices)


def case(options, n_trials, n_voxels, neighbours):
    """A row of the table."""
    patterns, units, shown = made_up(n_trials, n_voxels, options.units, neighbours)
    decoder = UnitwiseDecoder(voxels=options.chosen, alpha=ALPHA)
    trials = Trials(len(units), None if len(units) == n_trials else shown)
    once, models = timed(lambda: UnitModels(patterns, trials, decoder))
    new = patterns[:N_NEW] + 0.5
    reader = models.reader(new)

    def ours():
        fitted = models.fit(torch.from_numpy(units.copy()))
        return fitted, models.predict(fitted, reader)

    seconds = {"ours": [], "package": [], "scikit-learn": []}
    ours()
    few = np.linspace(0, options.units - 1, options.few).astype(int)
    for _ in range(options.repeats):
        taken, (fitted, predictions) = timed(ours)
        seconds["ours"].append(taken / options.units)
        places = places_of(fitted.chosen).numpy()[few[:4]]
        values = units[shown][:, few]
        # The package computes in 64 bits whatever comes in.
        doubled = (array.astype(np.float64) for array in (patterns, values, new))
        taken, of_package = authors(*doubled, options.chosen)
        seconds["package"].append(taken)
        taken, of_scikit = by_scikit_learn(patterns, values[:, :4], new, places)
        seconds["scikit-learn"].append(taken)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    paired = {
        name: statistics.median(other / own for other, own in zip(seconds[name], seconds["ours"]))
        for name in ("package", "scikit-learn")
    }
    product, factor = limit(len(units), n_voxels, min(options.chosen, n_voxels - options.chosen))
    spread = predictions.std()
    return {
        "trials": n_trials,
        "voxels": n_voxels,
        "units": "neighbours" if neighbours else "unrelated",
        "way": models._models.way,
        "bits": 8 * models._models.dtype.itemsize,
        "ours, us": 1e6 * median["ours"],
        "package, us": 1e6 * median["package"],
        "scikit-learn, us": 1e6 * median["scikit-learn"],
        "package / ours": paired["package"],
        "scikit-learn / ours": paired["scikit-learn"],
        "product, us": 1e6 * product,
        "factor, us": 1e6 * factor / options.threads,
        "once, s": once,
        "largest difference, SD": float(np.abs(predictions[:, few] - of_package).max() / spread),
        "from scikit-learn, SD": float(np.abs(predictions[:, few[:4]] - of_scikit).max() / spread),
    }


def in_digits(row):
    """A row of the table in three digits."""
    return {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in row.items()}


def main(options):
    """Time every case and write the table."""
    torch.set_num_threads(options.threads)
    rows = []
    for n_trials in options.trials:
        for n_voxels in options.voxels:
            for neighbours in (True, False):
                rows.append(case(options, n_trials, n_voxels, neighbours))
                print(json.dumps(in_digits(rows[-1])), flush=True)
    names = list(rows[0])
    lines = [f"{options.threads} threads, medians of {options.repeats}, {options.chosen} voxels for each unit", ""]
    lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(in_digits(row).values()) + " |" for row in rows]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(options)
