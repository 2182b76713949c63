"""The metrics by name, and what a reader has to know about each.

Every function returns float64 scores in the order of the second argument's sample axis and never averages
over stimuli: means, intervals and differences are for `brainrecon.evaluation.statistics.intervals`. `METRICS` declares
for each one which direction is better, its bounds and its chance level.

Other packages add a metric through the entry point group "brainrecon.metrics". In their `pyproject.toml`:

    [project.entry-points."brainrecon.metrics"]
    colourfulness = "their_package.metrics:colourfulness"

`their_package.metrics.colourfulness` is a `Metric`. A protocol then says ``measure = "colourfulness"``.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

import numpy as np

from brainrecon.evaluation.metrics.category_identification import first_label
from brainrecon.evaluation.metrics.colour_similarity import structural_similarity_of_colours
from brainrecon.evaluation.metrics.correlation import brain_correlation, correlation_distance
from brainrecon.evaluation.metrics.identification import (
    identification_rates,
    n_way_chance,
    n_way_identification,
    n_way_rates,
    two_way_identification,
)
from brainrecon.evaluation.metrics.n_way_classes import classes_chance, n_way_of_classes, n_way_of_classes_drawn
from brainrecon.evaluation.metrics.pixel_metrics import (
    binary_accuracy,
    binary_f1,
    binary_precision,
    binary_recall,
    majority_of_pictures,
    mean_of_pictures,
    mean_squared_error,
    pixel_correlation,
)
from brainrecon.evaluation.metrics.structural_similarity import (
    ssim_beside,
    ssim_of_columns_beside,
    structural_similarity,
    structural_similarity_of_columns,
)
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

GROUP = "brainrecon.metrics"
TAKES = ("pixels", "features", "labels", "brain", "pair", "captions")

# What a protocol may pass on to a metric's function.
OPTIONS = ("n_trials", "n_way", "threshold", "tokenisation", "top_k")


@dataclass(frozen=True)
class Metric:
    """A metric: its function, which way is better, its bounds and the level of chance.

    Attributes
    ----------
    function : callable or None
        `function(reference, predicted, **options) -> float64 (n_predicted,)`. None if `takes` is "pair". That of pixels is
        called from several threads at once, each with a few of the pictures.
    takes : {"pixels", "features", "labels", "brain", "pair", "captions"}
        What the two arguments are: "pixels", pictures (n, height, width, 3) in 0..1; "features", a network's features
        (n, ...); "labels", sequences of what a network calls the pictures; "brain", measured patterns and those that an
        encoding model predicts, (n, n_voxels); "captions", for each picture the sequence of its captions, and one
        caption. "pair": a network looks at both pictures at once, and its own `distance(reference, predicted)` is
        the metric.
    higher_is_better : bool
    bounds : (float, float)
        Lowest and highest possible score.
    chance : float or None
        Expected score of predictions that carry no information, with the function's own defaults; None if it
        depends on the pictures, so that only a control (shuffled responses) can tell.
    percent : bool
        Whether people read it as a percentage.
    from_correlation : callable or None
        For metrics that compare every prediction with every reference: the same scores from their correlation
        matrix, `from_correlation(correlation, targets, allowed, **options)`. The matrix of a subset of stimuli is a
        part of the whole one.
    chance_from : callable or None
        For metrics whose options set the chance level: `chance_from(**options) -> float`.
    weighs_by_set : bool
        Whether the function weighs what it compares by how common it is among the given references.
    best_constant : callable or None
        For metrics of pixels with a known floor: `best_constant(reference, **options) -> picture (height, width, 3)`, which of
        all pictures scores best if it stands for every reference.
    corpus : callable or None
        For metrics of captions whose published value is no mean over stimuli: one number for all captions together,
        `corpus(references, candidates, **options) -> float`. If None, that value is the mean.
    beside : callable or None
        For metrics of pixels that keep something of a reference for all pictures that are compared with it:
        `beside(reference, **options)` gives what `compared_with` does, and scores equal to those of `function`.
    by_lot : bool
        Whether a function of features draws by lot: it then takes ``items``, the name of the stimulus of each row.
    """

    function: Callable | None
    takes: str
    higher_is_better: bool
    bounds: tuple[float, float]
    chance: float | None
    percent: bool = False
    from_correlation: Callable | None = None
    chance_from: Callable | None = None
    weighs_by_set: bool = False
    corpus: Callable | None = None
    best_constant: Callable | None = None
    beside: Callable | None = None
    by_lot: bool = False

    def compared_with(self, reference, **options):
        """What compares pictures with these references: ``compare(predicted, rows) -> float64 (n,)``, a row for each.

        >>> compare = METRICS["mean_squared_error"].compared_with(np.zeros((2, 4, 4, 3)))
        >>> compare(np.ones((3, 4, 4, 3)), [0, 1, 1]).tolist()
        [1.0, 1.0, 1.0]
        """
        if self.beside is not None:
            return self.beside(reference, **options)
        return lambda predicted, rows: self.function(reference[rows], predicted, **options)

    @property
    def relational(self):
        """Whether the score of one stimulus depends on which other stimuli are in the set, so that one alone has none."""
        return self.correlates or self.weighs_by_set

    @property
    def correlates(self):
        """Whether it is computed from the correlations of all references with all predictions."""
        return self.from_correlation is not None

    @property
    def pairwise(self):
        """Whether the score of one stimulus is its mean over comparisons with each other one: a mean over pairs."""
        return self.from_correlation is identification_rates

    @property
    def options(self):
        """Names of the options that the function takes, list of str."""
        return (
            [name for name in inspect.signature(self.function).parameters if name in OPTIONS] if self.function else []
        )

    def chance_level(self, **options):
        """`chance` with the options that the function is given, float or None."""
        return self.chance if self.chance_from is None else self.chance_from(**options)


def label_agreement(reference, predicted):
    """Whether two sequences of labels agree: 1.0 if they do, 0.0 if they do not.

    >>> label_agreement(["cat", "dog"], ["cat", "bus"])
    array([1., 0.])

    Parameters
    ----------
    reference, predicted : sequences of str, length n_pictures
        Or of anything that compares equal to its like.

    Returns
    -------
    scores : array of shape (n_pictures,), float64, 0 or 1
    """
    if len(reference) != len(predicted):
        raise InputError(f"There are {len(predicted)} labels for {len(reference)} references; give one for each.")
    return np.array([float(one == other) for one, other in zip(reference, predicted, strict=True)])


def _of_captions(name, highest=1.0, weighs_by_set=False, corpus=None, tokenisation="simple", **options):
    """A measure of `brainrecon.evaluation.metrics.caption_metrics`, which is imported when it is first used."""

    def called(function):
        def measure(references, candidates, tokenisation=tokenisation):
            module = import_module("brainrecon.evaluation.metrics.caption_metrics")
            return getattr(module, function)(references, candidates, tokenisation=tokenisation, **options)

        return measure

    return Metric(
        called(name),
        "captions",
        True,
        (0.0, highest),
        None,
        weighs_by_set=weighs_by_set,
        corpus=called(corpus) if corpus else None,
    )


def _of_labels(references, candidates):
    """Similarity in WordNet, imported when it is first used."""
    return import_module("brainrecon.evaluation.metrics.wu_palmer").wu_palmer_of_labels(references, candidates)


METRICS = {
    "pixel_correlation": Metric(pixel_correlation, "pixels", True, (-1.0, 1.0), None),
    "structural_similarity": Metric(structural_similarity, "pixels", True, (-1.0, 1.0), None, beside=ssim_beside),
    "structural_similarity_of_columns": Metric(
        structural_similarity_of_columns, "pixels", True, (-1.0, 1.0), None, beside=ssim_of_columns_beside
    ),
    "structural_similarity_of_colours": Metric(structural_similarity_of_colours, "pixels", True, (-1.0, 1.0), None),
    "mean_squared_error": Metric(mean_squared_error, "pixels", False, (0.0, 1.0), None, best_constant=mean_of_pictures),
    "binary_accuracy": Metric(
        binary_accuracy, "pixels", True, (0.0, 1.0), None, percent=True, best_constant=majority_of_pictures
    ),
    "binary_precision": Metric(binary_precision, "pixels", True, (0.0, 1.0), None),
    "binary_recall": Metric(binary_recall, "pixels", True, (0.0, 1.0), None),
    "binary_f1": Metric(binary_f1, "pixels", True, (0.0, 1.0), None),
    "two_way_identification": Metric(
        two_way_identification,
        "features",
        True,
        (0.0, 1.0),
        0.5,
        percent=True,
        from_correlation=identification_rates,
    ),
    "n_way_identification": Metric(
        n_way_identification,
        "features",
        True,
        (0.0, 1.0),
        n_way_chance(),
        percent=True,
        from_correlation=n_way_rates,
        chance_from=n_way_chance,
    ),
    "n_way_of_classes": Metric(
        n_way_of_classes, "features", True, (0.0, 1.0), classes_chance(), percent=True, chance_from=classes_chance
    ),
    "n_way_of_classes_drawn": Metric(
        n_way_of_classes_drawn,
        "features",
        True,
        (0.0, 1.0),
        classes_chance(),
        percent=True,
        chance_from=classes_chance,
        by_lot=True,
    ),
    "correlation_distance": Metric(correlation_distance, "features", False, (0.0, 2.0), None),
    "perceptual_distance": Metric(None, "pair", False, (0.0, np.inf), None),
    "label_agreement": Metric(label_agreement, "labels", True, (0.0, 1.0), None, percent=True),
    "brain_correlation": Metric(brain_correlation, "brain", True, (-1.0, 1.0), None),
    **{f"bleu_{n}": _of_captions("bleu", corpus="corpus_bleu", n=n) for n in (1, 2, 3, 4)},
    "rouge_l": _of_captions("rouge_l"),
    "cider": _of_captions("cider", highest=10.0, weighs_by_set=True),
    "meteor": _of_captions("meteor", corpus="corpus_meteor", tokenisation="ptb"),
    "spice": _of_captions("spice", tokenisation="ptb"),
    "first_label": Metric(first_label, "captions", True, (0.0, 1.0), None, percent=True),
    # Of any two classes it is far from 0: only a control tells.
    "wu_palmer": Metric(_of_labels, "captions", True, (0.0, 1.0), None),
}


def metric_names():
    """Names of all metrics.

    >>> "pixel_correlation" in metric_names()
    True

    Returns
    -------
    names : list of str
        The toolkit's own, then those of other installed packages. A protocol asks for a metric by its name, and
        `find_metric` gives the `Metric`.
    """
    others = sorted({entry.name for entry in entry_points(group=GROUP)} - METRICS.keys())
    return [*METRICS, *others]


def find_metric(name):
    """Look up a metric by its name.

    >>> find_metric("pixel_correlation").bounds
    (-1.0, 1.0)

    Parameters
    ----------
    name : str
        A key of `METRICS`, or the name of an entry point in the group "brainrecon.metrics". The toolkit's own come first.

    Returns
    -------
    metric : Metric

    Raises
    ------
    InputError
        If nobody brings such a metric, two packages do, or the package that does cannot be loaded.
    """
    if name in METRICS:
        return METRICS[name]
    found = list(entry_points(group=GROUP, name=name)) if isinstance(name, str) else []
    if not found:
        raise InputError(
            f"There is no metric {name!r}; expected one of {', '.join(metric_names())}{did_you_mean(name, metric_names())}. Name "
            "one of these, or install the package that brings it."
        )
    if len({entry.value for entry in found}) > 1:
        brought = " and ".join(sorted(f"{entry.value} of {_package(entry)}" for entry in found))
        raise InputError(f"The metric {name!r} is brought by {brought}; expected one package. Uninstall the other.")
    return _loaded(found[0])


def _loaded(entry):
    """The metric behind an entry point. Another package's code may fail in any way; all of them become one sentence."""
    try:
        metric = entry.load()
    except Exception as error:
        raise InputError(
            f"The metric {entry.name!r} of the package {_package(entry)} cannot be loaded from {entry.value} "
            f"({type(error).__name__}: {error}); install that package again, or take the metric out of the protocol."
        ) from error
    if (
        not isinstance(metric, Metric)
        or metric.takes not in TAKES
        or (metric.function is None) != (metric.takes == "pair")
    ):
        raise InputError(
            f"The metric {entry.name!r} of the package {_package(entry)} is {metric!r}; expected a brainrecon Metric with a "
            f"function that takes one of {', '.join(TAKES)}. Change {entry.value} there."
        )
    return metric


def _package(entry):
    return entry.dist.name if entry.dist is not None else "unknown"
