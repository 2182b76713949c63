"""Compare ways to decode a subject of whom there is little: aligned to another one's decoder, or alone.

    python scripts/compare_alignment.py [KIND:PATH] [--reference subj01] [--new subj02] [--share 0.5] [--json FILE]

Without data it simulates a cohort in a temporary folder. A share of the stimuli that both saw is what alignments, and the
decoder of the new subject alone, are fitted on; the others are tested, and no response to them takes part, except in the rows
that say so: these show what an alignment on tested stimuli pretends. The table gives two-way identification of tested stimuli
by decoded CLIP tokens, and the difference from the new subject's own decoder of the same stimuli, each with the 95 % interval
that resamples stimuli. Ways that need one grid are left out where the subjects have two, and those of more components than
stimuli.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import brainrecon
from brainrecon.assembly.align import responses_to, shared_rows
from brainrecon.datasets.cohort import Cohort
from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import success_matrix
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pair_difference, bootstrap_pairs
from brainrecon.runs.shared_stimuli import split_shared
from stages.adapters.functional_alignment import FunctionalAlignment
from stages.decoders.ridge.ridge import RidgeDecoder
from weights.whole_files import write_text

TARGET = "clip_image"
ALPHAS = tuple(float(10**power) for power in range(-1, 6))
ALONE = "new subject alone, alignment stimuli"
HONEST = {
    "aligned by ridge": ("ridge", {"alphas": ALPHAS}),
    "aligned by a rotation": ("procrustes", {}),
    "aligned by a rotation of 20 directions": ("procrustes", {"rank": 20}),
    "aligned by 20 shared components": ("shared_response", {"n_components": 20}),
    "aligned by U V, as published": ("procrustes", {"rotation": "U V"}),
    "aligned by V U^T, as published": ("procrustes", {"rotation": "transposed"}),
    "as it is (no alignment)": ("anatomical", {}),
}
LEAKING = ("ridge", {"alphas": (ALPHAS[0],)})


def compare(reference, new, targets, seed=0):
    """Decode the tested stimuli of a new subject in all ways.

    Parameters
    ----------
    reference, new : brainrecon.datasets.subject.Subject
        The new one's training split holds the stimuli to align on.
    targets : dict of (str, str) to array of shape (n_stimuli, n_values)
        True values by "reference" or "new" and the split.
    seed : int
        Of noise in the place of responses, and of resampling.

    Returns
    -------
    dict of str to dict
        By the way: score and half width, and both of the difference from the new subject alone.
    """
    rows = shared_rows(new, reference)
    learned, tested = new.train.patterns[rows], new.test.patterns
    ids = [str(name) for name in new.train.stimulus_ids[rows]]
    tested_ids = [str(name) for name in new.test.stimulus_ids]
    theirs, theirs_tested = responses_to(reference, ids), responses_to(reference, tested_ids)
    decoder = RidgeDecoder().fit(reference.train.patterns, targets["reference", "train"])
    own = {
        ALONE: (learned, targets["new", "train"][rows]),
        "new subject alone, all its stimuli": (new.train.patterns, targets["new", "train"]),
    }
    found = {name: RidgeDecoder().fit(*pair).predict(tested) for name, pair in own.items()}
    found["reference itself"] = decoder.predict(theirs_tested)
    for name, (method, options) in HONEST.items():
        needs_grid = method == "anatomical" or "rotation" in options
        n_directions = max(options.get("rank", 0), options.get("n_components", 0))
        if n_directions < len(learned) and (new.n_voxels == reference.n_voxels or not needs_grid):
            alignment = FunctionalAlignment(method, **options).fit(learned, theirs)
            found[name] = decoder.predict(alignment.transform(tested))
    noise = np.random.default_rng(seed).standard_normal((len(learned) + len(tested), new.n_voxels)).astype(np.float32)
    found["noise, aligned by ridge"] = _aligned(decoder, noise[: len(learned)], theirs, noise[len(learned) :])
    both = np.concatenate([theirs, theirs_tested])
    found["LEAK: aligned on tested stimuli too"] = _aligned(decoder, np.concatenate([learned, tested]), both, tested)
    found["LEAK: noise, aligned on tested stimuli too"] = _aligned(decoder, noise, both, noise[len(learned) :])
    pairs = {name: success_matrix(correlation_matrix(targets["new", "test"], values)) for name, values in found.items()}
    return {name: _scores(pair, pairs[ALONE], seed) for name, pair in pairs.items()}


def _aligned(decoder, source, target, new):
    method, options = LEAKING
    return decoder.predict(FunctionalAlignment(method, **options).fit(source, target).transform(new))


def _scores(pair, other, seed):
    score, gain = bootstrap_pairs(*pair, seed=seed), bootstrap_pair_difference(pair, other, seed=seed)
    return {
        "score": score.mean,
        "half_width": (score.ci_high - score.ci_low) / 2,
        "gain": gain.mean,
        "gain_half_width": (gain.ci_high - gain.ci_low) / 2,
    }


def table(comparison):
    """The comparison in markdown, percentages."""
    lines = ["| | two-way identification (%) | less the new subject alone |", "|---|---|---|"]
    for name, row in comparison.items():
        score, half, gain, gain_half = (100 * row[key] for key in ("score", "half_width", "gain", "gain_half_width"))
        difference = "" if name == ALONE else f"{gain:+.1f} ± {gain_half:.1f}"
        lines.append(f"| {name} | {score:.1f} ± {half:.1f} | {difference} |")
    return "\n".join(lines)


def load(data, reference, new, share, features):
    """Both subjects and their true values, as `compare` takes them."""
    cohort = Cohort.load(data, (reference, new))
    reference, new = cohort.values()
    new = split_shared(new, f"shared:{share}", [reference])
    encoder = brainrecon.Reconstructor(
        "ferrante2023-alignment", {"text_context": False}, weights="tiny", features=features
    )
    subjects = {"reference": reference, "new": new}
    return (
        reference,
        new,
        {
            (whose, split): np.asarray(encoder.encode(subject, split)[TARGET])
            for whose, subject in subjects.items()
            for split in ("train", "test")
        },
    )


def main(arguments=None):
    """Compare on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="KIND:PATH; a simulated cohort if it is not given")
    parser.add_argument("--reference", default="subj01")
    parser.add_argument("--new", default="subj02")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if data is None:
            brainrecon.simulate(
                f"{folder}/nsd",
                subjects=2,
                sessions=6,
                trials_per_session=180,
                shared=120,
                voxels=800,
                seed=options.seed,
            )
            data = f"nsd:{folder}/nsd"
        comparison = compare(
            *load(data, options.reference, options.new, options.share, f"{folder}/features"), seed=options.seed
        )
    print(table(comparison))
    if options.json:
        write_text(options.json, json.dumps(comparison, indent=1) + "\n")


if __name__ == "__main__":
    main()
