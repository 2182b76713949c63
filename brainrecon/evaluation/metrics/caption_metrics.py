"""Caption metrics: the captions of each stimulus and one candidate in; one score per stimulus out.

The scores are those of pycocoevalcap, the COCO caption evaluation from which the tables of this field are copied. Every
function takes

    references    n lists of str, the captions people gave each stimulus; captions without a word are dropped
    candidates    n str, one for each stimulus; a candidate without a word scores 0

and returns float64 (n,) in that order. `corpus_bleu` and `corpus_meteor` return one float for all captions together: what
tables print under BLEU and METEOR, where counts are added up over the test set before anything is divided. Of ROUGE-L,
CIDEr and SPICE tables print the mean over stimuli.

How words are found is said in `brainrecon.evaluation.metrics.caption_words`; scores are only comparable within one way.
pycocoevalcap is an optional package: `pip install 'brainrecon[captions]'`. Nothing is ever downloaded.
"""

from numbers import Integral

import numpy as np

from brainrecon.evaluation.metrics.caption_words import tokenised_pairs
from brainrecon.evaluation.metrics.coco_evaluation import (
    folder_of,
    in_one_sentence,
    load_part,
    meteor_with_paraphrases,
    require_java,
)
from stages.ground.errors import InputError

_SPICE_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def bleu(references, candidates, n=4, tokenisation="simple"):
    """Sentence BLEU-n (Papineni et al., 2002) of each candidate.

    The geometric mean of the clipped precisions of 1- to n-grams, times exp(1 - r/c) for a candidate of c words that is
    shorter than r, the length of the closest reference. Published BLEU adds up the counts of the whole test set before
    it divides; the mean of these sentence values is another number. A precision of zero is replaced by a tiny one, as in
    pycocoevalcap: a sentence without a common n-gram scores near 0, not 0, and so does one of fewer than n words, even
    if it equals its reference.

    >>> bleu([["a dog runs on the grass"]], ["a dog on the grass"], n=1).round(3)
    array([0.819])

    Parameters
    ----------
    references : sequence of n_stimuli lists of str
    candidates : sequence of n_stimuli str
    n : int
        Longest n-gram, 1 to 4.
    tokenisation : {"simple", "ptb", "none"}

    Returns
    -------
    scores : array of shape (n_stimuli,), float64, in 0..1

    Raises
    ------
    InputError
        If numbers or types do not match, a stimulus has no caption with a word, or something is not installed.
    """
    _, by_order = _bleu(references, candidates, n, tokenisation)
    return np.array(by_order[n - 1], dtype=np.float64)


def corpus_bleu(references, candidates, n=4, tokenisation="simple"):
    """BLEU-n of all candidates together (Papineni et al., 2002), as tables print it.

    ``BLEU-n = BP · exp((1/n) Σ_k log p_k)`` with ``p_k = Σ clipped counts of k-grams / Σ k-grams``, both sums over all
    candidates, and ``BP = exp(1 - r/c)`` if all candidates together have c words, fewer than r, the sum of the lengths of
    their closest references. The mean of `bleu` is another, usually lower number.

    >>> round(corpus_bleu([["a dog runs"], ["a red bus"]], ["a dog runs", "a blue bus"], n=1), 3)
    0.833

    Parameters
    ----------
    references, candidates, n, tokenisation
        As for `bleu`.

    Returns
    -------
    score : float, in 0..1

    Raises
    ------
    InputError
        As for `bleu`.
    """
    of_corpus, _ = _bleu(references, candidates, n, tokenisation)
    return float(of_corpus[n - 1])


def _bleu(references, candidates, n, tokenisation):
    """Corpus scores by order, and sentence scores by order."""
    if isinstance(n, bool) or not isinstance(n, Integral) or not 1 <= n <= 4:
        raise InputError(f"BLEU counts n-grams of up to n words, and n is {n!r}; give an integer from 1 to 4.")
    scorer = load_part("bleu.bleu", "Bleu")(4)
    return scorer.compute_score(*tokenised_pairs(references, candidates, tokenisation), verbose=0)


def rouge_l(references, candidates, tokenisation="simple"):
    """ROUGE-L (Lin, 2004) of each candidate: an F score of the longest common subsequence of words, beta 1.2.

    As in pycocoevalcap, precision and recall are each the best over the references, not necessarily of the same one.

    >>> rouge_l([["a dog runs on the grass"]], ["a dog on the grass"]).round(3)
    array([0.894])

    Parameters
    ----------
    references, candidates, tokenisation
        As for `bleu`.

    Returns
    -------
    scores : array of shape (n_stimuli,), float64, in 0..1

    Raises
    ------
    InputError
        As for `bleu`.
    """
    scorer = load_part("rouge.rouge", "Rouge")()
    return scorer.compute_score(*tokenised_pairs(references, candidates, tokenisation))[1].astype(np.float64)


def cider(references, candidates, tokenisation="simple"):
    """CIDEr (Vedantam et al., 2015) of each candidate, in the clipped, length-penalised form that pycocoevalcap computes.

    The mean cosine between the tf-idf vectors of 1- to 4-grams of a candidate and of each of its references, times 10.
    The inverse document frequency is counted over the references given here: the score of a stimulus depends on which
    other stimuli are in the set, and an n-gram found at every stimulus weighs nothing.

    >>> cider([["a dog runs"], ["a red bus"]], ["a dog runs", "a blue bus"]).round(3)
    array([7.5 , 1.25])

    Parameters
    ----------
    references, candidates, tokenisation
        As for `bleu`.

    Returns
    -------
    scores : array of shape (n_stimuli,), float64, in 0..10

    Raises
    ------
    InputError
        As for `bleu`, and for a single stimulus, of which every word would weigh nothing.
    """
    scorer = load_part("cider.cider", "Cider")()
    captions = tokenised_pairs(references, candidates, tokenisation)
    if len(candidates) < 2:
        raise InputError("CIDEr weighs words by how few stimuli have them and got 1 stimulus; score 2 or more at once.")
    return scorer.compute_score(*captions)[1].astype(np.float64)


def meteor(references, candidates, tokenisation="ptb"):
    """METEOR 1.5 (Denkowski & Lavie, 2014) of each candidate against its best reference.

    The Java program and its tables of synonyms and paraphrases come with pycocoevalcap. It takes some ten seconds to
    start and up to 2 GB of memory.

    >>> meteor([["a dog runs on the grass"]], ["a dog on the grass"]).round(3)  # doctest: +SKIP
    array([0.39])

    Parameters
    ----------
    references, candidates, tokenisation
        As for `bleu`.

    Returns
    -------
    scores : array of shape (n_stimuli,), float64, in 0..1

    Raises
    ------
    InputError
        As for `bleu`, and if Java is absent or the program stops.
    """
    return np.array(_meteor(references, candidates, tokenisation)[1], dtype=np.float64)


def corpus_meteor(references, candidates, tokenisation="ptb"):
    """METEOR 1.5 of all candidates together, as tables print it.

    The counts of matches, words and chunks of each candidate's best reference are added up over all candidates; the score
    is computed from the sums. The mean of `meteor` is another number.

    >>> round(corpus_meteor([["a dog runs"], ["a red bus"]], ["a dog runs", "a blue bus"]), 3)  # doctest: +SKIP
    0.393

    Parameters
    ----------
    references, candidates, tokenisation
        As for `bleu`.

    Returns
    -------
    score : float, in 0..1

    Raises
    ------
    InputError
        As for `meteor`.
    """
    return float(_meteor(references, candidates, tokenisation)[0])


def _meteor(references, candidates, tokenisation):
    """The score of all candidates together, and the scores of each."""
    scorer_class = load_part("meteor.meteor", "Meteor")
    require_java("METEOR")
    # Bars divide the captions on the lines that the program reads.
    captions = [
        {k: [" ".join(text.replace("|", " ").split()) for text in texts] for k, texts in one.items()}
        for one in tokenised_pairs(references, candidates, tokenisation)
    ]
    scorer = None
    with in_one_sentence("METEOR", lambda: getattr(scorer, "meteor_p", None)):
        scorer = meteor_with_paraphrases(scorer_class)()
        try:
            return scorer.compute_score(*captions)
        finally:
            # After an error pycocoevalcap keeps its lock, and would wait for it for ever when the scorer is deleted.
            if scorer.lock.locked():
                scorer.lock.release()


def spice(references, candidates, tokenisation="ptb"):
    """SPICE (Anderson et al., 2016) of each candidate: F score of the scene graphs' objects, attributes and relations.

    The Java program comes with pycocoevalcap, but not the parser that it needs, Stanford CoreNLP 3.6.0. The program
    writes temporary files and a cache into its own folder, takes up to 8 GB of memory, and was written for Java 8.

    Parameters
    ----------
    references, candidates, tokenisation
        As for `bleu`.

    Returns
    -------
    scores : array of shape (n_stimuli,), float64, in 0..1

    Raises
    ------
    InputError
        As for `bleu`, and if Java or the parser is absent or the program stops.
    """
    scorer_class = load_part("spice.spice", "Spice")
    require_java("SPICE")
    library = folder_of("spice") / "lib"
    absent = [name for name in _SPICE_JARS if not (library / name).is_file()]
    if absent:
        raise InputError(
            f"SPICE parses with Stanford CoreNLP 3.6.0, of which {' and '.join(absent)} are not in {library}, and nothing "
            "is downloaded here; fetch stanford-corenlp-full-2015-12-09.zip from nlp.stanford.edu/software and copy "
            "both jars there."
        )
    known, proposed = tokenised_pairs(references, candidates, tokenisation)
    scores = np.zeros(len(candidates))
    # A sentence without a word has no graph.
    worded = [k for k, (text,) in proposed.items() if text]
    if worded:
        with in_one_sentence("SPICE"):
            _, parts = scorer_class().compute_score({k: known[k] for k in worded}, {k: proposed[k] for k in worded})
        scores[worded] = [part["All"]["f"] for part in parts]
    return scores
