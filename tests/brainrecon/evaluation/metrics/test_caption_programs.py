"""The Java programs of captions: METEOR and SPICE, what stands against them, and what is said when one of them stops."""

import os
import shutil
import sys
import threading

import numpy as np
import pytest

from brainrecon.evaluation.metrics import caption_metrics, coco_evaluation
from brainrecon.evaluation.metrics.caption_metrics import bleu, corpus_meteor, meteor, spice
from brainrecon.evaluation.tasks.captioning import Captioning
from brainrecon.evaluation.tasks.task import Outputs, Shown
from stages.ground.errors import InputError

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no java on the PATH")


@pytest.mark.slow
@needs_java
def test_meteor_takes_the_best_reference():
    one, other = ["a dog runs", "the red bus", "a b", "x"], ["the dog is running fast", "a bus", "c ||| d", "x y"]
    candidates = ["a dog is running", "the red bus", "c d", ""]
    both = [list(pair) for pair in zip(one, other, strict=True)]
    alone = [meteor([[text] for text in texts], candidates) for texts in (one, other)]
    scores = meteor(both, candidates)
    np.testing.assert_allclose(scores, np.maximum(*alone), atol=1e-12)
    # METEOR knows that "runs" and "running" are one word.
    assert 0.3 < scores[0] < 1 and scores[1] == scores[2] == 1 and scores[3] == 0
    assert meteor(both[:1], candidates[:1])[0] == scores[0]


def counts_of_meteor(reference, candidate):
    """Matched words, words of either caption, and chunks; none for a caption that is its reference."""
    words, other = candidate.split(), reference.split()
    matched = [(place, other.index(word)) for place, word in enumerate(words) if word in other]
    starts = [k for k, (i, j) in enumerate(matched) if k == 0 or (i - 1, j - 1) != matched[k - 1]]
    whole = len(starts) == 1 and len(matched) == len(words) == len(other)
    return np.array([len(matched), len(words), len(other), 0 if whole else len(starts)])


def published_meteor(matched, n_words, n_other, chunks):
    """Denkowski & Lavie (2014) for English: alpha .85, beta .2, gamma .6."""
    if not matched:
        return 0.0
    precision, recall = matched / n_words, matched / n_other
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    return (1 - 0.6 * (chunks / matched) ** 0.2) * mean


@pytest.mark.slow
@needs_java
def test_meteor_vs_its_formula():
    """Words of which none is a function word, and none a synonym of another: each matches itself alone."""
    candidates = [
        "zebra quartz violin",
        "zebra violin copper",
        "tractor zebra lemon quartz",
        "copper lemon",
        "violin zebra",
    ]
    known = [
        "zebra quartz violin",
        "zebra quartz violin copper",
        "zebra quartz tractor",
        "zebra",
        "zebra violin quartz",
    ]
    counts = [counts_of_meteor(*pair) for pair in zip(known, candidates, strict=True)]
    references = [[text] for text in known]
    np.testing.assert_allclose(
        meteor(references, candidates, tokenisation="none"), [published_meteor(*one) for one in counts], atol=1e-9
    )
    # Of the corpus: counts are added up first.
    found = corpus_meteor(references, candidates, tokenisation="none")
    assert found == pytest.approx(published_meteor(*np.sum(counts, axis=0)), abs=1e-9)


@pytest.mark.slow
@needs_java
def test_meteor_finds_its_paraphrases_below_a_folder_with_a_space(tmp_path, monkeypatch):
    """Java resolves links: the program is copied, its tables are not."""
    references, candidates = [["a big dog runs"], ["two people eat"]], ["a large dog is running", "several people dine"]
    expected = meteor(references, candidates)
    installed = coco_evaluation.folder_of("meteor")
    folder = tmp_path / "with a space" / "meteor"
    folder.mkdir(parents=True)
    shutil.copy(installed / "meteor-1.5.jar", folder)
    (folder / "data").symlink_to(installed / "data", target_is_directory=True)
    monkeypatch.setattr(coco_evaluation, "folder_of", lambda part: folder)
    np.testing.assert_array_equal(meteor(references, candidates), expected)
    assert expected[0] > 0.2


def spoken(seed, n):
    """True captions and predicted ones with what words in the wild have: capitals, points, quotes, hyphens, numbers."""
    rng = np.random.default_rng(seed)
    who = ["A man", "Two women", "The dog", "Someone's cat", "3 black-and-white cows", "A U.S. soldier", "It", "Kids"]
    does = ["is riding", "aren't eating", "sits on", "stands beside", "can't see", "has painted", "looks at", "eats"]
    what = [
        "a red bus.",
        "pizza, and cake!",
        'the "STOP" sign',
        "a $5 toy (plastic)",
        "snow; ice",
        "5,000 birds",
        "grass.",
    ]

    def sentence():
        return " ".join(str(rng.choice(part)) for part in (who, does, what))

    return [[sentence() for _ in range(rng.integers(1, 6))] for _ in range(n)], [sentence() for _ in range(n)]


@pytest.mark.slow
@needs_java
def test_corpus_scores_are_those_that_pycocoevalcap_prints():
    """Its own tokeniser and scorers, called as its evaluation of COCO calls them, against the protocol of tables."""
    published = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    if not os.access(os.path.dirname(published.__file__), os.W_OK):
        pytest.skip("the published tokeniser writes beside its jar")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    true, predicted = spoken(3, 150)
    ids = [f"nsd{k:05d}" for k in range(len(true))]
    tokeniser = published.PTBTokenizer()
    known = tokeniser.tokenize({name: [{"caption": text} for text in texts] for name, texts in zip(ids, true)})
    said = tokeniser.tokenize({name: [{"caption": text}] for name, text in zip(ids, predicted)})
    expected = dict(zip(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), Bleu(4).compute_score(known, said, verbose=0)[0]))
    for name, scorer in (("meteor", Meteor()), ("rouge_l", Rouge()), ("cider", Cider())):
        expected[name] = scorer.compute_score(known, said)[0]
    scores = Captioning().score({"reconstruction": Outputs(ids, predicted)}, Shown(ids, captions=true), "brainhub-2024")
    assert scores.corpus["reconstruction"] == pytest.approx(expected, rel=1e-12)
    # The mean of BLEU-4 over captions is another number.
    assert expected["bleu_4"] > 1.2 * np.mean(bleu(true, predicted, tokenisation="ptb"))


@pytest.mark.parametrize("call", [meteor, spice, lambda *a: bleu(*a, tokenisation="ptb")])
def test_without_java_what_needs_it_says_so(call, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="is a Java program and there is no `java` on the PATH; install"):
        call([["a"]], ["a"])


def test_a_program_that_stops_is_told_and_does_not_hang(monkeypatch):
    class Stopping:
        """As pycocoevalcap's: the lock stays closed after an error, and is taken again on deletion."""

        deleted = []

        def __init__(self):
            self.lock = threading.Lock()

        def compute_score(self, known, proposed):
            self.lock.acquire()
            return None, [float(b"")]

        def __del__(self):
            self.deleted.append(self.lock.acquire(timeout=5))

    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr("pycocoevalcap.meteor.meteor.Meteor", Stopping)
    monkeypatch.setattr(coco_evaluation, "_METEOR", (sys.executable, "-c", ""))
    with pytest.raises(InputError, match="METEOR stopped .*`java -version`"):
        meteor([["a"]], ["a"], tokenisation="simple")
    assert Stopping.deleted in ([], [True])


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    "call, what",
    [
        (lambda *a: meteor(*a, tokenisation="simple"), "METEOR"),
        (lambda *a: corpus_meteor(*a, tokenisation="simple"), "METEOR"),
        (lambda *a: bleu(*a, tokenisation="ptb"), "The PTB tokeniser"),
    ],
    ids=["meteor", "meteor of the corpus", "tokeniser"],
)
@pytest.mark.parametrize(
    "cause",
    [
        "Could not reserve enough space for 2097152KB object heap",
        "UnsupportedClassVersionError: this runtime is too old",
        "Unable to access jarfile",
    ],
)
def test_the_cause_that_java_names_is_in_the_error(call, what, cause, tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho 'Error: {cause}' >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InputError, match=rf"^{what} stopped \(Error: {cause}\); see whether `java -version` works"):
        call([["a dog"], ["b"]], ["a dog", "b"])


def spice_stand_in(monkeypatch, folder, jars):
    """SPICE's class replaced by one that scores a stimulus by its number; the network is never asked."""
    pytest.importorskip("pycocoevalcap.spice.spice")

    class StandIn:
        made = 0

        def __init__(self):
            StandIn.made += 1

        def compute_score(self, known, proposed):
            assert list(known) == list(proposed) and all(text for (text,) in proposed.values())
            return None, [{"All": {"f": float(proposed[k][0])}} for k in sorted(known)]

    (folder / "lib").mkdir()
    for name in jars:
        (folder / "lib" / name).touch()
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(caption_metrics, "folder_of", lambda part: folder)
    monkeypatch.setattr("pycocoevalcap.spice.spice.Spice", StandIn)
    return StandIn


@pytest.mark.parametrize("jars", [(), ("stanford-corenlp-3.6.0.jar",)])
def test_spice_never_fetches_its_parser(jars, monkeypatch, tmp_path):
    stand_in = spice_stand_in(monkeypatch, tmp_path, jars)
    with pytest.raises(InputError, match="stanford-corenlp-3.6.0-models.jar are not in .*nothing is downloaded"):
        spice([["a"]], ["a"], tokenisation="simple")
    assert stand_in.made == 0


def test_spice_scores_come_back_in_order(monkeypatch, tmp_path):
    jars = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
    spice_stand_in(monkeypatch, tmp_path, jars)
    candidates = [str(k) for k in range(12)]
    candidates[3] = ""
    scores = spice([["a"]] * 12, candidates, tokenisation="simple")
    np.testing.assert_array_equal(scores, [0, 1, 2, 0, 4, 5, 6, 7, 8, 9, 10, 11])
    np.testing.assert_array_equal(spice([["a"]], [""], tokenisation="simple"), [0])
