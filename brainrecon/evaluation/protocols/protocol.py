"""Protocols: named ways to score, held as data.

A protocol is a TOML file in `protocols/`. It says on which test set, to what size pictures are brought and how, which
networks look at them after which preprocessing, and which metrics are computed from what; which predicted embeddings are
looked for in which pools; how categories are identified; and how predicted captions are compared. Its sha256 identifies it. It
does not cover the weights of those networks: two scores are comparable when `Scores.identity` is equal, which does.

A file may say ``based_on = "NAME"``: it then holds the tables of that protocol and its own. A metric, network, retrieval,
identification of categories or score of captions of the same name replaces the other's; an empty list (``embeddings = []``)
takes the other's away.
"""

import hashlib
import json
from pathlib import Path

from brainrecon.evaluation.protocols.specs import (
    METRIC_KEYS,
    NETWORK_KEYS,
    TestSet,
    metric_spec,
    network_spec,
    refuse,
    resize_of,
)
from brainrecon.evaluation.protocols.task_specs import (
    CAPTION_KEYS,
    CATEGORY_KEYS,
    EMBEDDING_KEYS,
    RETRIEVAL_KEYS,
    caption_spec,
    category_spec,
    embedding_spec,
    retrieval_spec,
)
from brainrecon.evaluation.views.networks import check_network
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_toml
from weights.names import trouble_with_part
from weights.suggestions import did_you_mean

_FOLDER = Path(__file__).parent

# Text for the reader. Rewording it changes no score, so it is no part of the digest.
_PROSE = ("label", "description", "source", "based_on")

_KEYS = (
    "name",
    "description",
    "source",
    "based_on",
    "headline",
    "low_level",
    "test_set",
    "resize",
    "networks",
    "metrics",
    "embeddings",
    "retrieval",
    "categories",
    "captions",
)
_NAMED_TABLES = ("networks", "retrieval", "categories", "captions")
DEFAULT = "brainrecon-1"


class Protocol:
    """A named way to score.

    >>> protocol = Protocol(
    ...     {
    ...         "name": "pixels-1",
    ...         "description": "Pixels of pictures of 16 x 16.",
    ...         "resize": {"size": 16, "interpolation": "bilinear", "antialias": True},
    ...         "headline": "pixcorr",
    ...         "low_level": "pixcorr",
    ...         "metrics": [
    ...             {
    ...                 "name": "pixcorr",
    ...                 "measure": "pixel_correlation",
    ...                 "label": "PixCorr",
    ...                 "description": "Pearson correlation of the pixels.",
    ...             }
    ...         ],
    ...     }
    ... )
    >>> list(protocol.metrics)
    ['pixcorr']

    Parameters
    ----------
    content : dict
        What the TOML file holds: `name`, `description`, `source`, `based_on`, `headline`, `low_level`, `test_set`, `resize`,
        `networks`, `metrics`, `embeddings`, `retrieval`, `categories`, `captions`.

    Attributes
    ----------
    name, description : str
    headline, low_level : str
        The metrics that a report's first sentence is about.
    source : str
        Where the protocol was published.
    based_on : str
        Name of the protocol whose tables this one holds too; empty if there is none. Its tables are in `content`.
    test_set : TestSet or None
    resize : Resize or None
        What is done to pictures before anything else; None if they are taken at their own size.
    networks : dict of str to NetworkSpec
    metrics : dict of str to MetricSpec
        Of pictures, in the order of the table.
    embeddings : dict of str to EmbeddingSpec
    retrieval : dict of str to RetrievalSpec
    categories : dict of str to CategorySpec
    captions : dict of str to CaptionSpec
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
            self.based_on = content.get("based_on", "")
            self.test_set = TestSet(**content["test_set"]) if "test_set" in content else None
            self.resize = resize_of(content)
            self.networks = {name: network_spec(name, spec) for name, spec in content.get("networks", {}).items()}
            self.metrics = {spec["name"]: metric_spec(spec) for spec in content.get("metrics", [])}
            self.embeddings = {spec["name"]: embedding_spec(spec) for spec in content.get("embeddings", [])}
            self.retrieval = {name: retrieval_spec(name, table) for name, table in content.get("retrieval", {}).items()}
            self.categories = {
                name: category_spec(name, table) for name, table in content.get("categories", {}).items()
            }
            self.captions = {name: caption_spec(name, table) for name, table in content.get("captions", {}).items()}
            self.headline = content.get("headline", next(iter(self.columns), None))
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
    def columns(self):
        """What every stimulus of a condition is scored in: metrics of pictures, then of captions, dict of str to spec."""
        return self.metrics | self.captions

    @property
    def captions_of(self):
        """Which text of a system is scored as its captions, see `CaptionSpec`; None if none is."""
        return next((spec.of for spec in self.captions.values()), None)

    @property
    def targets(self):
        """Names of the targets whose predicted embeddings are scored or searched, set of str."""
        return {spec.target for spec in (*self.embeddings.values(), *self.retrieval.values())}

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
        return f"Protocol({self.name!r}, sha256={self.sha256[:12]}, metrics={list(self.columns)})"

    def _check(self):
        trouble = "it begins with a dot" if str(self.name)[:1] == "." else trouble_with_part(self.name)
        if trouble:
            shown = self.name[:80] if isinstance(self.name, str) else self.name
            raise InputError(
                f"A protocol is named {shown!r}; expected a text without slashes, for it names the files of scores, but "
                f"{trouble}. Give it a name like {DEFAULT}."
            )
        names = [spec["name"] for key in ("metrics", "embeddings") for spec in self.content.get(key, ())]
        names += [*self.retrieval, *self.categories, *self.captions]
        if not self.columns or len(set(names)) < len(names):
            raise InputError(
                f"Protocol {self.name} names the metrics {names}; expected at least one of pictures or captions, each name "
                "once. Add one, or rename them."
            )
        if len(texts := {spec.of for spec in self.captions.values()}) > 1:
            raise InputError(
                f"Protocol {self.name} scores captions of {' and of '.join(sorted(texts))}; expected one text in all tables "
                "[captions.NAME]. Write another protocol for the other."
            )
        for name in (*self.networks, *self.retrieval, *self.categories, *self.captions):
            if name in _PROSE:
                raise InputError(
                    f"Protocol {self.name} calls a table {name!r}, a word that is kept for text; expected another name. "
                    "Rename the table."
                )
        for spec in self.metrics.values():
            sources = self.networks if spec.metric.takes in ("labels", "brain", "pair") else ("pixels", *self.networks)
            if spec.features not in sources:
                refuse(self.name, "features", spec.features, sources)
            if spec.metric.takes == "pixels" and spec.features != "pixels":
                refuse(self.name, "features", spec.features, ["pixels"])
            if spec.features == "pixels" and self.resize is None and spec.resize is None:
                raise InputError(
                    f"Metric {spec.name} of protocol {self.name} compares pixels but neither has a resize; expected one, "
                    "for shown and drawn pictures may differ in size. Add resize to the metric."
                )
            if spec.metric.takes == "labels" and not spec.head:
                raise InputError(
                    f"Metric {spec.name} of protocol {self.name} compares labels but names no head; "
                    "expected head, for example head = 'category'. Add it."
                )
        sizes = {
            spec.resize
            for spec in self.metrics.values()
            if (spec.metric.takes, spec.features) == ("features", "pixels")
        }
        if len(sizes) > 1:
            raise InputError(
                f"Protocol {self.name} identifies by pixels at {len(sizes)} sizes; expected one resize for all such metrics. "
                "Score the other size under a protocol of its own."
            )
        for spec in self.networks.values():
            check_network(spec)
        for role in (self.headline, self.low_level):
            if role not in self.columns:
                refuse(self.name, "headline or low_level", role, self.columns)


def available():
    """Names of the protocols that come with the toolkit, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_protocol(name=DEFAULT):
    """Read a protocol.

    >>> load_protocol("mindeye-2023").test_set.n_stimuli
    982

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
            f"There is no protocol {str(name)!r}; the toolkit has {', '.join(available())}"
            f"{did_you_mean(str(name), available())}. "
            "Give one of these names, or the path of a .toml file."
        )
    content = read_toml(path, f"mend the file; {DEFAULT} is an example of a protocol")
    if "based_on" in content:
        content = _on_the_base_of(load_protocol(_base(content, path)).content, content)
    try:
        protocol = Protocol(content)
    except InputError as error:
        told = str(error)
        raise InputError(told if str(path) in told else f"{path} cannot be used: {told}") from None
    if path.parent != _FOLDER and protocol.name in available() and protocol != load_protocol(protocol.name):
        raise InputError(
            f"{path} is called {protocol.name}, as a protocol that comes with the toolkit, and differs from it; scores under "
            "both would be taken for one another. Give it another name."
        )
    return protocol


def _base(content, path):
    """The name of the protocol that a file is based on: one of the toolkit's, so that the file says all by itself."""
    name = content["based_on"]
    if name not in available() or name == path.stem:
        refuse(str(path), "based_on", name, [one for one in available() if one != path.stem])
    return name


def _on_the_base_of(base, own):
    """The tables of a protocol with those of another put over them, name by name."""
    whole = dict(base)
    for key, value in own.items():
        if isinstance(value, dict) and key in _NAMED_TABLES:
            whole[key] = base.get(key, {}) | value
        elif isinstance(value, list) and value and key in base:
            replaced = {spec["name"]: spec for spec in value if isinstance(spec, dict) and "name" in spec}
            known = {spec["name"] for spec in base[key]}
            whole[key] = [replaced.get(spec["name"], spec) for spec in base[key]]
            whole[key] += [spec for spec in value if not isinstance(spec, dict) or spec.get("name") not in known]
        else:
            whole[key] = value
    return whole


def _check_keys(content):
    tables = [("the protocol", content, _KEYS)]
    tables += [(f"network {name!r}", spec, NETWORK_KEYS) for name, spec in content.get("networks", {}).items()]
    tables += [(f"metric {spec.get('name')!r}", spec, METRIC_KEYS) for spec in content.get("metrics", [])]
    tables += [(f"embedding {spec.get('name')!r}", spec, EMBEDDING_KEYS) for spec in content.get("embeddings", [])]
    tables += [(f"retrieval {name!r}", spec, RETRIEVAL_KEYS) for name, spec in content.get("retrieval", {}).items()]
    tables += [(f"categories {name!r}", spec, CATEGORY_KEYS) for name, spec in content.get("categories", {}).items()]
    tables += [(f"captions {name!r}", spec, CAPTION_KEYS) for name, spec in content.get("captions", {}).items()]
    for where, table, allowed in tables:
        if not isinstance(table, dict):
            raise TypeError(f"{where} is no table")
        for key in table:
            if key not in allowed:
                refuse(where, "key", key, allowed)


def _without_prose(value):
    if isinstance(value, dict):
        return {key: _without_prose(inner) for key, inner in value.items() if key not in _PROSE}
    if isinstance(value, list):
        return [_without_prose(inner) for inner in value]
    return value
