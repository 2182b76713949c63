"""How the words of captions are found.

Words are found in one of these ways, and scores are only comparable within one:

    "ptb"       The Stanford PTB tokeniser 3.4.1 that comes with pycocoevalcap, then its list of punctuation removed. This
                is what is published. It is a Java program.
    "simple"    Needs no Java. Lower case; punctuation removed, except where it stands inside a word or number
                ("black-and-white", "3.5", "10:30"); contractions cut as the PTB does ("dog 's", "is n't"). It
                differs from "ptb" in symbols ("50%" stays one word), abbreviations ("U.S." loses its last point), "cannot"
                and "gonna", and in brackets and runs such as "?!", which the published list fails to remove.
    "none"      Captions are words with spaces between them already, as `tokenised` returns them.
"""

import re
import subprocess

from brainrecon.evaluation.metrics.coco_evaluation import folder_of, in_one_sentence, load_part, require_java
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

TOKENISATIONS = ("simple", "ptb", "none")

_PTB_JAR = "stanford-corenlp-3.4.1.jar"
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "…": " ", "–": " ", "—": " "})
# Commas and colons stay between digits, full stops, apostrophes and hyphens between any characters of a word.
_PUNCTUATION = re.compile(r"""[?!;"(){}\[\]]|(?<!\d)[,:]|[,:](?!\d)|(?<!\w)[.'-]|[.'-](?!\w)""")
_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")


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
        meant = did_you_mean(tokenisation, TOKENISATIONS)
        raise InputError(f"There is no tokenisation {tokenisation!r}; choose one of {', '.join(TOKENISATIONS)}{meant}.")
    # The PTB tokeniser reads a caption per line, and any kind of line break would shift all captions behind it.
    captions = [" ".join(text.split()) for text in captions]
    return {"simple": _simple, "ptb": _ptb, "none": list}[tokenisation](captions)


def _simple(captions):
    plain = (_PUNCTUATION.sub(" ", text.lower().translate(_STRAIGHT)) for text in captions)
    return [" ".join(_CONTRACTION.sub(r" \1", text).split()) for text in plain]


def _ptb(captions):
    """As pycocoevalcap's PTBTokenizer, but without writing beside the jar, and in UTF-8 whatever the locale."""
    removed = set(load_part("tokenizer.ptbtokenizer", "PUNCTUATIONS"))
    require_java("The PTB tokeniser")
    worded = [k for k, text in enumerate(captions) if text]
    found = [""] * len(captions)
    if not worded:
        return found
    command = ["java", "-cp", _PTB_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    command += ["-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
    text = "".join(captions[k] + "\n" for k in worded)
    with in_one_sentence("The PTB tokeniser"):
        run = subprocess.run(command, input=text.encode(), cwd=folder_of("tokenizer"), capture_output=True, check=True)
        lines = run.stdout.decode().removesuffix("\n").split("\n")
        if len(lines) != len(worded):
            raise ValueError(f"{len(worded)} captions became {len(lines)} lines")
    for k, line in zip(worded, lines, strict=True):
        found[k] = " ".join(word for word in line.rstrip().split(" ") if word not in removed)
    return found


def tokenised_pairs(references, candidates, tokenisation):
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
