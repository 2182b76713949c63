"""The one-file HTML report: pictures, scores, settings, and first sentences that follow from the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from markupsafe import Markup

from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report import predicted_rows, response_rows, tables
from brainrecon.report.names import chance_of, condition_label, score_text
from brainrecon.report.pictures import data_uri
from brainrecon.report.run import feature_matrix
from brainrecon.report.run.citing import cite_this
from brainrecon.report.run.figures import against, curve, distribution
from brainrecon.report.run.grid import column_of, column_order, grid_of, side_by_side
from brainrecon.report.run.matrix_figure import matrix_figure
from brainrecon.report.run.splits import SplitBeside, predicted_table, scored_anywhere, split_groups
from brainrecon.report.run.surface_figure import SurfaceMap
from brainrecon.report.run.verdict import SHUFFLED, STAGE_ONE, leading_metrics, write_verdict
from brainrecon.report.templates import template
from stages.ground.errors import InputError

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
        The pictures that were seen, by stimulus; empty if nobody has any.
    conditions : mapping of str to (mapping of str to picture, or to a list of pictures)
        By condition and stimulus. Of several samples the grid shows the first.
    scores : brainrecon.evaluation.scores.scores.Scores
    explanation : str
        How the method makes its pictures, in a line.
    notes : sequence of str
        One line each, under the title.
    captions : mapping of str to (str or sequence of str), optional
        By stimulus, with `captions_heading` and `captions_explanation` above them.
    predicted_captions : mapping of str to (mapping of str to (str or sequence of str))
        By condition and stimulus, what was read from the responses in words; empty for a system that says nothing.
    true_captions : mapping of str to sequence of str
        By stimulus, what people said; beside the predicted ones.
    caption_pictures : mapping of str to uint8 array, optional
        Pictures to put beside captions of stimuli that are not in `shown` (training stimuli).
    decoder : sequence of mappings
        A row per target: whatever the decoder has to say (penalty, held-out correlation, ...).
    curves : mapping of str to (mapping of str to (steps, values))
        The course of each training, by what was trained and by label; empty if there was none.
    rois : sequence of mappings
        A row per region: `roi`, its name; plain values such as `n_voxels`; and by the name of a metric (or of a score of
        embeddings) a `SummaryRow`, or None.
    rois_explanation : str
        What was done to get them, above their table.
    surface : brainrecon.report.run.surface_figure.SurfaceMap, optional
        The cortex with one of its maps, if the responses are on a surface.
    links : sequence of (str, str)
        Label and path of files of the run, relative to the folder that the report lies in.
    config, environment : mappings
        Nested; shown as dotted names.
    citations : sequence of str
        How to cite the method and the data.
    all_pictures : sequence of str
        Paths of the pages with all test pictures, relative to the folder that the report lies in; empty if there are none.
    all_pictures_by : str
        What to type to have them.
    splits : sequence of brainrecon.report.run.splits.SplitBeside
        Splits that were tested beside the one that this report is of; empty if there are none.
    of_subjects : bool
        Whether these, and `split`, are subjects that were learned from together.
    split : str
        That one's name.
    simulated : bool
        Whether the responses were simulated; said beside the title.
    n_each, n_unselected : int
        Rows of the grid: of the best, of the median and of the worst; and of those shown whatever their score.
    """

    title: str
    subtitle: str
    stimulus_ids: Sequence[str]
    shown: Mapping
    conditions: Mapping
    scores: Scores
    explanation: str = ""
    notes: Sequence[str] = ()
    captions: Mapping | None = None
    captions_heading: str = "Captions"
    captions_explanation: str = ""
    predicted_captions: Mapping = field(default_factory=dict)
    true_captions: Mapping = field(default_factory=dict)
    caption_pictures: Mapping | None = None
    decoder: Sequence[Mapping] = ()
    curves: Mapping = field(default_factory=dict)
    rois: Sequence[Mapping] = ()
    rois_explanation: str = ""
    surface: SurfaceMap | None = None
    links: Sequence[tuple[str, str]] = ()
    config: Mapping = field(default_factory=dict)
    environment: Mapping = field(default_factory=dict)
    citations: Sequence[str] = ()
    all_pictures: Sequence[str] = ()
    all_pictures_by: str = ""
    splits: Sequence[SplitBeside] = ()
    split: str = "test"
    of_subjects: bool = False
    simulated: bool = False
    n_each: int = 5
    n_unselected: int = 6


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

    Raises
    ------
    InputError
        If a link leads anywhere but to a path relative to the report, or a region has a score that is not in the
        protocol.
    """
    scores = content.scores
    headline, low_level = leading_metrics(scores)
    columns = column_order(content.conditions, scores.reference)
    splits = [SplitBeside(content.split, content), *content.splits]
    everywhere = scored_anywhere(splits)
    region_columns, regions = tables.region_table(content.rois, scores)
    return template(__file__, "report.html.jinja").render(
        content=content,
        verdict=write_verdict(scores),
        columns=[column_of(name, scores, content.explanation) for name in columns],
        own=grid_of(content),
        splits=split_groups(splits, everywhere),
        everywhere=everywhere,
        predicted_by_split=predicted_table(splits),
        same_stimuli=len({tuple(sorted(split.content.stimulus_ids)) for split in splits}) == 1,
        in_common=side_by_side(splits) if content.of_subjects else None,
        beside=[(split, grid_of(split.content), _read_captions(split.content)) for split in content.splits],
        headline=scores.metrics.get(headline),
        low_level=scores.metrics.get(low_level),
        prepared=_preparations(scores.protocol),
        several_samples=any(max(one.n_samples) > 1 for one in scores.conditions.values()),
        metrics=list(scores.metrics.values()),
        scored_metrics=tables.scored_metrics(scores),
        means=tables.mean_rows(scores),
        ceilings=tables.ceiling_rows(scores),
        differences=tables.difference_rows(scores),
        reference=condition_label(scores.reference),
        figures=[
            (spec, _figure(distribution(scores, spec.name)))
            for spec in scores.metrics.values()
            if any(spec.name in one.values for one in scores.conditions.values())
        ],
        comparisons=_comparisons(scores),
        embeddings=predicted_rows.embedding_rows(scores),
        ranks=predicted_rows.rank_rows(scores),
        retrieval=predicted_rows.retrieval_rows(scores),
        responses=response_rows.response_rows(scores),
        response_measures=response_rows.measures_there(scores),
        corpus_metrics=list(scores.protocol.captions.values()),
        corpus=predicted_rows.corpus_rows(scores),
        read_captions=_read_captions(content),
        matrices=(matrices := feature_matrix.feature_matrices(scores)),
        matrix_figures=[
            (matrix, _figure(matrix_figure(matrix)))
            for matrix in matrices
            if matrix["measure"] != feature_matrix.PATTERN
        ],
        interactions=feature_matrix.interaction_sentences(scores),
        features=feature_matrix.feature_rows(scores),
        feature_measures=list(feature_matrix.LABELS.values()),
        about_units=feature_matrix.about_units(scores),
        region_columns=region_columns,
        regions=regions,
        surface=content.surface,
        surface_panels=[(*told, _figure(svg)) for *told, svg in content.surface.panels] if content.surface else [],
        captions=_captions(content),
        n_captions_in_view=_CAPTIONS_IN_VIEW,
        decoder_columns=tables.table_columns(content.decoder),
        courses=[
            (name, [_figure(curve(name, label, *found)) for label, found in curves.items()])
            for name, curves in content.curves.items()
        ],
        as_cell=tables.as_cell,
        heading=tables.heading,
        config=_flat(content.config),
        environment=_flat(content.environment),
        links=[(label, _relative(path)) for label, path in content.links],
        pages=[_relative(path) for path in content.all_pictures],
        cite_this=cite_this(content.title, scores),
        score_text=score_text,
        chance_of=lambda spec: chance_of(scores, spec),
        in_folds=bool(scores.data.get("folds")),
    )


def _comparisons(scores):
    """(metric, figure of the reference against stage one and shuffled responses), for the leading metrics."""
    figures = []
    for name in dict.fromkeys(leading_metrics(scores)):
        svg = None if name is None else against(scores, name, (STAGE_ONE, SHUFFLED))
        if svg is not None:
            figures.append((scores.metrics[name], _figure(svg)))
    return figures


def _figure(svg):
    return Markup(svg)  # noqa: S704, matplotlib escapes its text


def _preparations(protocol):
    """(label, resize, crop) of the networks that are given pictures of another size than the protocol's."""
    networks = [(spec.label, spec.preparation.resize, spec.preparation.crop) for spec in protocol.networks.values()]
    return [one for one in networks if any(one[1:])]


def _relative(path):
    """A path beside the report as an address.

    Raises
    ------
    InputError
        If it is absolute, empty, or could be read as an address elsewhere.
    """
    path = str(path)
    first = path.split("/", 1)[0]
    # A browser reads a backslash as a slash and drops tabs and line ends before it looks for a scheme.
    if not first or ":" in first or "\\" in path or not path.isprintable():
        raise InputError(
            f"A link of the report leads to {path!r}; expected a path relative to the report, with slashes and without a "
            "scheme. Give it as it is seen from the folder of the report."
        )
    return quote(path)


def _captions(content):
    """Rows of (stimulus id, picture or None, list of captions); pictures for those in view."""
    pictures = {**content.shown, **(content.caption_pictures or {})}
    rows = []
    for position, (stimulus_id, texts) in enumerate((content.captions or {}).items()):
        in_view = position < _CAPTIONS_IN_VIEW and stimulus_id in pictures
        uri = data_uri(pictures[stimulus_id]) if in_view else None
        rows.append((stimulus_id, uri, [texts] if isinstance(texts, str) else list(texts)))
    return rows


def _read_captions(content):
    """Rows of (stimulus id, picture or None, [(label, text)]): the predicted captions of each stimulus, then the true ones."""
    names = column_order(content.predicted_captions, content.scores.reference)
    rows = []
    for stimulus_id in content.stimulus_ids:
        said = [(condition_label(name), content.predicted_captions[name].get(stimulus_id)) for name in names]
        said = [(label, _in_one_line(texts)) for label, texts in said if texts]
        if not said:
            continue
        picture = content.shown.get(stimulus_id) if len(rows) < _CAPTIONS_IN_VIEW else None
        true = [("Said by people", _in_one_line(own))] if (own := content.true_captions.get(stimulus_id)) else []
        rows.append((stimulus_id, None if picture is None else data_uri(picture), said + true))
    return rows


def _in_one_line(texts):
    return texts if isinstance(texts, str) else " / ".join(texts)


def _flat(nested, prefix=""):
    """A nested mapping as rows of (dotted name, text)."""
    rows = []
    for key, value in nested.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", tables.plain(value)))
    return rows
