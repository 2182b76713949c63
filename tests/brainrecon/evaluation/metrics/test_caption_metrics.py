"""Caption metrics against their formulas written out, the laws they obey, and what they refuse."""

import itertools
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from brainrecon.evaluation.metrics.caption_metrics import (
    bleu,
    cider,
    corpus_bleu,
    meteor,
    rouge_l,
    spice,
)
from brainrecon.evaluation.metrics.caption_words import tokenised
from stages.ground.errors import InputError

METRICS = [bleu, rouge_l, cider]
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no java on the PATH")


def captions(seed, n=12, words="abcdefg", longest=9):
    """References and candidates of random words, lengths 1 to `longest`."""
    rng = np.random.default_rng(seed)

    def sentence():
        return " ".join(rng.choice(list(words), size=rng.integers(1, longest + 1)))

    return [[sentence() for _ in range(rng.integers(1, 6))] for _ in range(n)], [sentence() for _ in range(n)]


def ngrams(sentence, n):
    words = sentence.split()
    return Counter(tuple(words[k : k + n]) for k in range(len(words) - n + 1))


def published_bleu(references, candidate, n):
    """Papineni et al.: clipped precisions, geometric mean, brevity penalty towards the closest length."""
    length = len(candidate.split())
    closest = min((abs(len(text.split()) - length), len(text.split())) for text in references)[1]
    product = 1.0
    for order in range(1, n + 1):
        found = ngrams(candidate, order)
        clipped = sum(
            min(count, max(ngrams(text, order)[gram] for text in references)) for gram, count in found.items()
        )
        # The stand-ins for zero are pycocoevalcap's.
        product *= (clipped + 1e-15) / (max(length - order + 1, 0) + 1e-9)
    return product ** (1 / n) * min(1.0, math.exp(1 - closest / length))


def longest_common_subsequence(one, other):
    """By trying all subsequences of one."""
    for length in range(len(one), 0, -1):
        for chosen in itertools.combinations(one, length):
            rest = iter(other)
            if all(word in rest for word in chosen):
                return length
    return 0


def published_rouge(references, candidate):
    words = candidate.split()
    common = [longest_common_subsequence(words, text.split()) for text in references]
    precision = max(count / len(words) for count in common)
    recall = max(count / len(text.split()) for count, text in zip(common, references, strict=True))
    return 0.0 if precision * recall == 0 else (1 + 1.44) * precision * recall / (recall + 1.44 * precision)


def published_cider(references, candidates):
    """Vedantam et al., with vectors over all n-grams that occur, clipped, and with the penalty for length."""
    scores = np.zeros(len(candidates))
    for order in (1, 2, 3, 4):
        everything = [text for texts in references for text in texts] + list(candidates)
        grams = sorted({gram for text in everything for gram in ngrams(text, order)})
        if not grams:
            continue
        documents = np.array(
            [sum(any(gram in ngrams(t, order) for t in texts) for texts in references) for gram in grams]
        )
        weight = np.log(len(references)) - np.log(np.maximum(documents, 1))

        def vector(text, order=order, grams=grams, weight=weight):
            return np.array([ngrams(text, order)[gram] for gram in grams]) * weight

        for k, (texts, candidate) in enumerate(zip(references, candidates, strict=True)):
            for text in texts:
                one, other = vector(candidate), vector(text)
                norms = np.linalg.norm(one) * np.linalg.norm(other)
                # pycocoevalcap measures length in bigrams.
                apart = max(len(candidate.split()) - 1, 0) - max(len(text.split()) - 1, 0)
                cosine = np.minimum(one, other) @ other / norms if norms else 0.0
                scores[k] += cosine * np.exp(-(apart**2) / 72) / len(texts)
    return 10 * scores / 4


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bleu_vs_its_formula(n):
    references, candidates = captions(n, words="abc")
    expected = [published_bleu(texts, text, n) for texts, text in zip(references, candidates, strict=True)]
    np.testing.assert_allclose(bleu(references, candidates, n=n), expected, rtol=1e-6)


def test_bleu_by_hand():
    references = [["a b c d"], ["the cat"], ["a b c", "a b c d e"], ["a b c d e"]]
    candidates = ["a b", "the the the the", "a b c d", "a b c d e"]
    # Half as long; one of four words counts; both references are one word off and the shorter is taken; the same.
    np.testing.assert_allclose(bleu(references, candidates, n=1), [math.exp(-1), 0.25, 1, 1], rtol=1e-6)


def test_the_mean_of_sentence_bleu_is_not_the_corpus_value():
    from pycocoevalcap.bleu.bleu import Bleu

    references, candidates = captions(5, words="ab")
    known, proposed = dict(enumerate(references)), {k: [text] for k, text in enumerate(candidates)}
    corpus, sentences = Bleu(4).compute_score(known, proposed, verbose=0)
    np.testing.assert_allclose(bleu(references, candidates), sentences[3], rtol=1e-12)
    assert abs(corpus[3] - bleu(references, candidates).mean()) > 0.01


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_bleu_of_the_corpus_vs_its_formula(n):
    """Papineni et al.: counts of all captions are added up before anything is divided."""
    references, candidates = captions(15, n=40, words="abc")
    clipped, found, length, closest = np.zeros(n), np.zeros(n), 0, 0
    for texts, text in zip(references, candidates, strict=True):
        own = len(text.split())
        length += own
        closest += min((abs(len(one.split()) - own), len(one.split())) for one in texts)[1]
        for order in range(1, n + 1):
            grams = ngrams(text, order)
            found[order - 1] += max(own - order + 1, 0)
            clipped[order - 1] += sum(min(k, max(ngrams(t, order)[g] for t in texts)) for g, k in grams.items())
    expected = np.exp(np.log(clipped / found).mean()) * min(1.0, math.exp(1 - closest / length))
    assert corpus_bleu(references, candidates, n=n) == pytest.approx(expected, rel=1e-6)


def test_rouge_vs_brute_force():
    references, candidates = captions(6, words="abcd", longest=8)
    expected = [published_rouge(texts, text) for texts, text in zip(references, candidates, strict=True)]
    np.testing.assert_allclose(rouge_l(references, candidates), expected, rtol=1e-12)


@pytest.mark.parametrize(("seed", "words"), [(7, "abcdefg"), (8, "abc")])
def test_cider_vs_its_formula(seed, words):
    references, candidates = captions(seed, words=words)
    np.testing.assert_allclose(cider(references, candidates), published_cider(references, candidates), rtol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_per_stimulus_in_the_given_order(metric):
    references, candidates = captions(9)
    scores = metric(references, candidates)
    assert scores.dtype == np.float64 and scores.shape == (12,)
    order = np.random.default_rng(0).permutation(12)
    shuffled = metric([references[k] for k in order], [candidates[k] for k in order])
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-12)


def test_the_right_caption_gets_the_highest_score():
    sentences = ["a dog runs on grass", "two cats sleep there quietly", "some red bus stops downtown"]
    references = [[text] for text in sentences]
    for metric, highest in ((bleu, 1), (rouge_l, 1), (cider, 10)):
        np.testing.assert_allclose(metric(references, sentences), highest, rtol=1e-6)
        assert (metric(references, sentences[1:] + sentences[:1]) < 0.3 * highest).all()


def test_only_cider_depends_on_the_other_stimuli():
    references, candidates = captions(10)
    for metric in (bleu, rouge_l):
        np.testing.assert_array_equal(metric(references[:5], candidates[:5]), metric(references, candidates)[:5])
    assert not np.allclose(cider(references[:5], candidates[:5]), cider(references, candidates)[:5])


@pytest.mark.parametrize("metric", METRICS)
def test_a_candidate_without_a_word_scores_nothing(metric):
    references, candidates = captions(11)
    scores = metric(references, ["", " . ", *candidates[2:]])
    assert scores[0] == scores[1] == 0
    np.testing.assert_array_equal(scores[2:], metric(references, candidates)[2:])


@pytest.mark.parametrize("metric", METRICS)
def test_references_without_a_word_are_dropped(metric):
    references, candidates = captions(12)
    padded = [["", *texts, "  ", "..."] for texts in references]
    np.testing.assert_array_equal(metric(padded, candidates), metric(references, candidates))


def test_one_stimulus_is_scored_alone_except_by_cider():
    assert bleu([["a b c d"]], ["a b c d"]) == pytest.approx([1])
    assert rouge_l([["a b"]], ["a b"]) == pytest.approx([1])
    with pytest.raises(InputError, match="got 1 stimulus; score 2 or more"):
        cider([["a b"]], ["a b"])


@pytest.mark.parametrize("metric", [*METRICS, meteor])
@pytest.mark.parametrize(
    ("references", "candidates", "message"),
    [
        ([["a"], ["b"]], ["a"], "1 entries for 2 entries of references"),
        ([["a"]], "a", "one str, 'a', for 1 entries"),
        (["a cat"], ["a cat"], "references of stimulus 0 are one str, 'a cat'"),
        ([], [], "0 candidates"),
        ([["a"], []], ["a", "b"], "1 of 2 stimuli have no reference with a word, the first is stimulus 1"),
        ([["a"], ["", "?"]], ["a", "b"], "the first is stimulus 1"),
        ([["a"], ["b"]], ["a", None], "stimulus 1 is None, a NoneType"),
        ([["a"], ["b", 3]], ["a", "b"], "stimulus 1 is 3, a int"),
    ],
)
def test_what_does_not_fit_is_refused(metric, references, candidates, message, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(InputError, match=message):
        metric(references, candidates, tokenisation="simple")


@pytest.mark.parametrize("n", [0, 5, 2.0, True, "4"])
def test_an_impossible_order_is_refused(n):
    with pytest.raises(InputError, match="integer from 1 to 4"):
        bleu([["a"]], ["a"], n=n)


def test_an_unknown_tokenisation_is_refused():
    with pytest.raises(InputError, match="no tokenisation 'spacy'; choose one of simple, ptb"):
        bleu([["a"]], ["a"], tokenisation="spacy")


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's dog isn't here, sitting on a bench.", "a man 's dog is n't here sitting on a bench"),
        ("Two people -- one tall... \"hello\" 'hi'; ok?!", "two people one tall hello hi ok"),
        ("black-and-white, 1,000 at 10:30: 3.5 (dog,cat)", "black-and-white 1,000 at 10:30 3.5 dog cat"),
        ("don’t  say\n“no”\u2028…", "do n't say no"),
        ("..- '", ""),
    ],
)
def test_words_are_found_without_java(caption, words):
    assert tokenised([caption]) == [words]


PLAIN = [
    "A man riding a wave on top of a surfboard.",
    "Two dogs' toys, a cat's bed and a black-and-white photo; nobody's there!",
    "It isn't 10:30 yet: they're waiting, aren't they?",
    'A sign says "stop" - at 3.5 miles, for 1,000 people.',
    "",
    "Une fille mange une crêpe naïvement.",
]


@needs_java
def test_both_tokenisations_agree_on_plain_captions():
    assert tokenised(PLAIN, "ptb") == tokenised(PLAIN, "simple")


@needs_java
def test_ptb_vs_the_published_tokeniser():
    module = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    if not os.access(Path(module.__file__).parent, os.W_OK):
        pytest.skip("the published tokeniser writes beside its jar")
    lines = [text for text in PLAIN if text and text.isascii()] + ["Can [he] (she) cannot?! 50% of $5 e.g. U.S. a/b"]
    found = module.PTBTokenizer().tokenize({0: [{"caption": text} for text in lines]})[0]
    assert tokenised(lines, "ptb") == found


@needs_java
def test_line_breaks_shift_no_caption():
    broken = ["", "one\ntwo", "three\r\nfour\x0bfive\u2028six\x85seven", "  ", "eight", ""]
    assert tokenised(broken, "ptb") == ["", "one two", "three four five six seven", "", "eight", ""]


@needs_java
def test_the_tokenisation_reaches_the_score():
    references, candidates = [["a dog cannot run"], ["a"]], ["a dog can not run", "a"]
    assert rouge_l(references, candidates, tokenisation="ptb")[0] == pytest.approx(1)
    assert rouge_l(references, candidates)[0] < 0.9


def test_without_java_the_others_work(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(subprocess, "run", None)
    references, candidates = captions(13)
    assert all(np.isfinite(metric(references, candidates)).all() for metric in METRICS)


@pytest.mark.parametrize(
    ("metric", "module"),
    [
        (bleu, "bleu.bleu"),
        (rouge_l, "rouge.rouge"),
        (cider, "cider.cider"),
        (meteor, "meteor.meteor"),
        (spice, "spice.spice"),
    ],
)
def test_a_missing_package_is_named(metric, module, monkeypatch):
    monkeypatch.setitem(sys.modules, f"pycocoevalcap.{module}", None)
    with pytest.raises(InputError, match=r"pip install 'brainrecon\[captions\]'"):
        metric([["a"], ["b"]], ["a", "b"])


def test_the_package_is_loaded_only_when_a_caption_is_scored():
    code = "import sys; import brainrecon.evaluation.metrics.caption_metrics; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.startswith(("pycocoevalcap", "pycocotools", "torch"))]
