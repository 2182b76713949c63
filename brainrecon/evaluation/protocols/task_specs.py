"""The tables of a protocol that are about predicted values: embeddings, retrieval, categories, captions."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

from brainrecon.evaluation.metrics.category_identification import TIES
from brainrecon.evaluation.metrics.identification import n_way_chance
from brainrecon.evaluation.metrics.metric import METRICS, Metric, find_metric, metric_names
from brainrecon.evaluation.protocols.specs import SIMILARITIES, one_of, refuse
from stages.ground.errors import InputError

EMBEDDING_KEYS = ("name", "measure", "target", "similarity", "n_way", "top_k", "label", "description")
RETRIEVAL_KEYS = ("target", "direction", "similarity", "pool", "repeats", "seed", "top_k", "label", "description")
CATEGORY_KEYS = ("similarity", "ties", "label", "description")
CAPTION_KEYS = ("measure", "of", "references", "tokenisation", "label", "description")

FEATURE_MEASURES = ("profile_correlation", "pattern_correlation")
EMBEDDING_MEASURES = ("image_retrieval", "brain_retrieval", *FEATURE_MEASURES)
# From what is given to what is looked for.
DIRECTIONS = ("brain_to_picture", "picture_to_brain")
REFERENCES = ("all", "first")
TOKENISATIONS = ("ptb", "simple")

_OF_RETRIEVAL = ("similarity", "n_way", "top_k")

# As MindEye (Scotti et al. 2023) draws them.
_POOL, _REPEATS = 300, 30


class _AmongCandidates:
    """What is looked for among so many candidates, and is called after that number."""

    def among(self, *found):
        """The same with a label and a description that name the number of candidates that there were.

        >>> EmbeddingSpec("a", "image_retrieval", "clip_image", n_way=300, label="Picture among 300").among(6).label
        'Picture among 6 (300 wanted)'

        Parameters
        ----------
        *found : int
            Candidates that there were, for several subjects or runs each.
        """
        wanted = self.candidates
        if wanted is None or not found or min(found) >= wanted:
            return self
        low, high = min(found), min(max(found), wanted)
        counts = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        named = re.compile(rf"\bamong {wanted}\b")
        told = f"among {counts} ({wanted:,} wanted)"
        label = named.sub(told, self.label) if named.search(self.label) else f"{self.label}, {told}"
        return replace(self, label=label, description=named.sub(told, self.description))


@dataclass(frozen=True)
class EmbeddingSpec(_AmongCandidates):
    """A score of predicted embeddings themselves, before any picture is drawn.

    Attributes
    ----------
    name : str
        Key in every file of scores.
    measure : {"image_retrieval", "brain_retrieval", "profile_correlation", "pattern_correlation"}
        From a prediction to the shown picture's own value among others, or from the value to its prediction; or the correlation
        of a unit over stimuli, or of a stimulus over units, see `brainrecon.evaluation.tasks.features.score_features`.
    target : str
        Name of the target, for example "clip_image"; left out for methods that predict no such target. Of correlations also
        "all": every decoded target.
    similarity : {"pearson", "cosine"}
    n_way, top_k : int
        Own one among the `top_k` best of `n_way` candidates (2 and 1: two-way identification). Correlations have none of these.
    label, description : str
    """

    name: str
    measure: str
    target: str
    similarity: str = "pearson"
    n_way: int = 2
    top_k: int = 1
    label: str = ""
    description: str = ""

    @property
    def candidates(self):
        """How many the protocol wants, int; None for a correlation."""
        return None if self.measure in FEATURE_MEASURES else self.n_way


@dataclass(frozen=True)
class RetrievalSpec(_AmongCandidates):
    """Retrieval among pools of candidates, as it is published, or among the whole test set.

    Attributes
    ----------
    name : str
        Key in every file of scores.
    target : str
        Name of the target whose predicted and true values are compared, for example "clip_image".
    direction : {"brain_to_picture", "picture_to_brain"}
        "brain_to_picture": given a prediction from a response, find the picture that was shown, among pictures.
        "picture_to_brain": given a picture, find the prediction from the response to it, among predictions.
    similarity : {"cosine", "pearson"}
    pool : int or None
        Candidates in a pool; None for all stimuli of the test set. If there are fewer stimuli, all of them are taken.
    repeats, seed : int
        Number of random pools, and their seed. With all stimuli as candidates there is one pool, and no seed matters.
    top_k : int
        Found if among so many best candidates.
    label, description : str
    """

    name: str
    target: str
    direction: str
    similarity: str = "cosine"
    pool: int | None = _POOL
    repeats: int = _REPEATS
    seed: int = 0
    top_k: int = 1
    label: str = ""
    description: str = ""

    @property
    def candidates(self):
        """How many the protocol wants, int; None for all."""
        return self.pool


@dataclass(frozen=True)
class CategorySpec:
    """Identification of a stimulus's category among averages of many, by every predicted value that has such averages.

    Attributes
    ----------
    name : str
        Key in every file of scores.
    similarity : {"pearson", "cosine"}
    ties : {"succeed", "fail"}
        Whether a candidate that resembles a prediction as much as its own category does counts as beaten.
    label, description : str
    """

    name: str
    similarity: str = "pearson"
    ties: str = "succeed"
    label: str = ""
    description: str = ""


@dataclass(frozen=True)
class CaptionSpec:
    """A score of predicted captions.

    Attributes
    ----------
    name : str
        Key in every file of scores.
    measure : str
        A name that `brainrecon.evaluation.metrics.metric.find_metric` knows, of a metric that takes captions.
    label, description : str
    of : str
        Which text of a system is scored: "caption"; or a value on the way to its pictures, such as "labels", whose true ones are
        the synsets or categories of the stimuli.
    references : {"all", "first"}
        Which of the true captions of a stimulus a predicted one is compared with.
    tokenisation : {"ptb", "simple"} or None
        How words are found, see `brainrecon.evaluation.metrics.caption_words`; None if the metric reads plain text.
    """

    name: str
    measure: str
    label: str
    description: str
    of: str = "caption"
    references: str = "all"
    tokenisation: str | None = None

    @cached_property
    def metric(self) -> Metric:
        """Direction, bounds, chance level and function. Looked up once: another package's takes milliseconds to find."""
        return find_metric(self.measure)

    @property
    def options(self):
        """What a chance level depends on: nothing, dict."""
        return {}


def embedding_spec(spec):
    """A score of embeddings from its table."""
    one_of(spec["name"], spec, "similarity", SIMILARITIES)
    if spec["measure"] not in EMBEDDING_MEASURES:
        refuse(spec["name"], "measure", spec["measure"], EMBEDDING_MEASURES)
    if spec["measure"] in FEATURE_MEASURES and (given := [key for key in _OF_RETRIEVAL if key in spec]):
        raise InputError(
            f"The embedding metric {spec['name']!r} is a {spec['measure'].replace('_', ' ')} and gives {given[0]}; expected "
            f"none, for nothing is looked for among candidates. Leave {given[0]} out."
        )
    return EmbeddingSpec(**({"label": spec["name"]} | spec))


def retrieval_spec(name, table):
    """A retrieval from its table ``[retrieval.NAME]``."""
    where = f"retrieval {name}"
    for key in ("target", "direction"):
        if key not in table:
            raise InputError(f"The table [retrieval.{name}] has no {key}; expected target and direction. Add it.")
    one_of(where, table, "direction", DIRECTIONS)
    one_of(where, table, "similarity", SIMILARITIES)
    for key in ("repeats", "seed", "top_k"):
        if not _is_whole(table.get(key, 1), lowest=0 if key == "seed" else 1):
            refuse(where, key, table[key], [f"a whole number from {0 if key == 'seed' else 1}"])
    pool = table.get("pool", _POOL)
    if pool == "all":
        if given := [key for key in ("repeats", "seed") if key in table]:
            raise InputError(
                f"The table [retrieval.{name}] takes all stimuli as candidates and gives {given[0]}; expected none, for there "
                f"is one such pool. Leave {given[0]} out, or name a size as pool."
            )
        return RetrievalSpec(**{"label": name} | table | {"name": name, "pool": None, "repeats": 1})
    if not _is_whole(pool, lowest=2):
        refuse(where, "pool", pool, ["a whole number from 2", "all"])
    n_way_chance(pool, table.get("top_k", 1))
    return RetrievalSpec(**{"label": name} | table | {"name": name})


def category_spec(name, table):
    """An identification of categories from its table ``[categories.NAME]``."""
    where = f"categories {name}"
    # It is correlation unless the table says otherwise.
    one_of(where, table, "similarity", ("pearson", "cosine"))
    one_of(where, table, "ties", TIES)
    return CategorySpec(**{"label": name} | table | {"name": name})


def caption_spec(name, table):
    """A score of captions from its table ``[captions.NAME]``."""
    where, measure = f"captions {name}", table.get("measure", name)
    metric = find_metric(measure)
    if metric.takes != "captions":
        refuse(where, "measure", measure, [one for one in metric_names() if one not in METRICS or _reads_captions(one)])
    one_of(where, table, "references", REFERENCES)
    if not isinstance(table.get("of", ""), str):
        refuse(where, "of", table["of"], ["the name of a text, such as caption or labels"])
    if "tokenisation" not in metric.options:
        if "tokenisation" in table:
            raise InputError(
                f"The table [captions.{name}] gives a tokenisation, which {measure} does not read; leave it out there."
            )
        words = {"tokenisation": None}
    else:
        one_of(where, table, "tokenisation", TOKENISATIONS)
        words = {"tokenisation": TOKENISATIONS[0]}
    return CaptionSpec(**{"label": name, "description": ""} | words | table | {"name": name, "measure": measure})


def _reads_captions(name):
    return METRICS[name].takes == "captions"


def _is_whole(value, lowest):
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest
