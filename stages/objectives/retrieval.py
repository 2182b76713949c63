"""What heads for retrieval are trained with: mixed samples, soft labels or both in turn (Scotti et al. 2023), or hard labels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stages.ground.checks import Number, OneOf, check
from stages.objectives.contrastive import (
    DIRECTIONS,
    draw_mixture,
    info_nce,
    mixed_nce,
    side_by_side,
    soft_clip,
)
from stages.objectives.mixed_epochs import MixedEpochs


class MixedThenSoft(MixedEpochs):
    """In a first part of the epochs patterns are mixed and told apart by their shares (BiMixCo); then labels are soft (SoftCLIP).

    >>> import torch
    >>> objective = MixedThenSoft("clip_retrieval", n_epochs=240, steps_per_epoch=276)
    >>> objective.n_mixed_epochs
    79
    >>> patterns, true = torch.rand(4, 9), torch.rand(4, 6)
    >>> mixed = objective.before(patterns, step=0)
    >>> loss, parts = objective({"clip_retrieval": mixed[:, :6]}, {"clip_retrieval": true}, step=0)
    >>> list(parts)
    ['clip_retrieval contrast']

    Parameters
    ----------
    name : str
        The value that is held to its target.
    n_epochs, steps_per_epoch : int
        Of the whole training; the temperature of soft labels changes from one epoch to the next.
    mixed_share : float
        Of the epochs. Published: 0.33, and so 79 of 240.
    temperature : float
        While samples are mixed.
    first, last : float
        Temperatures of the soft labels.
    weight : float
    own_partner : {"whole", "rest"}
        Label of a sample that the permutation mixes with itself; see `stages.objectives.contrastive.Mixture.labels`. The
        published code has "rest".
    partners_in : {"batch", "group"}
        Of several subjects, each of whose samples are mixed among themselves: where labels look for the partners; see
        `stages.objectives.contrastive.side_by_side`. The published code has "group".
    """

    compares = True

    def __init__(
        self,
        name,
        n_epochs,
        steps_per_epoch,
        mixed_share=0.33,
        temperature=0.006,
        first=0.004,
        last=0.0075,
        weight=1.0,
        own_partner="whole",
        partners_in="batch",
    ):
        check("n_epochs", n_epochs, Number(1, whole=True, example=240))
        check("steps_per_epoch", steps_per_epoch, Number(1, whole=True, example=276))
        check("mixed_share", mixed_share, Number(0, 1))
        check("partners_in", partners_in, OneOf("batch", "group"))
        self.reads, self.n_epochs, self.steps_per_epoch = (name,), n_epochs, steps_per_epoch
        self.mixed_share, self.temperature, self.first, self.last = mixed_share, temperature, first, last
        self.weight, self.own_partner, self.partners_in = weight, own_partner, partners_in
        # Drawn before the network reads, needed after.
        self._mixture = None

    def before(self, patterns: Tensor | Mapping[str, Tensor], step: int) -> Tensor | Mapping[str, Tensor]:
        """Mix the patterns, if the step does; those of several subjects each among themselves, in their order."""
        self._mixture = None
        if not self.is_mixed(step):
            return patterns
        if not isinstance(patterns, Mapping):
            self._mixture = draw_mixture(len(patterns))
            return self._mixture.mix(patterns)
        mixtures = {subject: draw_mixture(len(rows)) for subject, rows in patterns.items()}
        self._mixture = side_by_side(list(mixtures.values()), self.partners_in)
        return {subject: mixtures[subject].mix(rows) for subject, rows in patterns.items()}

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        if self._mixture is not None:
            loss = mixed_nce(outputs[name], targets[name], self._mixture, self.temperature, self.own_partner)
        else:
            loss = soft_clip(outputs[name], targets[name], self.soft_temperature(step))
        return self.weight * loss, {f"{name} contrast": loss.detach()}

    def __repr__(self):
        return f"MixedThenSoft({self.reads[0]!r}, {self.n_epochs}, {self.steps_per_epoch})"


class SoftContrast:
    """Soft labels from the first step to the last, at one temperature.

    >>> import torch
    >>> rows = torch.eye(3)
    >>> loss, parts = SoftContrast("clip_text", temperature=0.01)({"clip_text": rows}, {"clip_text": rows}, step=0)
    >>> loss.item() < 1e-6, list(parts)
    (True, ['clip_text contrast'])

    Parameters
    ----------
    name : str
        The value that is held to its target; what lies behind the first axis is one long row.
    temperature : float
        MindBridge (CVPR 2024): 0.005.
    weight : float
    parts : int
        Into so many parts samples are dealt by their places, each compared by itself, as processes do that do not exchange them.
        There are fewer parts if one would have no more than one sample.
    """

    compares = True

    def __init__(self, name, temperature=0.005, weight=1.0, parts=1):
        check("temperature", temperature, Number(0, above=True, example=0.005))
        check("parts", parts, Number(1, whole=True, example=1))
        self.reads, self.temperature, self.weight, self.parts = (name,), temperature, weight, parts

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        found, true = outputs[name], targets[name]
        parts = max(min(self.parts, len(found) // 2), 1)
        losses = [soft_clip(found[part::parts], true[part::parts], self.temperature) for part in range(parts)]
        loss = sum(losses) / parts
        return self.weight * loss, {f"{name} contrast": loss.detach()}

    def __repr__(self):
        return f"SoftContrast({self.reads[0]!r}, {self.temperature})"


class HardContrast(nn.Module):
    """Each prediction is to be nearer to its own true row than to those of the other samples, by InfoNCE.

    loss = − weight · mean_i log( exp(cos(p_i, t_i) / T) / Σ_j exp(cos(p_i, t_j) / T) )

    >>> rows = torch.eye(3)
    >>> loss, parts = HardContrast("ip_tokens", temperature=0.01)({"ip_tokens": rows}, {"ip_tokens": rows}, step=0)
    >>> loss.item() < 1e-6, list(parts)
    (True, ['ip_tokens contrast'])

    Parameters
    ----------
    name : str
        The value that is held to its target; what lies behind the first axis is one long row.
    temperature : float
        T.
    weight : float
    directions : {"prediction", "both"}
        Whether predictions look for their true rows alone, or these for their predictions, too.
    learned : bool
        Whether the temperature is trained; it then begins as it is given, and its logarithm is a parameter.
    centre : str, optional
        A value that objectives are held against: what is taken off both rows before cosines, such as the mean of all true ones.
        What all rows share makes cosines near 1 whoever is compared.
    """

    compares = True

    def __init__(self, name, temperature=0.07, weight=1.0, directions="prediction", learned=False, centre=None):
        super().__init__()
        check("temperature", temperature, Number(0, above=True, example=0.07))
        self.reads = (name,) if centre is None else (name, centre)
        self.temperature, self.weight, self.learned, self.centre = temperature, weight, learned, centre
        self.directions = check("directions", directions, OneOf(*DIRECTIONS))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature))) if learned else None

    def forward(self, outputs, targets, step):
        name = self.reads[0]
        predicted, true = outputs[name].float(), targets[name].float()
        if self.centre is not None:
            mean = targets[self.centre].float()
            predicted, true = predicted - mean, true - mean
        temperature = self.log_temperature.exp() if self.learned else self.temperature
        loss = info_nce(predicted, true, temperature, self.directions)
        return self.weight * loss, {f"{name} contrast": loss.detach()}

    def __repr__(self):
        return f"HardContrast({self.reads[0]!r}, {self.temperature})"
