"""The step of one transformer for several subjects, whose tokens are regions of the brain and whose experts are shared.

After Psychometry (Quan et al., CVPR 2024), of which a figure tells the parts and nothing tells the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar
from zlib import crc32

import numpy as np

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import OWN_LAYERS, ManySubjectsSettings
from brainrecon.assembly.region_latents import named_columns
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.adapters.disjoint_regions import REST
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

# As `stages.networks.subject_experts` and `stages.networks.psychometry` have them, which take seconds to import.
GATES, HEADS = ("matrix", "scale"), ("class token", "queries")
_SIZES = ("width", "depth", "n_heads", "n_experts", "expansion", "gate", "heads", "dropout")


@dataclass(frozen=True)
class RegionExpertsSettings(ManySubjectsSettings):
    """How the network is trained; see `brainrecon.assembly.many_subjects` as well.

    Attributes
    ----------
    new_subject : {"own layers", "all layers"}
        What is trained of a new subject: by default its regions' linear layers and its alpha alone.
    width, depth, n_heads, n_experts, expansion, gate, heads, dropout
        See `stages.networks.psychometry.PsychometryNetwork`.
    temperature : float
        Of soft labels.
    contrast_weight, squared_weight : float
        Of that contrast, and of the squared difference of rows of unit length; 0 leaves one out.
    text_weight : float
        Of both for the text, beside 1 for the picture.
    """

    epochs: int = 200
    batch_size: int = 64
    batch_size_each: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    new_subject: str = OWN_LAYERS
    width: int = 512
    depth: int = 8
    n_heads: int = 8
    n_experts: int = 8
    expansion: int = 2
    gate: str = "matrix"
    heads: str = "class token"
    dropout: float = 0.1
    temperature: float = 0.005
    contrast_weight: float = 1.0
    squared_weight: float = 10_000.0
    text_weight: float = 1.0

    # 8,859 stimuli of each subject.
    published_steps: ClassVar[int] = 138

    def __post_init__(self):
        super().__post_init__()
        rules = dict.fromkeys(("width", "depth", "n_heads", "n_experts", "expansion"), Number(1, whole=True, example=8))
        rules |= {
            "gate": OneOf(*GATES),
            "heads": OneOf(*HEADS),
            "dropout": Number(0, 1, below=True),
            "temperature": Number(0, above=True, example=0.005),
            "contrast_weight": Number(0),
            "squared_weight": Number(0),
            "text_weight": Number(0, above=True, example=1.0),
        }
        check_all(self, rules, where="decoder")
        if self.width % self.n_heads:
            raise InputError(
                f"decoder.width is {self.width}, no multiple of {self.n_heads} heads; pass --set decoder.width="
                f"{self.n_heads * max(round(self.width / self.n_heads), 1)}."
            )
        if not self.contrast_weight and not self.squared_weight:
            raise InputError(
                "decoder.contrast_weight and decoder.squared_weight are both 0, so that nothing is learned; pass --set "
                "decoder.contrast_weight=1."
            )

    @property
    def sizes(self):
        """Arguments of the network."""
        return {name: getattr(self, name) for name in _SIZES}

    def recipe(self, published_steps=None):
        from stages.training.recipe import Schedule

        return replace(super().recipe(published_steps), schedule=Schedule("cosine"))


class LeftOut:
    """Which stimuli are in one fold of several: by their names alone, so that all who saw one leave it out together.

    >>> folds = [LeftOut(fold, 2, seed=0)(["nsd00001", "nsd00002", "nsd00003"]).tolist() for fold in range(2)]
    >>> [one != other for one, other in zip(*folds)]
    [True, True, True]
    """

    def __init__(self, fold: int, n_folds: int, seed: int) -> None:
        self._fold, self._n_folds, self._seed = fold, n_folds, seed

    def __call__(self, stimulus_ids: Sequence) -> np.ndarray:
        """Of names (n,), bool array of shape (n,)."""
        drawn = [crc32(f"{self._seed} {name}".encode()) % self._n_folds for name in stimulus_ids]
        return np.asarray(drawn, dtype=int) == self._fold


def region_experts(
    targets: Mapping[str, TargetSource],
    regions: Sequence[str],
    settings: RegionExpertsSettings,
    machine: Machine,
    part: str,
    left_out: LeftOut | None = None,
) -> Learn:
    """Step from patterns of one or several subjects to embeddings of pictures, and of their texts.

    Parameters
    ----------
    targets : mapping of str to TargetSource
        By value: of pictures, then of texts, which may be left out.
    regions : sequence of str
        As `brainrecon.datasets.voxels` reads them, in the order in which voxels are given away; what is left is one more.
    settings : RegionExpertsSettings
    machine : Machine
    part : str
        Folder of what it learns.
    left_out : LeftOut, optional
        Of which stimuli nothing is learned: the chain gets nothing of the step, which predicts for these alone.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.psychometry import PsychometryNetwork
    from stages.objectives.regression import UnitSquaredError
    from stages.objectives.retrieval import SoftContrast

    objectives = []
    for name, weight in zip(targets, (1.0, settings.text_weight)):
        if settings.contrast_weight:
            objectives.append(SoftContrast(name, settings.temperature, weight * settings.contrast_weight))
        if settings.squared_weight:
            objectives.append(UnitSquaredError(name, weight * settings.squared_weight))
    decoder = TrainedDecoder(
        PsychometryNetwork,
        settings.recipe(),
        objectives,
        {"names": [*regions, REST], "n_regions": len(regions) + 1} | settings.sizes,
        machine.device,
        new_subject=settings.training_of_new,
    )
    return Learn(
        targets,
        decoder,
        machine.device,
        settings.trials,
        part,
        settings="decoder",
        arguments=lambda subjects: {
            "regions": {name: named_columns(subject, regions) for name, subject in subjects.items()}
        },
        kept_back=left_out is not None,
        left_out=left_out,
    )
