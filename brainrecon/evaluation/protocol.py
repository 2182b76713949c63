"""Protocols: named ways to score, held as data.

A protocol is a TOML file in `protocols/`. It says to what size pictures are brought and how, which networks
look at them, and which metrics are computed from what. Its sha256 identifies it. It does not
cover the weights of those networks: two scores are comparable when `Scores.identity` is equal, which does.
"""

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from brainrecon.evaluation.metrics import METRICS, Metric
from stages.errors import InputError

_FOLDER = Path(__file__).parent / "protocols"

# Text for the reader. Rewording it changes no score, so it is no part of the digest.
_PROSE = ("label", "description")

# What the tables of a protocol may hold. A key that nobody reads would promise what no score keeps.
_KEYS = ("name", "description", "headline", "low_level", "resize", "networks", "metrics")
_NETWORK_KEYS = ("kind", "checkpoint", "layer", "label")
_METRIC_KEYS = ("name", "measure", "features", "similarity", "within", "head", "refine", "label", "description")

_COMPETITORS = ("all", "category")
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")

DEFAULT = "embedded-1"


@dataclass(frozen=True)
class Resize:
    """To what square pictures are brought before anything looks at them.

    Attributes
    ----------
    size : int
        Pixels on each side.
    interpolation : {"nearest", "bilinear", "bicubic"}
    antialias : bool
        Whether shrinking widens the interpolation kernel, as Pillow does and older torchvision did not.
    """

    size: int
    interpolation: str
    antialias: bool


@dataclass(frozen=True)
class NetworkSpec:
    """A network that looks at pictures.

    Attributes
    ----------
    name : str
        How the protocol's metrics call it.
    kind : str
        A key of `brainrecon.evaluation.extractors.KINDS`.
    checkpoint : str
        A name in the manifest of checkpoints.
    layer : str
        Where the features are read: one of the layers of that kind.
    label : str
        How a reader calls it.
    """

    name: str
    kind: str
    checkpoint: str
    layer: str
    label: str


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
    within : {"all", "category"}
        For identification: whether every other stimulus competes, or only those that share a category with the
        stimulus, as the dataset says.
    head : str or None
        For agreement of labels: which of the network's classifications is compared.
    refine : dict
        For agreement of labels: where `head` names the key for the shown picture, the classification that the
        value names has to agree as well.
    """

    name: str
    measure: str
    features: str
    label: str
    description: str
    within: str
    head: str | None
    refine: dict

    @property
    def metric(self) -> Metric:
        """Direction, bounds, chance level and function."""
        return METRICS[self.measure]


class Protocol:
    """A named way to score.

    Parameters
    ----------
    content : dict
        What the TOML file holds: `name`, `description`, `headline`, `low_level`, `resize`, `networks`,
        `metrics`.

    Attributes
    ----------
    name, description : str
    headline, low_level : str
        The metrics that a report's first sentence is about.
    resize : Resize
    networks : dict of str to NetworkSpec
    metrics : dict of str to MetricSpec
        In the order of the table.
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
            self.resize = Resize(**content["resize"])
            self.networks = {
                name: NetworkSpec(name, spec["kind"], spec["checkpoint"], spec["layer"], spec.get("label", name))
                for name, spec in content.get("networks", {}).items()
            }
            self.metrics = {spec["name"]: _metric_spec(spec) for spec in content["metrics"]}
            self.headline = content.get("headline", next(iter(self.metrics), None))
            self.low_level = content.get("low_level", self.headline)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"A protocol lacks or misnames a key ({error}); expected name, resize, networks and metrics "
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
        if self.resize.interpolation not in _INTERPOLATIONS:
            _refuse(self.name, "interpolation", self.resize.interpolation, _INTERPOLATIONS)
        names = [spec["name"] for spec in self.content["metrics"]]
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
    for where, table, allowed in tables:
        if not isinstance(table, dict):
            raise TypeError(f"{where} is no table")
        for key in table:
            if key not in allowed:
                _refuse(where, "key", key, allowed)


def _metric_spec(spec):
    similarity = spec.get("similarity", "pearson")
    if similarity != "pearson":
        _refuse(spec["name"], "similarity", similarity, ["pearson"])
    within = spec.get("within", _COMPETITORS[0])
    if within not in _COMPETITORS:
        _refuse(spec["name"], "within", within, _COMPETITORS)
    return MetricSpec(
        name=spec["name"],
        measure=spec["measure"],
        features=spec.get("features", "pixels"),
        label=spec.get("label", spec["name"]),
        description=spec.get("description", ""),
        within=within,
        head=spec.get("head"),
        refine=dict(spec.get("refine", {})),
    )


def _without_prose(value):
    if isinstance(value, dict):
        return {key: _without_prose(inner) for key, inner in value.items() if key not in _PROSE}
    if isinstance(value, list):
        return [_without_prose(inner) for inner in value]
    return value


def _refuse(where, key, given, allowed):
    options = ", ".join(repr(option) for option in allowed)
    raise InputError(f"Invalid {key} in {where}: {given!r}; expected one of {options}. Change it there.")
