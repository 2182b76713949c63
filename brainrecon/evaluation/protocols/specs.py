"""The tables of a protocol that are about pictures: its test set, networks and metrics."""

from dataclasses import dataclass, field
from functools import cached_property

from brainrecon.evaluation.metrics.metric import OPTIONS, Metric, find_metric
from brainrecon.evaluation.metrics.picture_similarity import OTHERS
from brainrecon.evaluation.views.resize_and_crop import Preparation, Resize
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

# What the tables may hold. Unknown keys are refused: a protocol must not contain a setting that no metric uses.
NETWORK_KEYS = ("kind", "checkpoint", "layer", "label", "resize", "crop", "mean", "std")
METRIC_KEYS = (
    "name",
    "measure",
    "features",
    "similarity",
    "within",
    "n_way",
    "top_k",
    "n_trials",
    "threshold",
    "head",
    "refine",
    "resize",
    "label",
    "description",
)

_COMPETITORS = ("all", "category")
SIMILARITIES = ("pearson", "cosine")
OF_PICTURES = (*SIMILARITIES, *OTHERS)


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
        A key of `brainrecon.evaluation.views.networks.KINDS`.
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
        A name that `brainrecon.evaluation.metrics.metric.find_metric` knows.
    features : str
        "pixels" or the name of a network.
    label, description : str
        For the reader.
    similarity : {"pearson", "cosine", "mean_squared_error", "structural_similarity"}
        For identification, see `brainrecon.evaluation.metrics.picture_similarity.similarity_matrix`.
    within : {"all", "category"}
        For identification: whether every other stimulus competes, or only those that share a category with the
        stimulus, as the dataset says.
    n_way, top_k : int or None
        For n-way identification: how many candidates, and among how many best the own one has to be.
    n_trials : int or None
        For n-way identification by classes that are drawn: how often they are.
    threshold : float or None
        For binary patterns: grey values above it are on.
    head : str or None
        For agreement of labels: which of the network's classifications is compared.
    refine : dict
        For agreement of labels: if `head` names the key for the shown picture, the classification that the
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
    n_trials: int | None = None
    threshold: float | None = None
    head: str | None = None
    refine: dict = field(default_factory=dict)
    resize: Resize | None = None

    @cached_property
    def metric(self) -> Metric:
        """Direction, bounds, chance level and function. Looked up once: another package's takes milliseconds to find."""
        return find_metric(self.measure)

    @property
    def options(self):
        """What the metric's function takes beside the two arrays, dict."""
        return {name: value for name in OPTIONS if (value := getattr(self, name, None)) is not None}


def resize_of(table):
    """The resize that a table asks for, or None."""
    return Resize(**table["resize"]) if "resize" in table else None


def network_spec(name, spec):
    """A network from its table."""
    mean, std = (tuple(map(float, spec[key])) if key in spec else None for key in ("mean", "std"))
    preparation = Preparation(resize_of(spec), spec.get("crop"), mean, std)
    return NetworkSpec(name, spec["kind"], spec["checkpoint"], spec["layer"], spec.get("label", name), preparation)


def metric_spec(spec):
    """A metric from its table."""
    metric = find_metric(spec["measure"])
    if metric.takes == "captions":
        raise InputError(
            f"Metric {spec['name']} of pictures has the measure {spec['measure']!r}, which compares captions; expected one of "
            f"pictures. Write it under [captions.{spec['name']}]."
        )
    taken = metric.options
    for key in sorted(set(OPTIONS) & spec.keys() - set(taken)):
        raise InputError(
            f"Metric {spec['name']} gives {key} but {spec['measure']} takes {', '.join(taken) or 'none'} of "
            f"{', '.join(OPTIONS)}; leave {key} out there."
        )
    read = {
        "similarity": metric.correlates,
        "within": metric.correlates,
        "head": metric.takes == "labels",
        "refine": metric.takes == "labels",
        "resize": spec.get("features", "pixels") == "pixels",
    }
    # Where Pearson correlation is what the measure means, it may be said.
    said = {"similarity"} if spec.get("similarity") == "pearson" else set()
    for key in sorted(key for key, is_read in read.items() if key in spec and not is_read and key not in said):
        raise InputError(
            f"Metric {spec['name']} gives {key}, which {spec['measure']} does not read; leave {key} out there."
        )
    for key in ("n_way", "top_k", "n_trials"):
        if not isinstance(spec.get(key, 2), int):
            refuse(spec["name"], key, spec[key], ["a whole number"])
    if metric.correlates or metric.chance_from:
        metric.chance_level(**{key: spec[key] for key in taken if key in spec})
    if not isinstance(spec.get("threshold", 0.5), (int, float)):
        refuse(spec["name"], "threshold", spec["threshold"], ["a number"])
    one_of(spec["name"], spec, "similarity", OF_PICTURES)
    if spec.get("similarity") == "structural_similarity" and spec.get("features", "pixels") != "pixels":
        refuse(
            spec["name"], "similarity", spec["similarity"], [one for one in OF_PICTURES if one != spec["similarity"]]
        )
    one_of(spec["name"], spec, "within", _COMPETITORS)
    given = {key: spec[key] for key in METRIC_KEYS if key in spec and key != "resize"}
    defaults = {"features": "pixels", "label": spec["name"], "description": ""}
    return MetricSpec(**(defaults | given), resize=resize_of(spec))


def one_of(where, table, key, allowed):
    """Refuse a value of a table that is none of those allowed; the first of them stands for a key that is absent."""
    if table.get(key, allowed[0]) not in allowed:
        refuse(where, key, table[key], allowed)


def refuse(where, key, given, allowed):
    """Say that a value is none of those allowed."""
    options = ", ".join(repr(option) for option in allowed) + did_you_mean(given, allowed)
    raise InputError(f"Invalid {key} in {where}: {given!r}; expected one of {options}. Change it there.")
