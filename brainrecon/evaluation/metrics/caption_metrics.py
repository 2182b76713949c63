"""Caption metrics: the captions of each stimulus and one candidate in; one score per stimulus out.

The scores are those of pycocoevalcap, the COCO caption evaluation from which the tables of this field are copied. Every
function takes

    references    n lists of str, the captions people gave each stimulus; captions without a word are dropped
    candidates    n str, one for each stimulus; a candidate without a word scores 0

and returns float64 (n,) in that order. `corpus_bleu` and `corpus_meteor` return one float for all captions together: what
tables print under BLEU and METEOR, where counts are added up over the test set before anything is divided. Of ROUGE-L,
CIDEr and SPICE tables print the mean over stimuli.

Words are found in one of these ways, and scores are only comparable within one:

    "ptb"       The Stanford PTB tokeniser 3.4.1 that comes with pycocoevalcap, then its list of punctuation removed. This
                is what is published. It is a Java program.
    "simple"    Needs no Java. Lower case; punctuation removed, except where it stands inside a word or number
                ("black-and-white", "3.5", "10:30"); contractions cut as the PTB does ("dog 's", "is n't"). It
                differs from "ptb" in symbols ("50%" stays one word), abbreviations ("U.S." loses its last point), "cannot"
                and "gonna", and in brackets and runs such as "?!", which the published list fails to remove.
    "none"      Captions are words with spaces between them already, as `tokenised` returns them.

pycocoevalcap is an optional package: `pip install 'brainrecon[captions]'`. Nothing is ever downloaded.
"""

import re
import shutil
import subprocess
from contextlib import contextmanager
from importlib import import_module
from numbers import Integral
from pathlib import Path

import numpy as np

from stages.ground.errors import InputError

TOKENISATIONS = ("simple", "ptb", "none")

_PTB_JAR = "stanford-corenlp-3.4.1.jar"
_SPICE_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "…": " ", "–": " ", "—": " "})
# Commas and colons stay between digits, full stops, apostrophes and hyphens between any characters of a word.
_PUNCTUATION = re.compile(r"""[?!;"(){}\[\]]|(?<!\d)[,:]|[,:](?!\d)|(?<!\w)[.'-]|[.'-](?!\w)""")
_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")


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
    scorer = _load("bleu.bleu", "Bleu")(4)
    return scorer.compute_score(*_tokenised(references, candidates, tokenisation), verbose=0)


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
    scorer = _load("rouge.rouge", "Rouge")()
    return scorer.compute_score(*_tokenised(references, candidates, tokenisation))[1].astype(np.float64)


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
    scorer = _load("cider.cider", "Cider")()
    captions = _tokenised(references, candidates, tokenisation)
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
    scorer_class = _load("meteor.meteor", "Meteor")
    _require_java("METEOR")
    # Bars divide the captions on the lines that the program reads.
    captions = [
        {k: [" ".join(text.replace("|", " ").split()) for text in texts] for k, texts in one.items()}
        for one in _tokenised(references, candidates, tokenisation)
    ]
    with _in_one_sentence("METEOR"):
        scorer = scorer_class()
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
    scorer_class = _load("spice.spice", "Spice")
    _require_java("SPICE")
    library = _folder("spice") / "lib"
    absent = [name for name in _SPICE_JARS if not (library / name).is_file()]
    if absent:
        raise InputError(
            f"SPICE parses with Stanford CoreNLP 3.6.0, of which {' and '.join(absent)} are not in {library}, and nothing "
            "is downloaded here; fetch stanford-corenlp-full-2015-12-09.zip from nlp.stanford.edu/software and copy "
            "both jars there."
        )
    known, proposed = _tokenised(references, candidates, tokenisation)
    scores = np.zeros(len(candidates))
    # A sentence without a word has no graph.
    worded = [k for k, (text,) in proposed.items() if text]
    if worded:
        with _in_one_sentence("SPICE"):
            _, parts = scorer_class().compute_score({k: known[k] for k in worded}, {k: proposed[k] for k in worded})
        scores[worded] = [part["All"]["f"] for part in parts]
    return scores


def tokenised(captions, tokenisation="simple"):
    """Captions as the metrics read them.

    >>> tokenised(["A black-and-white dog, isn't it?"])
    ["a black-and-white dog is n't it"]

    Parameters
    ----------
    captions : sequence of str
    tokenisation : {"simple", "ptb", "none"}

    Returns
    -------
    captions : list of str
        In lower case, words separated by one space, without punctuation.

    Raises
    ------
    InputError
        If there is no such tokenisation, or what it needs is not installed.
    """
    if tokenisation not in TOKENISATIONS:
        raise InputError(f"There is no tokenisation {tokenisation!r}; choose one of {', '.join(TOKENISATIONS)}.")
    # The PTB tokeniser reads a caption per line, and any kind of line break would shift all captions behind it.
    captions = [" ".join(text.split()) for text in captions]
    return {"simple": _simple, "ptb": _ptb, "none": list}[tokenisation](captions)


def _simple(captions):
    plain = (_PUNCTUATION.sub(" ", text.lower().translate(_STRAIGHT)) for text in captions)
    return [" ".join(_CONTRACTION.sub(r" \1", text).split()) for text in plain]


def _ptb(captions):
    """As pycocoevalcap's PTBTokenizer, but without writing beside the jar, and in UTF-8 whatever the locale."""
    removed = set(_load("tokenizer.ptbtokenizer", "PUNCTUATIONS"))
    _require_java("The PTB tokeniser")
    worded = [k for k, text in enumerate(captions) if text]
    found = [""] * len(captions)
    if not worded:
        return found
    command = ["java", "-cp", _PTB_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    command += ["-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
    text = "".join(captions[k] + "\n" for k in worded)
    with _in_one_sentence("The PTB tokeniser"):
        run = subprocess.run(command, input=text.encode(), cwd=_folder("tokenizer"), capture_output=True, check=True)
        lines = run.stdout.decode().removesuffix("\n").split("\n")
        if len(lines) != len(worded):
            raise ValueError(f"{len(worded)} captions became {len(lines)} lines")
    for k, line in zip(worded, lines, strict=True):
        found[k] = " ".join(word for word in line.rstrip().split(" ") if word not in removed)
    return found


def _tokenised(references, candidates, tokenisation):
    """Both as pycocoevalcap takes them: dicts of stimulus to list of tokenised str, in the given order."""
    if isinstance(candidates, str) or isinstance(references, str) or len(references) != len(candidates):
        raise InputError(
            f"There are {_number(candidates)} for {_number(references)} of references; "
            "give one str for each stimulus, and for each a list of references."
        )
    if len(candidates) == 0:
        raise InputError("There are 0 candidates to score; give at least one.")
    flat, owners = list(candidates), list(range(len(candidates)))
    for k, texts in enumerate(references):
        if isinstance(texts, str):
            raise InputError(f"The references of stimulus {k} are one str, {texts!r}; give a list of str.")
        flat += texts
        owners += [k] * len(texts)
    for k, text in zip(owners, flat, strict=True):
        if not isinstance(text, str):
            raise InputError(f"A caption of stimulus {k} is {text!r}, a {type(text).__name__}; give a str.")
    flat = tokenised(flat, tokenisation)
    proposed = {k: [text] for k, text in enumerate(flat[: len(candidates)])}
    known = {k: [] for k in proposed}
    for k, text in zip(owners[len(candidates) :], flat[len(candidates) :], strict=True):
        if text:
            known[k].append(text)
    bare = [k for k, texts in known.items() if not texts]
    if bare:
        raise InputError(
            f"{len(bare)} of {len(known)} stimuli have no reference with a word, the first is stimulus {bare[0]}; "
            "give each at least one, or leave these stimuli out."
        )
    return known, proposed


def _number(captions):
    return f"one str, {captions!r}," if isinstance(captions, str) else f"{len(captions)} entries"


def _load(module, name):
    """Something of pycocoevalcap. Importing its metrics starts no Java and loads nothing else."""
    try:
        return getattr(import_module(f"pycocoevalcap.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pycocoevalcap":
            raise
        raise InputError(
            "Captions are scored with pycocoevalcap, which is not installed here; "
            "install it with `pip install 'brainrecon[captions]'`."
        ) from None


def _folder(part):
    """Where pycocoevalcap keeps the jars of one of its parts."""
    return Path(next(iter(import_module(f"pycocoevalcap.{part}").__path__)))


def _require_java(what):
    if shutil.which("java") is None:
        raise InputError(
            f"{what} is a Java program and there is no `java` on the PATH; install a Java runtime, for example with "
            "`apt install default-jre-headless` or `conda install openjdk`, or choose bleu, rouge_l or cider "
            'with tokenisation="simple".'
        )


@contextmanager
def _in_one_sentence(what):
    """Turn what a Java program's end leaves behind into one sentence."""
    try:
        yield
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        told = " ".join(str(error).split())
        raise InputError(
            f"{what} stopped ({told}); see whether `java -version` works, is one that this program runs on, and "
            "finds enough memory."
        ) from error
