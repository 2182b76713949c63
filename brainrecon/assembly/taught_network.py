"""The step of a network of several subjects to image and text tokens, which teaches a new subject of whom there is little.

After the abstracts of MindShot (Jiang et al. 2024): learned from several first; then the frozen network's features for samples
of these subjects are held against a new one's, of the same class of picture, by their frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from brainrecon.assembly.class_teacher import CLASSES, CLUSTERS, ClassTeacher
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import ALL_LAYERS, OWN_LAYERS, ManySubjectsSettings
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

# As `stages.networks.mindshot` and `stages.objectives.spectral_distance` have them, which take seconds to import.
FEATURES, MIXED = "trunk_features", "mixed_{}"
READS, ADAPTERS, KERNELS = ("pooled", "own layer"), ("convolution", "film", "none"), ("delta", "haemodynamic")
COMPARES = ("amplitude", "phase", "values", "relations")

VERSIONS = {
    "v1": {"reads": "pooled", "adapter": "convolution", "new_subject": OWN_LAYERS},
    "v2": {"reads": "own layer", "adapter": "none", "new_subject": ALL_LAYERS},
}
"""What follows from the version of the abstract: few parameters before a frozen network; or a network that is trained on."""
AS_VERSION = "as the version"


@dataclass(frozen=True)
class TaughtNetworkSettings(ManySubjectsSettings):
    """How the network is made and trained; see `brainrecon.assembly.many_subjects` as well. Nearly all of it is guessed.

    Attributes
    ----------
    new_subject : {"all layers", "own layers", "as the version"}
        See `VERSIONS`, of this one and of the next ones.
    reads : {"pooled", "own layer", "as the version"}
        How voxels of any number become one length, see `stages.networks.mindshot.MindShotNetwork`.
    length, pooling
        Of the pooling.
    adapter : {"convolution", "film", "none", "as the version"}
        Of each subject.
    kernel_length, kernel
        Of the adapter, see `stages.adapters.response_adapter.ResponseAdapter`.
    hidden, n_blocks : int
        Of the trunk.
    temperature : float
        Of the contrast between responses and pictures, and between responses and captions.
    contrast_weight, error_weight : float
        Of that contrast, and of the squared difference at unit length, whose size is 2 (1 - cos) / n_values.
    """

    epochs: int = 100
    batch_size_each: int = 32
    validation: float = 0.1
    new_subject: str = AS_VERSION
    reads: str = AS_VERSION
    length: int = 8192
    pooling: str = "max"
    adapter: str = AS_VERSION
    kernel_length: int = 7
    kernel: str = "delta"
    hidden: int = 2048
    n_blocks: int = 4
    temperature: float = 0.005
    contrast_weight: float = 1.0
    error_weight: float = 10_000.0

    published_steps: ClassVar[int] = 249
    """Of an epoch: nine tenths of the 8,859 stimuli of a subject of NSD, in batches of 32."""
    trained_of_new: ClassVar[tuple[str, ...]] = (ALL_LAYERS, OWN_LAYERS, AS_VERSION)

    def __post_init__(self) -> None:
        super().__post_init__()
        rules = dict.fromkeys(("length", "hidden", "n_blocks"), Number(1, whole=True))
        rules |= {
            "reads": OneOf(*READS, AS_VERSION),
            "pooling": OneOf("max", "mean"),
            "adapter": OneOf(*ADAPTERS, AS_VERSION),
            "kernel": OneOf(*KERNELS),
            "kernel_length": Number(1, whole=True, example=7),
            "temperature": Number(0, above=True, example=0.005),
            "contrast_weight": Number(0),
            "error_weight": Number(0),
        }
        check_all(self, rules)
        self._check_together()

    def _check_together(self) -> None:
        if self.kernel_length % 2 == 0:
            raise InputError(
                f"kernel_length is {self.kernel_length}, so that the kernel has no middle; expected an odd number: pass --set "
                f"decoder.kernel_length={self.kernel_length + 1}."
            )
        if self.reads == "pooled" and self.adapter == "none":
            raise InputError(
                "reads is 'pooled' and adapter 'none', so that nothing is a subject's own; pass --set "
                "decoder.adapter=convolution, or --set decoder.reads='own layer'."
            )
        if not (self.contrast_weight or self.error_weight):
            raise InputError(
                "contrast_weight and error_weight are both 0, so that nothing is learned; pass --set decoder.contrast_weight=1."
            )

    def as_version(self, version: str) -> TaughtNetworkSettings:
        """These settings, in which what is as the version is what that has.

        >>> settings = TaughtNetworkSettings(adapter="film").as_version("v1")
        >>> settings.reads, settings.adapter, settings.new_subject
        ('pooled', 'film', 'own layers')
        """
        own = {name: value for name, value in VERSIONS[version].items() if getattr(self, name) == AS_VERSION}
        return replace(self, **own) if own else self

    @property
    def sizes(self) -> dict:
        """Arguments of the network."""
        names = ("reads", "length", "pooling", "adapter", "kernel_length", "kernel", "hidden", "n_blocks")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class DistillationSettings:
    """What a new subject is taught; nothing of it concerns a training without subjects before. All of it is guessed.

    Attributes
    ----------
    compares : {"amplitude", "phase", "values", "relations"}
        What of the teacher's features is held against the new subject's: of their frequencies the amplitudes or the phases, or
        the features themselves (`stages.objectives.spectral_distance`); or how far the samples of a batch lie apart
        (`stages.objectives.relations`).
    weight : float
        0 leaves that out.
    low_pass : float
        Share of the frequencies that counts, the lowest; for distance and for mixing.
    mixed_weight : float
        Of all losses of tokens, for features that have the teacher's amplitudes in part; 0 leaves them out.
    largest_share : float
        Of the teacher's amplitudes: each sample draws its share in each step, from 0 to the largest.
    distance_weight, angle_weight : float
        Of "relations".
    classes : {"clusters", "categories"}
        See `brainrecon.assembly.class_teacher.ClassTeacher`.
    n_clusters : int
        Of "clusters".
    seed : int
        Of the clusters, and of which sample teaches.
    """

    compares: str = "amplitude"
    weight: float = 0.1
    low_pass: float = 1.0
    mixed_weight: float = 1.0
    largest_share: float = 0.5
    distance_weight: float = 1.0
    angle_weight: float = 2.0
    classes: str = CLUSTERS
    n_clusters: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        rules = dict.fromkeys(("weight", "mixed_weight", "distance_weight", "angle_weight"), Number(0))
        rules |= {
            "compares": OneOf(*COMPARES),
            "low_pass": Number(0, 1, above=True, example=1.0),
            "largest_share": Number(0, 1, above=True, example=0.5),
            "classes": OneOf(*CLASSES),
            "n_clusters": Number(1, whole=True, example=40),
            "seed": Number(0, whole=True),
        }
        check_all(self, rules, where="distillation")

    @property
    def teaches(self) -> bool:
        """Whether a teacher is asked for."""
        return bool(self.weight or self.mixed_weight)


def taught_network(
    targets: Mapping[str, TargetSource],
    settings: TaughtNetworkSettings,
    distillation: DistillationSettings,
    machine: Machine,
    part: str = "network",
    tables: tuple[str, str] = ("decoder", "distillation"),
) -> Learn:
    """Step from patterns of one or several subjects to tokens.

    Parameters
    ----------
    targets : mapping of str to TargetSource
        By value; the first are tokens of pictures, the first token of each the vector by which pictures are clustered.
    settings : TaughtNetworkSettings
    distillation : DistillationSettings
    machine : Machine
    part : str
        Folder of what it learns.
    tables : tuple of two str
        Of the system's settings, that `settings` and `distillation` are.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.mindshot import MindShotNetwork
    from stages.objectives.another_output import OfAnotherOutput
    from stages.objectives.regression import UnitSquaredError
    from stages.objectives.retrieval import SoftContrast

    def of_tokens(name):
        if settings.contrast_weight:
            yield SoftContrast(name, settings.temperature, settings.contrast_weight)
        if settings.error_weight:
            yield UnitSquaredError(name, settings.error_weight)

    objectives = [one for name in targets for one in of_tokens(name)]
    mixed = [
        OfAnotherOutput(one, MIXED.format(name), (FEATURES,), distillation.mixed_weight)
        for name in (targets if distillation.mixed_weight else ())
        for one in of_tokens(name)
    ]
    held = [_teaching(distillation)] if distillation.weight else []
    mixing = {"largest_share": distillation.largest_share if distillation.mixed_weight else 0.0}
    decoder = TrainedDecoder(
        MindShotNetwork,
        settings.recipe(),
        [*objectives, *mixed, *held],
        settings.sizes | mixing | {"low_pass": distillation.low_pass},
        machine.device,
        new_subject=settings.training_of_new,
    )
    image, source = next(iter(targets.items()))
    teacher = ClassTeacher(
        (settings.hidden,),
        image,
        lambda: source.outline.shape[-1],
        distillation.classes,
        distillation.n_clusters,
        distillation.seed,
        machine.device,
        tables[1],
    )
    derived = {FEATURES: teacher} if distillation.teaches else {}
    return Learn(targets, decoder, machine.device, settings.trials, part, settings=tables[0], derived=derived)


def _teaching(distillation):
    """The objective that holds features to a teacher's."""
    from stages.objectives.relations import RelationalDistance
    from stages.objectives.spectral_distance import SpectralDistance

    if distillation.compares == "relations":
        weights = distillation.distance_weight, distillation.angle_weight
        return RelationalDistance(FEATURES, *weights, weight=distillation.weight)
    return SpectralDistance(FEATURES, distillation.compares, distillation.low_pass, distillation.weight)
