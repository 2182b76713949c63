"""The picture grid of a report: what was shown, and beside it what was drawn under each condition, or from each subject."""

import math

from brainrecon.report.names import condition_explanation, condition_label, in_sentence, score_text
from brainrecon.report.pictures import choose_blocks, choose_stimuli, data_uri, first_sample, rank_stimuli
from brainrecon.report.run.verdict import STAGE_ONE, leading_metrics

# Stimuli that are shown as each of several subjects saw them.
_N_IN_COMMON = 8


def grid_of(content):
    """The picture grid: its columns, blocks of rows, and how these were chosen; None if nothing was drawn."""
    if not content.conditions:
        return None
    names = column_order(content.conditions, content.scores.reference)
    blocks, how_chosen = _choose(content)
    return {
        "columns": [column_of(name, content.scores, content.explanation) for name in names],
        "blocks": [(block.heading, [grid_row(one, names, content) for one in block.stimulus_ids]) for block in blocks],
        "how_chosen": how_chosen,
    }


def side_by_side(splits):
    """What was drawn of the same stimuli from each of several subjects, a column for each; None if they saw none in common.

    Parameters
    ----------
    splits : sequence of brainrecon.report.run.splits.SplitBeside
        Subjects that were learned from together, the run's own first.

    Returns
    -------
    grid : dict or None
        As `grid_of` returns it.
    """
    own, name = splits[0].content, splits[0].content.scores.reference
    drawn = {split.name: split.content.conditions.get(name, {}) for split in splits}
    common = [one for one in own.stimulus_ids if all(one in pictures for pictures in drawn.values())]
    if not common:
        return None
    chosen, how = choose_stimuli(common, own.shown, drawn, own_name := splits[0].name, _N_IN_COMMON)
    rows = [
        grid_row(one, [name], own) | {"cells": [grid_row(one, [name], split.content)["cells"][0] for split in splits]}
        for one in chosen
    ]
    told = f"{condition_label(name)} from the responses of each subject to the same stimuli. {how}"
    columns = [
        {"label": split.name, "explanation": "", "kind": "reference" * (split.name == own_name)} for split in splits
    ]
    return {"columns": columns, "blocks": [("", rows)], "how_chosen": told}


def _choose(content):
    """Blocks of the grid, and how they were chosen."""
    scores = content.scores
    headline, low_level = leading_metrics(scores)
    rule = ""
    if headline is not None:
        name = condition_label(scores.reference)
        whose = "the reconstruction's" if scores.reference == "reconstruction" else f"the \u201c{name}\u201d pictures'"
        ties = "" if low_level == headline else f"by {in_sentence(scores.metrics[low_level].label)} and then "
        rule = f"{whose} {in_sentence(scores.metrics[headline].label)}, ties decided {ties}by the order of the test set"
    return choose_blocks(
        content.stimulus_ids,
        content.shown,
        content.conditions,
        scores.reference,
        rank_stimuli(scores, content.stimulus_ids, headline, low_level),
        rule,
        content.n_each,
        content.n_unselected,
    )


def column_order(conditions, reference):
    """Stage one, then what was made of it, then the controls: as the pictures come about."""
    first = [name for name in (STAGE_ONE, reference) if name in conditions]
    return first + [name for name in conditions if name not in first]


def column_of(name, scores, explanation):
    """The head of a condition's column: label, explanation and kind."""
    own = name == scores.reference and explanation
    return {
        "label": condition_label(name),
        "explanation": f"{explanation[:1].upper()}{explanation[1:]}" if own else condition_explanation(name),
        "kind": _kind(name, scores),
    }


def _kind(name, scores):
    """How the page sets a condition apart: "reference", "stage-one" or "control"."""
    return "reference" if name == scores.reference else "stage-one" if name == STAGE_ONE else "control"


def grid_row(stimulus_id, columns, content):
    """The shown picture and the picture of each condition; None if a condition has not drawn it."""
    scores, cells = content.scores, []
    headline, low_level = leading_metrics(scores)
    for name in columns:
        drawn = content.conditions[name]
        if stimulus_id not in drawn:
            cells.append(None)
            continue
        label, texts = condition_label(name), _score_texts(scores, name, stimulus_id)
        lines = [f"{scores.metrics[metric].label}: {text}" for metric, text in texts.items()]
        ranked_by_both = name == scores.reference and low_level != headline
        cells.append(
            {
                "label": label,
                "uri": data_uri(first_sample(drawn[stimulus_id])),
                "alt": f"{label}, {stimulus_id}",
                "tooltip": "\n".join([f"{label}, {stimulus_id}", *lines]),
                "kind": _kind(name, scores),
                "score": texts.get(headline, ""),
                "low_level": texts.get(low_level, "") if ranked_by_both else "",
            }
        )
    caption = (content.captions or {}).get(stimulus_id, "")
    return {
        "stimulus_id": stimulus_id,
        "shown": data_uri(content.shown[stimulus_id]) if stimulus_id in content.shown else None,
        "caption": caption if isinstance(caption, str) else next(iter(caption), ""),
        "cells": cells,
    }


def _score_texts(scores, condition, stimulus_id):
    """The scores of one picture as text, by metric."""
    found = scores.conditions.get(condition)
    if found is None or stimulus_id not in found.stimulus_ids:
        return {}
    row = found.stimulus_ids.index(stimulus_id)
    return {
        name: score_text(float(found.values[name][row]), spec.metric)
        for name, spec in scores.metrics.items()
        if name in found.values and not math.isnan(found.values[name][row])
    }
