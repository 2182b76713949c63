"""Protocols: named ways to score, held as data.

A protocol is a TOML file in `protocols/`. It says on which test set, to what size pictures are brought and how, which
networks look at them after which preprocessing, and which metrics are computed from what. Its sha256 identifies it. It
does not cover the weights of those networks: two scores are comparable when `Scores.identity` is equal, which does.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from brainrecon.evaluation.metrics import METRICS, Metric
from brainrecon.evaluation.preparation import Preparation, Resize
from stages.errors import InputError

_FOLDER = Path(__file__).parent / "protocols"

# Text for the reader. Rewording it changes no score, so it is no part of the digest.
_PROSE = ("label", "description", "source")

# What the tables of a protocol may hold. A key that nobody reads would promise what no score keeps.
_KEYS = (
    "name",
    "description",
    "source",
    "headline",
    "low_level",
    "test_set",
    "resize",
    "networks",
    "metrics",
    "embeddings",
)
_NETWORK_KEYS = ("kind", "checkpoint", "layer", "label", "resize", "crop", "mean", "std")
_METRIC_KEYS = (
    "name",
    "measure",
    "features",
    "similarity",
    "within",
    "n_way",
    "top_k",
    "threshold",
    "head",
    "refine",
    "resize",
    "label",
    "description",
)
_EMBEDDING_KEYS = ("name", "measure", "target", "similarity", "n_way", "top_k", "label", "description")

_COMPETITORS = ("all", "category")
_SIMILARITIES = ("pearson", "cosine")
EMBEDDING_MEASURES = ("image_retrieval", "brain_retrieval")

DEFAULT = "brainrecon-1"


@dataclass(frozen=True)
class TestSet:
    """The stimuli that published scores of a protocol were computed on.

    Attributes
    ----------
    dataset : str
        Kind of the data, for example "nsd".
    n_stimuli : int
        How many; scores on another number carry a note and stand beside no published value.
    description : str
    """

    dataset: str
    n_stimuli: int
    description: str = ""


@dataclass(frozen=True)
class NetworkSpec:
    """A network that looks at pictures.

    Attributes
    ----------
    name : str
        How the protocol's metrics call it.
    kind : str
        A key of `brainrecon.evaluation.networks.KINDS`.
    checkpoint : str
        A name in the manifest of checkpoints.
    layer : str
        Where the features are read: one of the layers of that kind.
    label : str
        How a reader calls it.
    preparation : Preparation
        What is done to pictures after the protocol's own resize and before the network.
    """

    name: str
    kind: str
    checkpoint: str
    layer: str
    label: str
    preparation: Preparation


@dataclass(frozen=True)
class MetricSpec:
    """One column of the table.

    Attributes
    ----------
    name : str
        Key in every file of scores.
    measure : str
        A key of `brainrecon.evaluation.metrics.METRICS`.
    features : str
        "pixels" or the name of a network.
    label, description : str
        For the reader.
    similarity : {"pearson", "cosine"}
        For identification.
    within : {"all", "category"}
        For identification: whether every other stimulus competes, or only those that share a category with the
        stimulus, as the dataset says.
    n_way, top_k : int or None
        For n-way identification: how many candidates, and among how many best the own one has to be.
    threshold : float or None
        For binary patterns: grey values above it are on.
    head : str or None
        For agreement of labels: which of the network's classifications is compared.
    refine : dict
        For agreement of labels: where `head` names the key for the shown picture, the classification that the
        value names has to agree as well.
    resize : Resize or None
        For metrics on pixels: to what size pictures are brought after the protocol's own resize.
    """

    name: str
    measure: str
    features: str
    label: str
    description: str
    similarity: str = "pearson"
    within: str = "all"
    n_way: int | None = None
    top_k: int | None = None
    threshold: float | None = None
    head: str | None = None
    refine: dict = field(default_factory=dict)
    resize: Resize | None = None

    @property
    def metric(self) -> Metric:
        """Direction, bounds, chance level and function."""
        return METRICS[self.measure]

    @property
    def options(self):
        """What the metric's function takes beside the two arrays, dict."""
        given = {"n_way": self.n_way, "top_k": self.top_k, "threshold": self.threshold}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class EmbeddingSpec:
    """A score of predicted embeddings themselves, before any picture is drawn.

    Attributes
    ----------
    name : str
        Key in every file of scores.
    measure : {"image_retrieval", "brain_retrieval"}
        From a prediction to the shown picture's own value among others, or from the value to its prediction.
    target : str
        Name of the target, for example "clip_image"; left out for methods that predict no such target.
    similarity : {"pearson", "cosine"}
    n_way, top_k : int
        Own one among the `top_k` best of `n_way` candidates (2 and 1: two-way identification).
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


class Protocol:
    """A named way to score.

    Parameters
    ----------
    content : dict
        What the TOML file holds: `name`, `description`, `source`, `headline`, `low_level`, `test_set`, `resize`,
        `networks`, `metrics`, `embeddings`.

    Attributes
    ----------
    name, description : str
    headline, low_level : str
        The metrics that a report's first sentence is about.
    source : str
        Where the protocol was published.
    test_set : TestSet or None
    resize : Resize or None
        What is done to pictures before anything else; None where they are taken at their own size.
    networks : dict of str to NetworkSpec
    metrics : dict of str to MetricSpec
        In the order of the table.
    embeddings : dict of str to EmbeddingSpec
    content : dict
        As given.

    Raises
    ------
    InputError
        If something is missing, unknown, or names what does not exist.
    """

    def __init__(self, content):
        self.content = content
        try:
            _check_keys(content)
            self.name = content["name"]
            self.description = content.get("description", "")
            self.source = content.get("source", "")
            self.test_set = TestSet(**content["test_set"]) if "test_set" in content else None
            self.resize = _resize(content)
            self.networks = {name: _network_spec(name, spec) for name, spec in content.get("networks", {}).items()}
            self.metrics = {spec["name"]: _metric_spec(spec) for spec in content["metrics"]}
            self.embeddings = {spec["name"]: _embedding_spec(spec) for spec in content.get("embeddings", [])}
            self.headline = content.get("headline", next(iter(self.metrics), None))
            self.low_level = content.get("low_level", self.headline)
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"A protocol lacks or misnames a key ({error}); expected name, networks and metrics "
                f"as in {DEFAULT}. Compare with that file."
            ) from error
        self._check()

    @property
    def sha256(self):
        """Hex digest of everything that changes a score, 64 characters."""
        canonical = json.dumps(_without_prose(self.content), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def __eq__(self, other):
        return isinstance(other, Protocol) and self.content == other.content

    def __hash__(self):
        return hash(self.sha256)

    def __str__(self):
        return self.name

    def __repr__(self):
        return f"Protocol({self.name!r}, sha256={self.sha256[:12]}, metrics={list(self.metrics)})"

    def _check(self):
        if not isinstance(self.name, str) or not self.name.strip() or set(self.name) & set("/\\"):
            raise InputError(
                f"A protocol is named {self.name!r}; expected a text without slashes, for it names the files of "
                f"scores. Give it a name like {DEFAULT}."
            )
        names = [spec["name"] for spec in (*self.content["metrics"], *self.content.get("embeddings", ()))]
        if not names or len(set(names)) < len(names):
            raise InputError(
                f"Protocol {self.name} names the metrics {names}; expected at least one, each name once. Rename them."
            )
        for spec in self.metrics.values():
            if spec.measure not in METRICS:
                _refuse(self.name, "measure", spec.measure, METRICS)
            sources = self.networks if spec.metric.takes == "labels" else ("pixels", *self.networks)
            if spec.features not in sources:
                _refuse(self.name, "features", spec.features, sources)
            if spec.metric.takes == "pixels" and spec.features != "pixels":
                _refuse(self.name, "features", spec.features, ["pixels"])
            if spec.features == "pixels" and self.resize is None and spec.resize is None and spec.metric.takes != "captions":
                raise InputError(
                    f"Metric {spec.name} of protocol {self.name} compares pixels but neither has a resize; expected one, "
                    "for shown and drawn pictures may differ in size. Add resize to the metric."
                )
            if spec.metric.takes == "labels" and not spec.head:
                raise InputError(
                    f"Metric {spec.name} of protocol {self.name} compares labels but names no head; "
                    "expected head, for example head = 'category'. Add it."
                )
        for role in (self.headline, self.low_level):
            if role not in self.metrics:
                _refuse(self.name, "headline or low_level", role, self.metrics)


def available():
    """Names of the protocols that come with the toolkit, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_protocol(name=DEFAULT):
    """Read a protocol.

    Parameters
    ----------
    name : str or Protocol
        A name from `available()`, the path of a TOML file, or a protocol, which is returned.

    Returns
    -------
    protocol : Protocol

    Raises
    ------
    InputError
        If there is no such protocol, or its file does not describe one.
    """
    if isinstance(name, Protocol):
        return name
    path = Path(name) if str(name).endswith(".toml") else _FOLDER / f"{name}.toml"
    if not path.is_file() or (path.parent == _FOLDER and path.stem not in available()):
        raise InputError(
            f"There is no protocol {str(name)!r}; the toolkit has {', '.join(available())}. "
            "Give one of these names, or the path of a .toml file."
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML ({error}); expected a protocol like {DEFAULT}. Mend the file.") from error
    return Protocol(content)


def _check_keys(content):
    tables = [("the protocol", content, _KEYS)]
    tables += [(f"network {name!r}", spec, _NETWORK_KEYS) for name, spec in content.get("networks", {}).items()]
    tables += [(f"metric {spec.get('name')!r}", spec, _METRIC_KEYS) for spec in content["metrics"]]
    tables += [(f"embedding {spec.get('name')!r}", spec, _EMBEDDING_KEYS) for spec in content.get("embeddings", [])]
    for where, table, allowed in tables:
        if not isinstance(table, dict):
            raise TypeError(f"{where} is no table")
        for key in table:
            if key not in allowed:
                _refuse(where, "key", key, allowed)


def _resize(table):
    return Resize(**table["resize"]) if "resize" in table else None


def _network_spec(name, spec):
    mean, std = (tuple(map(float, spec[key])) if key in spec else None for key in ("mean", "std"))
    preparation = Preparation(_resize(spec), spec.get("crop"), mean, std)
    return NetworkSpec(name, spec["kind"], spec["checkpoint"], spec["layer"], spec.get("label", name), preparation)


def _metric_spec(spec):
    _one_of(spec, "similarity", _SIMILARITIES)
    _one_of(spec, "within", _COMPETITORS)
    given = {key: spec[key] for key in _METRIC_KEYS if key in spec and key != "resize"}
    defaults = {"features": "pixels", "label": spec["name"], "description": ""}
    return MetricSpec(**(defaults | given), resize=_resize(spec))


def _embedding_spec(spec):
    _one_of(spec, "similarity", _SIMILARITIES)
    if spec["measure"] not in EMBEDDING_MEASURES:
        _refuse(spec["name"], "measure", spec["measure"], EMBEDDING_MEASURES)
    return EmbeddingSpec(**({"label": spec["name"]} | spec))


def _one_of(spec, key, allowed):
    if spec.get(key, allowed[0]) not in allowed:
        _refuse(spec["name"], key, spec[key], allowed)


def _without_prose(value):
    if isinstance(value, dict):
        return {key: _without_prose(inner) for key, inner in value.items() if key not in _PROSE}
    if isinstance(value, list):
        return [_without_prose(inner) for inner in value]
    return value


def _refuse(where, key, given, allowed):
    options = ", ".join(repr(option) for option in allowed)
    raise InputError(f"Invalid {key} in {where}: {given!r}; expected one of {options}. Change it there.")
