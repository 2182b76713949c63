"""Compare ordinary ridge with banded ridge, a penalty for each visual area, on the targets of a method.

    python scripts/compare_banded.py [KIND:PATH] [--subject subj01] [--roi nsdgeneral] [--n-iter 60] [--json FILE]

Without data it simulates a cohort in a temporary folder. Both decoders are fitted on the training patterns; ordinary
ridge chooses its penalty by leave-one-out error. The table gives for each target the penalties, the correlation of
predictions with true values over test stimuli (mean over columns), two-way identification among the test stimuli, and
differences with half the width of their 95% bootstrap interval over stimuli. Seconds are those of fitting all targets.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import brainrecon
from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.statistics.intervals import bootstrap_difference
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError
from weights.whole_files import write_text

# Where areas overlap, voxels stay with the first.
AREAS = ("V1", "V2", "V3", "hV4", "V4", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal")
AREAS += ("LOC", "FFA", "PPA", "LVC", "HVC")
COLUMNS_PER_BLOCK = 1024


def areas_of(subject):
    """Masks of the subject's areas, (n_voxels,) bool each, no voxel in two."""
    bands, taken = {}, np.zeros(subject.n_voxels, dtype=bool)
    for name in AREAS:
        mask = subject.rois.get(name, taken) & ~taken
        if mask.any():
            bands[name], taken = mask, taken | mask
    if not bands:
        raise InputError(
            f"{subject.source} has the rois {', '.join(subject.rois) or 'none'}; expected some of {', '.join(AREAS)}: "
            "load data with visual areas, or add their names to AREAS."
        )
    return bands


def correlation_difference(truth, predictions, n_resamples=2000, seed=0):
    """Correlation over stimuli, mean over columns, of two predictions, and how sure their difference is.

    Parameters
    ----------
    truth : array of shape (n_stimuli, n_columns)
    predictions : pair of arrays of shape (n_stimuli, n_columns)

    Returns
    -------
    first, second : float
    half_width : float
        Half the width of the 95% bootstrap interval of `second - first`; stimuli are drawn with replacement.
    """
    n_stimuli, n_columns = truth.shape
    draws = np.random.default_rng(seed).multinomial(n_stimuli, np.full(n_stimuli, 1 / n_stimuli), size=n_resamples)
    weights = np.vstack([np.ones(n_stimuli), draws]) / n_stimuli  # the sample itself, then resamples
    totals = np.zeros((2, len(weights)))
    for start in range(0, n_columns, COLUMNS_PER_BLOCK):
        block = slice(start, start + COLUMNS_PER_BLOCK)
        true = _standardised(truth[:, block])
        for total, predicted in zip(totals, predictions):
            total += _weighted_correlations(weights, true, _standardised(predicted[:, block])).sum(axis=1)
    means = totals / n_columns
    low, high = np.quantile(means[1, 1:] - means[0, 1:], [0.025, 0.975])
    return float(means[0, 0]), float(means[1, 0]), float(high - low) / 2


def _standardised(values):
    values = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    scale = values.std(axis=0)
    return values / np.where(scale > 0, scale, 1)


def _weighted_correlations(weights, true, predicted):
    """Correlation of each column under each row of weights, (n_weights, n_columns); 0 where a column is constant."""
    means = weights @ true, weights @ predicted
    variance = (weights @ true**2 - means[0] ** 2) * (weights @ predicted**2 - means[1] ** 2)
    covariance = weights @ (true * predicted) - means[0] * means[1]
    return np.where(variance > 1e-12, covariance / np.sqrt(np.maximum(variance, 1e-12)), 0)


def compare(train, test, train_targets, test_targets, bands, n_iter=60, seed=0):
    """Fit both decoders and score them on the test stimuli.

    Parameters
    ----------
    train, test : array of shape (n_stimuli, n_voxels), float32
        Patterns.
    train_targets, test_targets : dict of str to array of shape (n_stimuli, n_columns), float32
    bands : dict of str to bool array of shape (n_voxels,)
    n_iter, seed : int
        Of `BandedRidgeDecoder`.

    Returns
    -------
    dict
        JSON-able: seconds of each decoder, and scores of each target.
    """
    groups = {name: values.shape[1] for name, values in train_targets.items()}
    features = np.concatenate(list(train_targets.values()), axis=1)
    decoders = {"ordinary": RidgeDecoder(), "banded": BandedRidgeDecoder(bands, n_iter=n_iter, seed=seed)}
    seconds, predictions = {}, {}
    for name, decoder in decoders.items():
        started = time.perf_counter()
        decoder.fit(train, features, groups=groups)
        seconds[name] = time.perf_counter() - started
        predictions[name] = decoder.split(decoder.predict(test))

    targets = {}
    for name, truth in test_targets.items():
        ordinary, banded = (predictions[decoder][name] for decoder in decoders)
        identified = [two_way_identification(truth, predicted) for predicted in (ordinary, banded)]
        gain = bootstrap_difference(*reversed(identified), seed=seed)
        correlations = correlation_difference(truth, (ordinary, banded), seed=seed)
        targets[name] = {
            "penalty": {
                "ordinary": decoders["ordinary"].alpha_[name],
                "banded": decoders["banded"].band_penalty_[name],
            },
            "correlation": _scores(*correlations),
            "identification": _scores(*(float(each.mean()) for each in identified), (gain.ci_high - gain.ci_low) / 2),
        }
    return {
        "n_train": len(train),
        "n_test": len(test),
        "voxels": {name: int(mask.sum()) for name, mask in bands.items()},
        "n_iter": n_iter,
        "seed": seed,
        "seconds": seconds,
        "targets": targets,
    }


def _scores(ordinary, banded, half_width):
    return {"ordinary": ordinary, "banded": banded, "difference": banded - ordinary, "half_width": half_width}


def table(comparison):
    """The comparison as a table in markdown."""
    head = ["target", "penalty", "penalty of each band"]
    for score in ("correlation", "identification"):
        head += [score, "banded", "difference"]
    head += ["seconds", "banded"]
    rows = [head, ["---"] * len(head)]
    for name, target in comparison["targets"].items():
        penalty = target["penalty"]
        row = [name, _short(penalty["ordinary"]), "; ".join(f"{b} {_short(a)}" for b, a in penalty["banded"].items())]
        for score in (target["correlation"], target["identification"]):
            row += [f"{score['ordinary']:.3f}", f"{score['banded']:.3f}"]
            row += [f"{score['difference']:+.3f} ± {score['half_width']:.3f}"]
        rows.append(row + [f"{seconds:.0f}" for seconds in comparison["seconds"].values()])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _short(penalty):
    """Two digits, 1,200 rather than 1.2e+03."""
    return f"{float(f'{penalty:.2g}'):,.0f}" if 10 <= penalty < 1e5 else f"{penalty:.2g}"


def load(data, subject, roi, features):
    """Patterns, targets and areas of a subject, as `compare` takes them."""
    subject = brainrecon.load(data, subject=subject, roi=roi)
    bands = areas_of(subject)
    captioned = all(split.has_captions for split in (subject.train, subject.test))
    reconstructor = brainrecon.Reconstructor(settings={"text_context": captioned}, weights="tiny", features=features)
    targets = [
        {name: np.asarray(values) for name, values in reconstructor.encode(subject, split).items()}
        for split in ("train", "test")
    ]
    return subject.train.patterns, subject.test.patterns, *targets, bands


def main(arguments=None):
    """Compare on one subject; print the table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", metavar="KIND:PATH", help="for example nsd:/data/nsd; simulated by default")
    parser.add_argument("--subject", help="for example subj01; the first by default")
    parser.add_argument("--roi", help="voxels to use; the dataset's own choice by default")
    parser.add_argument("--n-iter", type=int, default=60, help="weightings of the bands to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data, features = options.data, None
        if data is None:
            brainrecon.simulate(Path(folder) / "cohort", seed=options.seed)
            data, features = f"nsd:{folder}/cohort", Path(folder) / "features"
        try:
            inputs = load(data, options.subject, options.roi, features)
            comparison = compare(*inputs, n_iter=options.n_iter, seed=options.seed)
        except InputError as error:
            parser.error(str(error))
    comparison = {"data": options.data or f"simulated, seed {options.seed}"} | comparison
    print(table(comparison))
    if options.json:
        write_text(options.json, json.dumps(comparison, indent=1) + "\n")


if __name__ == "__main__":
    main()
