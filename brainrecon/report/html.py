"""The one-file HTML report: pictures, scores, settings, and first sentences that follow from the numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from brainrecon.evaluation.scores import Scores
from brainrecon.report.figures import distribution
from brainrecon.report.names import (
    condition_explanation,
    condition_label,
    difference_text,
    interval_text,
    score_text,
)
from brainrecon.report.pictures import choose_stimuli, data_uri, first_sample, n_samples
from brainrecon.report.verdict import STAGE_ONE, write_verdict

_CAPTIONS_IN_VIEW = 24


@dataclass(frozen=True)
class ReportContent:
    """Everything a report shows.

    Attributes
    ----------
    title, subtitle : str
    stimulus_ids : sequence of str
        The test set in its order.
    shown : mapping of str to uint8 array (height, width, 3)
        The pictures that were seen, by stimulus.
    conditions : mapping of str to (mapping of str to picture, or to a list of pictures)
        By condition and stimulus. Of several samples the grid shows the first.
    scores : brainrecon.evaluation.scores.Scores
    notes : sequence of str
        One line each, under the title.
    captions : mapping of str to (str or sequence of str), optional
        By stimulus, with `captions_heading` and `captions_explanation` above them.
    caption_pictures : mapping of str to uint8 array, optional
        Pictures to put beside captions of stimuli that are not in `shown` (training stimuli).
    decoder : sequence of mappings
        A row per target: whatever the decoder has to say (penalty, held-out correlation, ...).
    config, environment : mappings
        Nested; shown as dotted names.
    citations : sequence of str
        How to cite the method and the data.
    simulated : bool
        Whether the responses were simulated; said beside the title.
    max_rows : int
        How many stimuli the grid shows at most.
    """

    title: str
    subtitle: str
    stimulus_ids: Sequence[str]
    shown: Mapping
    conditions: Mapping
    scores: Scores
    notes: Sequence[str] = ()
    captions: Mapping | None = None
    captions_heading: str = "Captions"
    captions_explanation: str = ""
    caption_pictures: Mapping | None = None
    decoder: Sequence[Mapping] = ()
    config: Mapping = field(default_factory=dict)
    environment: Mapping = field(default_factory=dict)
    citations: Sequence[str] = ()
    simulated: bool = False
    max_rows: int = 18


def render(content):
    """Write the report.

    Parameters
    ----------
    content : ReportContent
        Left as it is.

    Returns
    -------
    html : str
        One page that needs no other file, no script and no network. All text in it is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scores = content.scores
    chosen, how_chosen = choose_stimuli(
        content.stimulus_ids, content.shown, content.conditions, scores.reference, content.max_rows
    )
    columns = _column_order(content.conditions, scores.reference)
    return environment.get_template("report.html.jinja").render(
        content=content,
        verdict=write_verdict(scores),
        columns=[_column(name, scores) for name in columns],
        grid=[_grid_row(stimulus_id, columns, content) for stimulus_id in chosen],
        how_chosen=how_chosen,
        several_samples=any(
            n_samples(drawn) > 1 for pictures in content.conditions.values() for drawn in pictures.values()
        ),
        metrics=list(scores.metrics.values()),
        means=[_score_row(name, scores, scores.mean, _mean_cell) for name in scores.conditions],
        differences=[
            _score_row(name, scores, scores.difference, _difference_cell)
            for name in scores.conditions
            if name != scores.reference
        ],
        reference=condition_label(scores.reference),
        figures=[
            (spec, Markup(distribution(scores, spec.name)))  # noqa: S704, matplotlib escapes its text
            for spec in scores.metrics.values()
            if any(spec.name in one.values for one in scores.conditions.values())
        ],
        captions=_captions(content),
        n_captions_in_view=_CAPTIONS_IN_VIEW,
        decoder_columns=_decoder_columns(content.decoder),
        as_cell=_as_cell,
        heading=_heading,
        config=_flat(content.config),
        environment=_flat(content.environment),
        score_text=score_text,
    )


def _column_order(conditions, reference):
    """Stage one, then what was made of it, then the controls: as the pictures come about."""
    first = [name for name in (STAGE_ONE, reference) if name in conditions]
    return first + [name for name in conditions if name not in first]


def _column(name, scores):
    return {
        "label": condition_label(name),
        "explanation": condition_explanation(name),
        "kind": _kind(name, scores),
    }


def _kind(name, scores):
    """How the page sets a condition apart: "reference", "stage-one" or "control"."""
    return "reference" if name == scores.reference else "stage-one" if name == STAGE_ONE else "control"


def _grid_row(stimulus_id, columns, content):
    """The shown picture and the picture of each condition; None where a condition has not drawn it."""
    cells = []
    for name in columns:
        drawn = content.conditions[name]
        if stimulus_id not in drawn:
            cells.append(None)
            continue
        label = condition_label(name)
        lines = _stimulus_scores(content.scores, name, stimulus_id)
        cells.append(
            {
                "uri": data_uri(first_sample(drawn[stimulus_id])),
                "alt": f"{label}, {stimulus_id}",
                "tooltip": "\n".join([f"{label}, {stimulus_id}", *lines]),
                "kind": _kind(name, content.scores),
            }
        )
    caption = (content.captions or {}).get(stimulus_id, "")
    return {
        "stimulus_id": stimulus_id,
        "shown": data_uri(content.shown[stimulus_id]),
        "caption": caption if isinstance(caption, str) else next(iter(caption), ""),
        "cells": cells,
    }


def _stimulus_scores(scores, condition, stimulus_id):
    """One line per metric for one picture."""
    found = scores.conditions.get(condition)
    if found is None or stimulus_id not in found.stimulus_ids:
        return []
    row = found.stimulus_ids.index(stimulus_id)
    return [
        f"{spec.label}: {score_text(float(found.values[name][row]), spec.metric)}"
        for name, spec in scores.metrics.items()
        if name in found.values
    ]


def _score_row(name, scores, lookup, cell):
    found = [lookup(name, metric) for metric in scores.metrics]
    counts = [row.n for row in found if row is not None]
    return {
        "label": condition_label(name),
        "explanation": condition_explanation(name),
        "n": max(counts, default=0),
        "is_reference": name == scores.reference,
        "cells": [
            None if row is None else cell(row, spec.metric)
            for row, spec in zip(found, scores.metrics.values(), strict=True)
        ],
    }


def _mean_cell(row, metric):
    return {"value": score_text(row.mean, metric, unit=False), "interval": interval_text(row, metric)}


def _difference_cell(row, metric):
    """A difference, and whether the reference is better, worse, or not told apart by the interval."""
    better = (row.mean > 0) == metric.higher_is_better
    return {
        "value": difference_text(row.mean, metric),
        "interval": interval_text(row, metric, signed=True),
        "verdict": ("better" if better else "worse") if row.excludes_zero else "open",
    }


def _captions(content):
    """Rows of (stimulus id, picture or None, list of captions); pictures for those in view."""
    pictures = {**content.shown, **(content.caption_pictures or {})}
    rows = []
    for position, (stimulus_id, texts) in enumerate((content.captions or {}).items()):
        in_view = position < _CAPTIONS_IN_VIEW and stimulus_id in pictures
        uri = data_uri(pictures[stimulus_id]) if in_view else None
        rows.append((stimulus_id, uri, [texts] if isinstance(texts, str) else list(texts)))
    return rows


def _decoder_columns(rows):
    """Every key that occurs, in the order of first occurrence."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _heading(key):
    text = re.sub("^n ", "number of ", str(key).replace("_", " "))
    return text[:1].upper() + text[1:]


def _as_cell(value):
    """A value of the decoder table: four digits of a number, thousands apart."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return _plain(value) or "\N{EN DASH}"


def _flat(nested, prefix=""):
    """A nested mapping as rows of (dotted name, text)."""
    rows = []
    for key, value in nested.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value):
    """A setting as text: TOML's words for truth, nothing for None, commas between the parts of a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)
