"""The tables of a protocol: its test set, networks, metrics, and scores of embeddings."""

from dataclasses import dataclass, field

from brainrecon.evaluation.metrics.metric import METRICS, Metric
from brainrecon.evaluation.views.prepared_pictures import Preparation, Resize
from stages.ground.errors import InputError

# What the tables may hold. A key that nobody reads would promise what no score keeps.
NETWORK_KEYS = ("kind", "checkpoint", "layer", "label", "resize", "crop", "mean", "std")
METRIC_KEYS = (
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
EMBEDDING_KEYS = ("name", "measure", "target", "similarity", "n_way", "top_k", "label", "description")

# What is passed on to a metric's function.
_OPTIONS = {"n_way", "top_k", "threshold"}

_COMPETITORS = ("all", "category")
_SIMILARITIES = ("pearson", "cosine")
EMBEDDING_MEASURES = ("image_retrieval", "brain_retrieval")


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
        A key of `brainrecon.evaluation.metrics.metric.METRICS`.
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
        return {name: value for name in sorted(_OPTIONS) if (value := getattr(self, name)) is not None}


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
    if spec["measure"] not in METRICS:
        refuse(spec["name"], "measure", spec["measure"], METRICS)
    taken = METRICS[spec["measure"]].options
    for key in sorted(_OPTIONS & spec.keys() - taken):
        raise InputError(
            f"Metric {spec['name']} gives {key} but {spec['measure']} takes {', '.join(taken) or 'none'} of "
            f"{', '.join(sorted(_OPTIONS))}; leave {key} out there."
        )
    metric = METRICS[spec["measure"]]
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
    for key in ("n_way", "top_k"):
        if not isinstance(spec.get(key, 2), int):
            refuse(spec["name"], key, spec[key], ["a whole number"])
    if metric.correlates:
        metric.chance_level(**{key: spec[key] for key in taken if key in spec})
    if not isinstance(spec.get("threshold", 0.5), (int, float)):
        refuse(spec["name"], "threshold", spec["threshold"], ["a number"])
    _one_of(spec, "similarity", _SIMILARITIES)
    _one_of(spec, "within", _COMPETITORS)
    given = {key: spec[key] for key in METRIC_KEYS if key in spec and key != "resize"}
    defaults = {"features": "pixels", "label": spec["name"], "description": ""}
    return MetricSpec(**(defaults | given), resize=resize_of(spec))


def embedding_spec(spec):
    """A score of embeddings from its table."""
    _one_of(spec, "similarity", _SIMILARITIES)
    if spec["measure"] not in EMBEDDING_MEASURES:
        refuse(spec["name"], "measure", spec["measure"], EMBEDDING_MEASURES)
    return EmbeddingSpec(**({"label": spec["name"]} | spec))


def _one_of(spec, key, allowed):
    if spec.get(key, allowed[0]) not in allowed:
        refuse(spec["name"], key, spec[key], allowed)


def refuse(where, key, given, allowed):
    """Say that a value is none of those allowed."""
    options = ", ".join(repr(option) for option in allowed)
    raise InputError(f"Invalid {key} in {where}: {given!r}; expected one of {options}. Change it there.")
