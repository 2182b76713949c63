"""Laws of every registered metric, of the toolkit and of any package that is installed beside it.

A metric of the toolkit is added by its entry in `METRICS` and a line here: a plain reference, or why there is none.
"""

import copy
import math
import warnings
from collections import Counter

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import pearsonr
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error, precision_score, recall_score

from brainrecon.evaluation.metrics.caption_words import tokenised
from brainrecon.evaluation.metrics.metric import METRICS, OPTIONS, TAKES, find_metric, metric_names

N = 12
CAPTIONS = [
    ["a dog runs on the grass", "a brown dog outside"],
    ["two people on a beach", "a couple walks by the sea"],
    ["a red bus in the street"],
    ["a plate of food on a table", "some pasta with a fork"],
    ["a cat sleeps on a sofa"],
    ["a man rides a wave", "a surfer on a wave in the sea"],
    ["a kitchen with a white stove"],
    ["a clock on a tower in the city"],
    ["a train at a station"],
    ["a bowl of fruit", "apples and oranges in a bowl"],
    ["a boy with a kite in a field"],
    ["a bird on a branch of a tree"],
]
READ = [
    "a dog on the grass",
    "two people walk on a beach by the sea",
    "a red bus on a road",
    "a plate of pasta with a fork on a table",
    "a dog on a bed",
    "a man on a wave in the sea",
    "a bathroom",
    "a clock on a tower in the city",
    "a train",
    "a bowl of apples and oranges",
    "a boy on a field with a red kite",
    "a tree",
]


def flat(pictures):
    return np.asarray(pictures, dtype=np.float64).reshape(len(pictures), -1)


def on(pictures):
    return [(rgb2gray(one) > 0.5).ravel() for one in pictures]


def each(function):
    """The reference of a metric that looks at one pair after the other."""
    return lambda reference, predicted: [function(one, other) for one, other in zip(reference, predicted)]


def of_patterns(function):
    return lambda reference, predicted: [function(*pair) for pair in zip(on(reference), on(predicted))]


def ssim(one, other, channel_axis=None):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    return structural_similarity(rgb2gray(one), rgb2gray(other), channel_axis=channel_axis, **options)


def two_way(reference, predicted):
    reference, predicted, found = flat(reference), flat(predicted), []
    for j, one in enumerate(predicted):
        r = [pearsonr(other, one)[0] for other in reference]
        found.append(np.mean([r[i] < r[j] for i in range(len(r)) if i != j]))
    return found


def grams(text, n):
    words = text.split()
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def bleu(highest):
    """Papineni et al. (2002), with the tiny counts that the COCO caption evaluation adds."""

    def of_pair(references, candidate):
        product = 1.0
        for n in range(1, highest + 1):
            own = grams(candidate, n)
            most = Counter()
            for reference in references:
                most |= grams(reference, n)
            product *= (sum((own & most).values()) + 1e-15) / (sum(own.values()) + 1e-9)
        length = len(candidate.split())
        closest = min((abs(len(one.split()) - length), len(one.split())) for one in references)[1]
        short = math.exp(1 - 1 / ((length + 1e-15) / (closest + 1e-9))) if length < closest else 1.0
        return product ** (1 / highest) * short

    return each(of_pair)


def rouge_l(references, candidate):
    """Lin (2004): F of the longest common subsequence, beta 1.2, precision and recall each the best over references."""
    precision, recall, words = [], [], candidate.split()
    for reference in references:
        other = reference.split()
        longest = np.zeros((len(words) + 1, len(other) + 1), dtype=int)
        for i, one in enumerate(words):
            for j, two in enumerate(other):
                longest[i + 1, j + 1] = longest[i, j] + 1 if one == two else max(longest[i, j + 1], longest[i + 1, j])
        precision.append(longest[-1, -1] / len(words))
        recall.append(longest[-1, -1] / len(other))
    p, r = max(precision), max(recall)
    return (1 + 1.2**2) * p * r / (r + 1.2**2 * p) if p and r else 0.0


def cider(references, candidates):
    """Vedantam et al. (2015), clipped and with a penalty for other lengths (CIDEr-D), times 10."""
    documents = Counter(
        gram for own in references for gram in {gram for text in own for n in (1, 2, 3, 4) for gram in grams(text, n)}
    )

    def vector(text, n):
        return {
            gram: count * (math.log(len(references)) - math.log(max(1, documents[gram])))
            for gram, count in grams(text, n).items()
        }

    def norm(values):
        return math.sqrt(sum(value**2 for value in values.values()))

    def similarity(candidate, reference):
        total = 0.0
        # The published code measures lengths in pairs of words.
        lengths = sum(grams(candidate, 2).values()) - sum(grams(reference, 2).values())
        for n in (1, 2, 3, 4):
            own, other = vector(candidate, n), vector(reference, n)
            product = sum(min(own[gram], other.get(gram, 0.0)) * other.get(gram, 0.0) for gram in own)
            if norm(own) and norm(other):
                total += product / (norm(own) * norm(other)) * math.exp(-(lengths**2) / 72)
        return total / 4

    return [
        10 * np.mean([similarity(candidate, reference) for reference in own])
        for own, candidate in zip(references, candidates)
    ]


REFERENCES = {
    "pixel_correlation": each(lambda one, other: np.corrcoef(one.ravel(), other.ravel())[0, 1]),
    "structural_similarity": each(ssim),
    "structural_similarity_of_columns": each(lambda one, other: ssim(one, other, channel_axis=-1)),
    "mean_squared_error": each(lambda one, other: mean_squared_error(one.ravel(), other.ravel())),
    "binary_accuracy": of_patterns(accuracy_score),
    "binary_precision": of_patterns(precision_score),
    "binary_recall": of_patterns(recall_score),
    "binary_f1": of_patterns(f1_score),
    "two_way_identification": two_way,
    "n_way_identification": two_way,
    "correlation_distance": each(lambda one, other: distance.correlation(one, other)),
    "label_agreement": each(lambda one, other: one == other),
    "brain_correlation": each(lambda one, other: pearsonr(one, other)[0]),
    **{f"bleu_{n}": bleu(n) for n in (1, 2, 3, 4)},
    "rouge_l": each(rouge_l),
    "cider": cider,
    "first_label": lambda true, said: [float(one.split("\n")[0] in own) for own, one in zip(true, said)],
}
WITHOUT_REFERENCE = {
    **dict.fromkeys(
        ("n_way_of_classes", "n_way_of_classes_drawn"),
        "classes of a network: tests/brainrecon/evaluation/metrics/test_n_way_classes.py counts all draws",
    ),
    "structural_similarity_of_colours": "scikit-image's: tests/brainrecon/evaluation/metrics/test_picture_similarity.py",
    "perceptual_distance": "the network itself is the metric; tests/stages/judges holds it against the published package",
    "meteor": "a Java program with tables of its own; tests/brainrecon/evaluation/metrics/test_caption_metrics.py runs it",
    "spice": "a Java program whose parser does not come with the package",
    "wu_palmer": "WordNet is none of the package's; tests/brainrecon/evaluation/metrics/test_wu_palmer.py writes a part of it",
}
COMPUTED = [name for name in metric_names() if name not in WITHOUT_REFERENCE]


def arguments(metric, seed=0):
    """Two arguments of the kind that a metric takes: what is true, and predictions that are partly right."""
    random = np.random.default_rng(seed)
    if metric.takes == "captions":
        return copy.deepcopy(CAPTIONS), list(READ)
    if metric.takes == "labels":
        return [str(k % 5) for k in range(N)], [str(k % 4) for k in range(N)]
    if metric.takes == "pixels":
        true = random.random((N, 24, 24, 3))
        return true, np.clip(true + 0.4 * random.normal(size=true.shape), 0, 1)
    true = random.normal(size=(N, 50))
    return true, true + 6 * random.normal(size=true.shape)


def taken(values, order):
    return values[order] if isinstance(values, np.ndarray) else [values[row] for row in order]


def perfect(metric, true):
    return [own[0] for own in true] if metric.takes == "captions" else copy.deepcopy(true)


def best(metric):
    return metric.bounds[1] if metric.higher_is_better else metric.bounds[0]


def test_every_metric_of_the_toolkit_has_a_reference_or_a_reason():
    assert sorted({*REFERENCES, *WITHOUT_REFERENCE}) == sorted(METRICS)
    assert not REFERENCES.keys() & WITHOUT_REFERENCE.keys()


@pytest.mark.parametrize("name", metric_names())
def test_says_what_it_takes_and_what_its_values_mean(name):
    metric = find_metric(name)
    assert metric.takes in TAKES and isinstance(metric.higher_is_better, bool)
    assert (metric.function is None) == (metric.takes == "pair")
    assert metric.bounds[0] < metric.bounds[1] and set(metric.options) <= set(OPTIONS)
    chance = metric.chance_level()
    assert chance is None or metric.bounds[0] <= chance <= metric.bounds[1]
    assert metric.corpus is None or metric.takes == "captions"


@pytest.mark.parametrize("name", REFERENCES)
def test_agrees_with_its_reference(name):
    true, predicted = arguments(find_metric(name))
    if METRICS[name].takes == "captions":
        assert tokenised(predicted) == predicted  # plain words: the reference needs no tokeniser
    np.testing.assert_allclose(METRICS[name].function(true, predicted), REFERENCES[name](true, predicted), atol=1e-9)


@pytest.mark.parametrize("name", COMPUTED)
def test_gives_one_float64_per_stimulus_within_its_bounds(name):
    metric = find_metric(name)
    scores = metric.function(*arguments(metric))
    assert isinstance(scores, np.ndarray) and scores.dtype == np.float64 and scores.shape == (N,)
    assert (metric.bounds[0] <= scores).all() and (scores <= metric.bounds[1]).all()


@pytest.mark.parametrize("name", COMPUTED)
def test_does_not_depend_on_the_order_of_stimuli(name):
    metric, order = find_metric(name), np.random.default_rng(3).permutation(N)
    true, predicted = arguments(metric)
    turned = metric.function(taken(true, order), taken(predicted, order))
    np.testing.assert_allclose(turned, metric.function(true, predicted)[order], atol=1e-12)


@pytest.mark.parametrize("name", [name for name in COMPUTED if not find_metric(name).relational])
def test_a_stimulus_scores_alone_as_among_others(name):
    metric = find_metric(name)
    true, predicted = arguments(metric)
    alone = np.concatenate([metric.function(taken(true, [row]), taken(predicted, [row])) for row in range(N)])
    np.testing.assert_allclose(alone, metric.function(true, predicted), atol=1e-12)


@pytest.mark.parametrize("name", COMPUTED)
def test_what_equals_the_truth_scores_best(name):
    metric = find_metric(name)
    true, predicted = arguments(metric)
    scores, others = metric.function(true, perfect(metric, true)), metric.function(true, predicted)
    assert (scores.mean() > others.mean()) == metric.higher_is_better and scores.mean() != others.mean()
    # A short caption has no four words in a row, and of several true captions only one is repeated.
    if metric.takes != "captions":
        np.testing.assert_allclose(scores, best(metric), atol=1e-9)


@pytest.mark.parametrize("name", COMPUTED)
def test_leaves_its_arguments_alone(name):
    metric = find_metric(name)
    given = arguments(metric)
    before = copy.deepcopy(given)
    metric.function(*given)
    for one, other in zip(given, before):
        np.testing.assert_array_equal(np.array(one, dtype=object), np.array(other, dtype=object))


@pytest.mark.parametrize(
    "name", [name for name in COMPUTED if find_metric(name).takes in ("pixels", "features", "brain")]
)
@pytest.mark.parametrize("side", ["true", "predicted", "both"])
def test_constant_values_have_a_score_and_no_warning(name, side):
    metric = find_metric(name)
    true, predicted = arguments(metric)
    constant = np.full_like(true, 0.25)
    pair = constant if side in ("true", "both") else true, constant if side in ("predicted", "both") else predicted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = metric.function(*pair)
    assert np.isfinite(scores).all()
    assert (metric.bounds[0] <= scores).all() and (scores <= metric.bounds[1]).all()
    if metric.relational and side != "true":
        assert (scores == 0).all()  # a constant prediction resembles nothing


@pytest.mark.parametrize("name", [name for name in COMPUTED if find_metric(name).chance_level() is not None])
def test_predictions_without_information_are_at_chance(name):
    metric, random, n = find_metric(name), np.random.default_rng(5), 300
    scores = metric.function(*random.normal(size=(2, n, 40)))
    # Rates of stimuli that are each other's competitors: four standard errors of independent ones.
    assert abs(scores.mean() - metric.chance_level()) < 4 * scores.std() / np.sqrt(n)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.corpus and name != "meteor"])
def test_the_corpus_of_one_caption_is_that_caption(name):
    metric = find_metric(name)
    alone = metric.corpus(CAPTIONS[:1], READ[:1])
    assert alone == pytest.approx(metric.function(CAPTIONS[:1], READ[:1])[0], rel=1e-6)
    low, high = metric.bounds
    assert low <= metric.corpus(CAPTIONS, READ) <= high
