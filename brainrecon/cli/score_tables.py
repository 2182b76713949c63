"""Scores on the screen: a row per score, a column per condition, then what was predicted before any picture was drawn."""

from brainrecon.cli.console import numbers, say, tell
from brainrecon.evaluation.metrics.metric import METRICS
from brainrecon.report.names import condition_label, mean_text, score_text
from brainrecon.report.predicted_rows import labels_of_several
from brainrecon.report.response_rows import label_of, measures_there, response_rows, response_text

# Retrieval is read as identification is: a share of all, in percent.
SHARE = METRICS["n_way_identification"]


def show_scores(scores, heading="score"):
    """Print the mean of each metric under each condition with half the width of its interval, and what to know of them.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores
    heading : str
        Of the column with the names of scores.
    """
    names = list(scores.conditions)
    rows = [("stimuli", *(f"{len(scores.conditions[name].stimulus_ids):,}" for name in names))]
    # Of a system that draws nothing, embeddings alone; and nothing of what these data cannot be scored by.
    there = {row.metric for row in scores.summary}
    rows += [
        (_label(spec), *(mean_text(scores.mean(name, spec.name), spec.metric) for name in names))
        for spec in scores.metrics.values()
        if spec.name in there
    ]
    numbers((heading, *map(condition_label, names)), rows)
    if scores.embeddings is not None:
        _show_embeddings(scores)
    if scores.features is not None:
        _show_features(scores)
    if scores.retrieval is not None and scores.retrieval.rows:
        _show_retrieval(scores)
    if scores.categories is not None:
        _show_categories(scores)
    if scores.responses is not None:
        _show_responses(scores)
    if scores.corpus:
        _show_corpus(scores)
    say()
    tell(
        f"± half the {100 * scores.confidence:g} % interval (bootstrap over stimuli); protocol {scores.protocol.name} "
        f"{scores.protocol.sha256[:12]}, with its judges {scores.identity[:12]}; per stimulus in scores/, paired differences in "
        "the report"
    )
    for line in scores.notes:
        tell(line)
    if scores.vintage:
        tell(f"data: {scores.vintage}")


def show_splits(splits):
    """Print the scores of a run, and beside them those of the splits that are tested beside its own.

    Parameters
    ----------
    splits : dict of str to brainrecon.runs.score.SplitScores
        The run's own first.
    """
    own, *others = splits.values()
    show_scores(own.scores, f"score of {next(iter(splits))}" if others else "score")
    if own.were_there:
        tell_they_were_there(own.run)
    if not others:
        return
    scored = {name: one.scores for name, one in splits.items() if one.scores is not None}
    say()
    numbers(*splits_table(scored))
    for name, one in splits.items():
        if one is not own:
            tell(one.why_not or f"{name}: its controls, intervals and report are in {one.run.folder}")


def splits_table(scored):
    """A row for each score of the method itself, a column for each split: (names of columns, rows).

    Parameters
    ----------
    scored : dict of str to Scores
    """
    first = next(iter(scored.values()))
    rows = [("stimuli", *(f"{len(one.conditions[one.reference].stimulus_ids):,}" for one in scored.values()))]
    for spec in first.metrics.values():
        means = [one.mean(one.reference, spec.name) for one in scored.values()]
        if any(mean is not None for mean in means):
            rows.append((_label(spec), *(mean_text(mean, spec.metric) for mean in means)))
    labels, found = labels_of_several(list(scored.values())), {}
    for place, scores in enumerate(scored.values()):
        for kind in (scores.embeddings, scores.retrieval, scores.categories):
            for row in () if kind is None else kind.rows:
                what = (row.metric, getattr(row, "value", ""))
                found.setdefault(what, ["-"] * len(scored))[place] = mean_text(row, SHARE)
    rows += [(f"{labels[name]} (%) {of}".rstrip(), *cells) for (name, of), cells in found.items()]
    measures = dict.fromkeys(name for scores in scored.values() for name, *_ in measures_there(scores))
    for name in measures:
        found = [scores.responses and scores.responses.row(name) for scores in scored.values()]
        rows.append((label_of(name), *(response_text(row.mean, name) if row else "-" for row in found)))
    return ("score of the method", *scored), rows


def tell_they_were_there(run):
    """Say that scores were read and not computed."""
    tell(
        f"These scores were in {run.folder / 'scores'}: of the same outputs, protocol and judges. To compute them again: "
        f"brainrecon evaluate {run.folder} --again"
    )


def _label(spec):
    return f"{spec.label} (%)" if spec.metric.percent else spec.label


def _show_embeddings(scores):
    """Scores of predicted embeddings beside their permutation null, and how many directions the predictions use."""
    specs = scores.protocol.embeddings
    rows = [
        (
            specs[row.metric].among(row.n).label,
            row.n,
            f"{100 * row.mean:.1f}",
            f"{100 * row.null_low:.1f} to {100 * row.null_high:.1f}",
        )
        for row in scores.embeddings.rows
    ]
    if not rows:
        return
    (n_permutations,) = {row.n_permutations for row in scores.embeddings.rows}
    say()
    numbers(("embeddings", "stimuli", "score (%)", f"95 % of {n_permutations:,} permutations"), rows)
    say()
    ranks = [(row.target, row.n, f"{row.predicted:.1f}", f"{row.true:.1f}") for row in scores.embeddings.ranks]
    numbers(("effective rank", "stimuli", "predictions", "true values"), ranks)


def _show_features(scores):
    """Correlations of decoded features with the true ones: a row for each target, a column for each region."""
    rows = scores.features.rows
    regions = list(dict.fromkeys(row.roi for row in rows))
    for measure in dict.fromkeys(row.measure for row in rows):
        own = {(row.target, row.roi): row for row in rows if row.measure == measure}
        cells = [
            (target, *(f"{own[target, roi].mean:.3f}" if (target, roi) in own else "" for roi in regions))
            for target in dict.fromkeys(row.target for row in rows)
        ]
        say()
        numbers((measure.replace("_", " "), *(f"from {roi}" for roi in regions)), cells)


def _show_retrieval(scores):
    """How often what belongs together was found among candidates, beside chance."""
    rows = []
    for row in scores.retrieval.rows:
        label = scores.protocol.retrieval[row.metric].among(row.n_candidates).label
        found = mean_text(row, SHARE)
        rows.append((label, row.n, row.n_candidates, found, f"{100 * row.chance:.3g}"))
    say()
    numbers(("retrieval", "stimuli", "candidates", "found (%)", "chance (%)"), rows)


def _show_categories(scores):
    """How well categories were identified by each target as each region tells it, beside chance and shuffled responses."""
    for name, spec in scores.protocol.categories.items():
        rows = [row for row in scores.categories.rows if row.metric == name]
        if not rows:
            continue
        say()
        numbers(
            (spec.label, "region", "stimuli", "candidates", "rate (%)", "95 % of shuffled (%)", "chance (%)"),
            [
                (
                    row.target,
                    row.roi,
                    f"{row.n:,}",
                    f"{row.n_candidates:,}",
                    mean_text(row, SHARE),
                    f"{100 * row.null_low:.1f} to {100 * row.null_high:.1f}",
                    f"{100 * row.chance:.3g}",
                )
                for row in rows
            ],
        )


def _show_responses(scores):
    """How well predicted responses agree with the measured ones, beside controls and what their noise allows."""
    say()
    numbers(
        ("responses", "of", "stimuli", "voxels", "mean", "95 % interval", "ceiling", "of it", "predicted minus it"),
        [
            (
                row["label"],
                row["condition"],
                row["n"],
                row["n_voxels"],
                row["mean"],
                row["interval"],
                row["ceiling"] or "-",
                row["share"] or "-",
                f"{row['above']} ({row['above_interval']})" if row["above"] else "-",
            )
            for row in response_rows(scores)
        ],
    )


def _show_corpus(scores):
    """Scores of all captions together, as published tables print them."""
    specs = scores.protocol.captions.values()
    rows = [
        (spec.label, *(score_text(values.get(spec.name), spec.metric, unit=False) for values in scores.corpus.values()))
        for spec in specs
    ]
    say()
    numbers(("captions of the corpus", *map(condition_label, scores.corpus)), rows)
