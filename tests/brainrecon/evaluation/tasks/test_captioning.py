"""Captions in, scores out: per stimulus, and of the corpus as the COCO caption evaluation computes them."""

import shutil
import sys

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from brainrecon.evaluation import Outputs, Protocol, Shown, evaluate, find_task, load_protocol
from brainrecon.evaluation.metrics.caption_metrics import corpus_bleu
from brainrecon.evaluation.metrics.caption_words import tokenised
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.tasks.captioning import caption_outputs
from stages.ground.errors import InputError

IDS = [f"nsd{row:05d}" for row in range(8)]
TRUE = [
    ["A dog runs on the grass.", "A brown dog, outside!", ""],
    ["Two people on a beach", "a couple walks by the sea"],
    ["A red bus in the street"],
    ["A plate of food on a table", "some pasta with a fork"],
    ["A cat sleeps on a sofa"],
    ["A man rides a wave", "a surfer on a wave in the sea"],
    ["A kitchen with a white stove"],
    ["A clock on a tower in the city"],
]
READ = [
    "a dog on the grass",
    "two people walk on a beach",
    "a red bus on a road",
    "a plate of pasta on a table",
    "a dog sleeps on a bed",
    "a man on a wave in the sea",
    "a bathroom",
    "a clock on a tower in the city",
]
NAMES = ("bleu_1", "bleu_4", "rouge_l", "cider")


def protocol_of(*names, **rest):
    """A protocol of captions that needs no Java."""
    tables = {name: {"measure": name, "tokenisation": "simple"} | rest for name in names}
    return Protocol({"name": "captions", "captions": tables})


def scored(captions=READ, names=NAMES, others=None, **rest):
    """Scores of captions under the condition "reconstruction", and of others."""
    outputs = {"reconstruction": Outputs(IDS, captions)} | (others or {})
    task = find_task("captioning")(n_resamples=2000)
    return task.score(outputs, Shown(IDS, captions=TRUE), protocol_of(*names, **rest))


def coco(scorer):
    """The corpus score and the scores per stimulus of a scorer of pycocoevalcap, on the same words."""
    true = {k: [text for text in tokenised(own, "simple") if text] for k, own in enumerate(TRUE)}
    read = {k: [text] for k, text in enumerate(tokenised(READ, "simple"))}
    return scorer.compute_score(true, read)


def test_scores_vs_the_coco_caption_evaluation():
    scores = scored()
    values = scores.conditions["reconstruction"].values
    (corpus, each), corpus_of = coco(Bleu(4)), scores.corpus["reconstruction"]
    for n in (1, 4):
        np.testing.assert_array_equal(values[f"bleu_{n}"], each[n - 1])
        assert corpus_of[f"bleu_{n}"] == corpus[n - 1]
    for name, scorer in (("rouge_l", Rouge()), ("cider", Cider())):
        corpus, each = coco(scorer)
        np.testing.assert_array_equal(values[name], each)
        assert corpus_of[name] == pytest.approx(corpus, abs=1e-12)


def test_bleu_of_the_corpus_adds_up_counts_before_it_divides():
    # By hand: of 2 + 4 words 1 + 4 are in the references, of 1 + 3 pairs of words 0 + 3; as long as the references.
    true, read = [["a dog"], ["a red bus stops"]], ["a cat", "a red bus stops"]
    assert corpus_bleu(true, read, n=1) == pytest.approx(5 / 6, rel=1e-6)
    assert corpus_bleu(true, read, n=2) == pytest.approx(np.sqrt(5 / 6 * 3 / 4), rel=1e-6)
    # One word too few in the whole.
    assert corpus_bleu(true, ["a", "a red bus stops"], n=1) == pytest.approx(np.exp(1 - 6 / 5), rel=1e-6)


def test_bleu_4_of_the_corpus_is_not_the_mean_of_its_sentences():
    scores = scored()
    assert scores.corpus["reconstruction"]["bleu_4"] > 1.2 * scores.mean("reconstruction", "bleu_4").mean


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java")
def test_published_protocol_vs_the_coco_caption_evaluation_in_java():
    from pycocoevalcap.meteor.meteor import Meteor

    task = find_task("captioning")(n_resamples=2000)
    shown = Shown(IDS, captions=TRUE)
    scores = task.score({"reconstruction": Outputs(IDS, READ)}, shown, "brainhub-2024")
    true = {k: [text for text in tokenised(own, "ptb") if text] for k, own in enumerate(TRUE)}
    read = {k: [text] for k, text in enumerate(tokenised(READ, "ptb"))}
    corpus, each = Meteor().compute_score(true, read)
    assert scores.corpus["reconstruction"]["meteor"] == corpus != pytest.approx(np.mean(each), abs=1e-6)
    np.testing.assert_array_equal(scores.conditions["reconstruction"].values["meteor"], each)
    assert scores.corpus["reconstruction"]["bleu_4"] == Bleu(4).compute_score(true, read, verbose=0)[0][3]


def test_the_order_of_captions_does_not_matter():
    order = np.random.default_rng(0).permutation(len(IDS))
    task, shown = find_task("captioning")(n_resamples=2000), Shown(IDS, captions=TRUE)
    turned = {"reconstruction": Outputs([IDS[k] for k in order], [READ[k] for k in order])}
    scores, straight = task.score(turned, shown, protocol_of(*NAMES)), scored()
    for name in NAMES:
        np.testing.assert_allclose(
            scores.conditions["reconstruction"].values[name],
            straight.conditions["reconstruction"].values[name],
            atol=1e-12,
        )


def test_samples_are_averaged_and_not_pooled():
    outputs = caption_outputs({name: [text, "a bathroom"] for name, text in zip(IDS, READ)})
    task, shown = find_task("captioning")(n_resamples=2000), Shown(IDS, captions=TRUE)
    scores = task.score({"reconstruction": outputs}, shown, protocol_of("bleu_1"))
    first, second = (
        scored(own, ("bleu_1",)).conditions["reconstruction"].values["bleu_1"] for own in (READ, ["a bathroom"] * 8)
    )
    np.testing.assert_allclose(scores.conditions["reconstruction"].values["bleu_1"], (first + second) / 2, atol=1e-12)
    assert scores.conditions["reconstruction"].n_samples == (2,) * 8


def test_how_words_weigh_is_counted_over_the_stimuli_that_both_conditions_have():
    others = {"stage_one": Outputs(IDS[:5], READ[:5]), "alone": Outputs(IDS[:1], READ[:1])}
    scores = scored(names=("cider",), others=others)
    assert scores.difference("stage_one", "cider").mean == pytest.approx(0, abs=1e-9)
    assert "cider" not in scores.conditions["alone"].values and scores.difference("alone", "cider") is None
    assert scores.corpus["alone"] == {"cider": None}
    means = [scores.mean(name, "cider").mean for name in ("reconstruction", "stage_one")]
    assert means[0] != pytest.approx(means[1], abs=1e-3)


def test_the_first_reference_alone():
    scores = scored(names=("bleu_1",), references="first")
    task, shown = find_task("captioning")(n_resamples=2000), Shown(IDS, captions=[own[:1] for own in TRUE])
    expected = task.score({"reconstruction": Outputs(IDS, READ)}, shown, protocol_of("bleu_1"))
    assert scores.mean("reconstruction", "bleu_1") == expected.mean("reconstruction", "bleu_1")
    assert (
        scores.mean("reconstruction", "bleu_1").mean < scored(names=("bleu_1",)).mean("reconstruction", "bleu_1").mean
    )


def test_pictures_and_captions_are_scored_side_by_side():
    shown = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    content = {
        "name": "both",
        "resize": {"size": 16, "interpolation": "bilinear", "antialias": True},
        "metrics": [{"name": "pixcorr", "measure": "pixel_correlation"}],
        "captions": {"bleu_1": {"measure": "bleu_1", "tokenisation": "simple"}},
    }
    options = {"stimulus_ids": IDS, "captions": TRUE, "protocol": Protocol(content), "n_resamples": 2000}
    read = dict(zip(IDS[2:], READ[2:], strict=True))
    scores = evaluate(
        shown,
        {"reconstruction": (IDS[:6], shown[:6]), "stage_one": (IDS, shown)},
        predicted_captions={"reconstruction": read, "shuffled_responses": dict(zip(IDS, READ[::-1], strict=True))},
        **options,
    )
    own = scores.conditions["reconstruction"]
    assert own.stimulus_ids == tuple(IDS) and own.n_samples == (1,) * 8
    assert np.isnan(own.values["pixcorr"]).tolist() == [False] * 6 + [True] * 2
    assert np.isnan(own.values["bleu_1"]).tolist() == [True] * 2 + [False] * 6
    assert list(scores.conditions) == ["reconstruction", "stage_one", "shuffled_responses"]
    assert scores.difference("shuffled_responses", "bleu_1").n == 6
    assert "bleu_1" not in scores.conditions["stage_one"].values


def test_files_hold_what_was_scored(tmp_path):
    scores = scored(others={"shuffled_responses": Outputs(IDS[:4], READ[4:])})
    scores.to_json(tmp_path / "scores.json")
    scores.to_csv(tmp_path / "scores.csv")
    assert Scores.from_json(tmp_path / "scores.json") == scores
    head, *rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert head == "condition,stimulus_id,n_samples,bleu_1,bleu_4,rouge_l,cider" and len(rows) == 12


def test_without_true_captions_a_note_says_so():
    shown = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    content = load_protocol("brainrecon-1").content | {
        "name": "mine",
        "captions": {"rouge_l": {"tokenisation": "simple"}},
    }
    content["metrics"] = content["metrics"][:2]
    content["headline"] = "pixcorr"
    scores = evaluate(
        shown,
        {"reconstruction": (IDS, shown)},
        stimulus_ids=IDS,
        predicted_captions={"reconstruction": dict(zip(IDS, READ))},
        protocol=Protocol(content),
        n_resamples=2000,
    )
    assert scores.notes == ("Captions were predicted but not scored: the stimuli have no true ones.",)
    assert not scores.corpus and "rouge_l" not in scores.conditions["reconstruction"].values


@pytest.mark.parametrize(
    "outputs, captions, words",
    [
        ({"stage_one": Outputs(IDS, READ)}, TRUE, "'reconstruction' is not among 'stage_one'"),
        ({"reconstruction": Outputs(IDS, READ[:3])}, TRUE, "3 captions and 8 stimulus ids"),
        ({"reconstruction": Outputs(["stranger"], ["a dog"])}, TRUE, "stranger"),
        ({"reconstruction": Outputs(IDS, READ)}, TRUE[:3], "true captions of 3 stimuli for 8"),
        ({"reconstruction": Outputs(IDS, READ)}, None, "true captions of 0 stimuli"),
        ({"reconstruction": Outputs(IDS, [*READ[:-1], 7])}, TRUE, "A caption is 7, a int; expected a text"),
        ({"reconstruction": Outputs(IDS, READ)}, [*TRUE[:-1], ["."]], "no reference with a word"),
    ],
)
def test_mistakes_are_one_sentence(outputs, captions, words):
    with pytest.raises(InputError, match=words):
        find_task("captioning")().score(outputs, Shown(IDS, captions=captions), protocol_of("bleu_1"))


def test_nothing_to_score_says_what_is_there():
    with pytest.raises(InputError, match="scores caption, and there is picture"):
        evaluate(
            np.zeros((8, 16, 16, 3), dtype=np.uint8),
            {"reconstruction": (IDS, np.zeros((8, 16, 16, 3), dtype=np.uint8))},
            stimulus_ids=IDS,
            protocol=protocol_of("bleu_1"),
        )


def test_an_absent_package_is_named_in_one_sentence(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pycocoevalcap")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(InputError, match=r"pycocoevalcap, which is not installed here; install it with `pip install"):
        scored()


def test_an_absent_java_is_named_in_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="The PTB tokeniser is a Java program and there is no `java`"):
        find_task("captioning")().score(
            {"reconstruction": Outputs(IDS, READ)}, Shown(IDS, captions=TRUE), "brainhub-2024"
        )
