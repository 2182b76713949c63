"""What the registry declares of some metrics. The laws of all of them stand in tests/conformance/test_metrics.py."""

import subprocess
import sys

import numpy as np
import pytest

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.metric import METRICS, Metric, label_agreement
from stages.ground.errors import InputError

CAPTIONS = [["a dog runs on the grass", "a brown dog outside"], ["two people on a beach"], ["a red bus in the street"]]
READ = ["a dog on the grass", "two people on a beach", "a plate of food"]


def test_which_metrics_compare_stimuli_with_one_another():
    assert [name for name, metric in METRICS.items() if metric.correlates] == [
        "two_way_identification",
        "n_way_identification",
    ]
    assert [name for name, metric in METRICS.items() if metric.pairwise] == ["two_way_identification"]
    assert [name for name, metric in METRICS.items() if metric.relational and not metric.correlates] == ["cider"]


def test_chance_follows_the_options():
    n_way = METRICS["n_way_identification"]
    assert n_way.chance == n_way.chance_level() == 0.5
    assert n_way.chance_level(n_way=50, top_k=1) == 0.02
    assert n_way.chance_level(n_way=300, top_k=3) == 0.01
    assert METRICS["two_way_identification"].chance_level() == 0.5
    assert METRICS["binary_f1"].chance_level(threshold=0.3) is None
    assert Metric(None, "pixels", True, (0.0, 1.0), 0.25).chance_level() == 0.25
    with pytest.raises(InputError, match="fewer best ones"):
        n_way.chance_level(n_way=2, top_k=2)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.correlates])
def test_scores_from_correlations_are_those_of_the_function(name):
    reference, predicted = np.random.default_rng(1).normal(size=(2, 9, 20)) + np.random.default_rng(2).normal(
        size=(9, 20)
    )
    metric, targets, allowed = METRICS[name], np.arange(9)[::-1], np.random.default_rng(3).random((9, 9)) < 0.8
    np.testing.assert_array_equal(
        metric.from_correlation(correlation_matrix(reference, predicted), targets=targets, allowed=allowed),
        metric.function(reference, predicted, targets=targets, allowed=allowed),
    )


def test_measures_of_captions_are_imported_when_they_are_used():
    code = (
        "import sys; import brainrecon.evaluation.metrics.metric as m; "
        "assert 'brainrecon.evaluation.metrics.caption_metrics' not in sys.modules; m.METRICS['bleu_1'].function([['a']], ['a'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bleu_1_is_easier_than_bleu_4():
    one, four = (METRICS[name].function(CAPTIONS, READ) for name in ("bleu_1", "bleu_4"))
    assert (one >= four).all() and one[0] > four[0]


def test_labels_agree_or_not():
    np.testing.assert_array_equal(label_agreement(["a", "b", ("c", "6")], ["a", "c", ("c", "6")]), [1, 0, 1])
    with pytest.raises(InputError, match="one for each"):
        label_agreement(["a"], ["a", "b"])
