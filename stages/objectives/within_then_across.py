"""What tokens and their first one are trained with: each subject's samples among themselves, and then those of all together.

After Liu et al. (AAAI 2025), "See Through Their Minds". In a first part of the epochs the samples of a subject are mixed, and
told apart among themselves (BiMixCo); in the others labels are soft, and the samples of all subjects are told apart (SoftCLIP).
There every subject has a process of its own, and processes exchange their rows in the second part alone; here all rows stand in
one batch, one subject behind the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from stages.ground.checks import Number, OneOf, check
from stages.ground.devices import sent_to
from stages.objectives.contrastive import draw_mixture, mixed_nce, soft_clip
from stages.objectives.mixed_epochs import MixedEpochs
from stages.objectives.prior_error import PriorError
from stages.objectives.regression import MeanAbsoluteError

WEIGHTINGS = ("random softmax", "equal")


class WithinThenAcross(MixedEpochs):
    """Contrast of tokens with those of pictures, and of the first token with a picture's and with a caption's.

        loss = contrast(tokens, true tokens) + a * (contrast(first, true first) + contrast(first, caption))

    >>> import torch
    >>> objective = WithinThenAcross("clip_retrieval", n_epochs=50, steps_per_epoch=554)
    >>> objective.n_mixed_epochs, objective.is_mixed(16 * 554), objective.is_mixed(17 * 554)
    (17, True, False)
    >>> patterns, true = {"subj01": torch.rand(4, 9), "subj02": torch.rand(4, 7)}, torch.rand(8, 3, 6)
    >>> changed = objective.before(patterns, step=0)
    >>> loss, parts = objective({"clip_retrieval": torch.rand(8, 3, 6)}, {"clip_retrieval": true}, step=0)
    >>> list(parts)
    ['clip_retrieval contrast', 'first token contrast']

    Parameters
    ----------
    name : str
        Tokens, an output (n, n_tokens, width) that is held to the target of its name.
    captions : str, optional
        A target, of vectors (n, width), or of several of each stimulus (n, n_captions, width), of which a step takes one at
        random.
    n_epochs, steps_per_epoch : int
        Of the whole training.
    mixed_share : float
        Of the epochs. Published: 0.35.
    temperature : float
        While samples are mixed.
    first, last : float
        Temperatures of the soft labels.
    mixed_weight, soft_weight : float
        Of the first token, a, while samples are mixed and after. Published: 0.5 and 0.2.
    few_epochs : int
        After the mixed ones, in which only a part of the samples counts. Published: 3.
    few_share : float
        Of the samples of each subject, the first ones, that count in these. Published: 12 of 16.
    own_partner : {"whole", "rest"}
        See `stages.objectives.contrastive.Mixture.labels`. The published code has "rest".
    weighting : {"random softmax", "equal", "none"}
        What the contrast and the prior's error (`BalancedPriorError`) are multiplied by: for each subject of each step the
        softmax of two normal numbers, as published; a half each; or nothing.
    """

    compares = True

    def __init__(
        self,
        name,
        captions=None,
        *,
        n_epochs,
        steps_per_epoch,
        mixed_share=0.35,
        temperature=0.006,
        first=0.004,
        last=0.006,
        mixed_weight=0.5,
        soft_weight=0.2,
        few_epochs=3,
        few_share=0.75,
        own_partner="whole",
        weighting="none",
    ):
        check("n_epochs", n_epochs, Number(1, whole=True, example=50))
        check("steps_per_epoch", steps_per_epoch, Number(1, whole=True, example=554))
        check("mixed_share", mixed_share, Number(0, 1))
        check("few_epochs", few_epochs, Number(0, whole=True))
        check("few_share", few_share, Number(0, 1, above=True, example=0.75))
        check("weighting", weighting, OneOf(*WEIGHTINGS, "none"))
        self.reads, self.captions = (name,), captions
        self.n_epochs, self.steps_per_epoch, self.mixed_share = n_epochs, steps_per_epoch, mixed_share
        self.temperature, self.first, self.last = temperature, first, last
        self.mixed_weight, self.soft_weight = mixed_weight, soft_weight
        self.few_epochs, self.few_share = few_epochs, few_share
        self.own_partner, self.weighting = own_partner, weighting
        # Drawn before the network reads, needed after: of each subject a mixture, and its two weights; of each sample which
        # caption it has, from 0 to 1.
        self._mixtures, self._weights, self._chosen = None, torch.ones(1, 2), None

    def n_counted(self, n: int, step: int) -> int:
        """How many of n samples of a subject count in a step, the first ones."""
        place = step // self.steps_per_epoch - self.n_mixed_epochs
        return max(round(self.few_share * n), 1) if 0 <= place < self.few_epochs else n

    def weights(self, place: int) -> Tensor:
        """Weights (n_subjects,) of the contrast (place 0) or of the prior's error (1) in the step at hand."""
        return self._weights[:, place]

    def mixed(self, values: Tensor) -> Tensor:
        """Values (n, ...) of the step's samples, mixed as their patterns are."""
        if self._mixtures is None:
            return values
        parts = values.chunk(len(self._mixtures))
        return torch.cat([mixture.mix(rows) for mixture, rows in zip(self._mixtures, parts)])

    def before(self, patterns: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Draw the step's weights and captions, and mix each subject's patterns among themselves, if the step does."""
        self._mixtures, self._weights = None, torch.ones(len(patterns), 2)
        if self.weighting != "none":
            # Beyond the last step is validation, whose losses are to be compared.
            is_random = self.weighting == "random softmax" and step < self.n_epochs * self.steps_per_epoch
            numbers = torch.randn(len(patterns), 2) if is_random else torch.zeros(len(patterns), 2)
            self._weights = numbers.softmax(dim=1)
        self._chosen = torch.rand(sum(map(len, patterns.values()))) if self.captions is not None else None
        if not self.is_mixed(step):
            return patterns
        mixtures = {subject: draw_mixture(len(rows)) for subject, rows in patterns.items()}
        self._mixtures = list(mixtures.values())
        return {subject: mixtures[subject].mix(rows) for subject, rows in patterns.items()}

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        rows, true, weights = outputs[name], targets[name], self.weights(0)
        captions = None if self.captions is None else self._captions(targets[self.captions])
        groups = _by_subject(len(weights), rows, true, captions)
        if self._mixtures is None:
            n = self.n_counted(len(groups[0][0]), step)
            together = [None if parts[0] is None else torch.cat([one[:n] for one in parts]) for parts in zip(*groups)]
            judged = [self._terms(*together, self._softly(step), self.soft_weight)]
            weights = weights.mean(dim=0, keepdim=True)
        else:
            judged = [
                self._terms(*group, self._mixed(mixture), self.mixed_weight)
                for group, mixture in zip(groups, self._mixtures)
            ]
        losses, tokens, firsts = (torch.stack(parts) for parts in zip(*judged))
        loss = (sent_to(losses.device, weights) * losses).mean()
        return loss, {f"{name} contrast": tokens.mean().detach(), "first token contrast": firsts.mean().detach()}

    def _terms(self, rows, true, captions, contrast: Callable[[Tensor, Tensor], Tensor], weight):
        """The loss of some samples that are told apart, and its two parts."""
        tokens, first = contrast(rows, true), contrast(rows[:, 0], true[:, 0])
        if captions is not None:
            first = first + contrast(rows[:, 0], captions)
        return tokens + weight * first, tokens, first

    def _mixed(self, mixture):
        return lambda rows, true: mixed_nce(rows, true, mixture, self.temperature, self.own_partner)

    def _softly(self, step):
        return lambda rows, true: soft_clip(rows, true, self.soft_temperature(step))

    def _captions(self, vectors):
        """One vector (n, width) of each sample."""
        if vectors.ndim == 2:
            return vectors
        n, n_captions = vectors.shape[:2]
        chosen = torch.zeros(n) if self._chosen is None else self._chosen
        places = (chosen * n_captions).long().clamp(max=n_captions - 1)
        return vectors[torch.arange(n, device=vectors.device), sent_to(vectors.device, places)]

    def __repr__(self):
        return f"WithinThenAcross({self.reads[0]!r}, {self.captions!r})"


class BalancedPriorError(PriorError):
    """A prior's error, with the weights and the samples that a contrast beside it has in a step.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> prior = SimpleNamespace(errors=lambda brain, clean: (brain - clean).square().flatten(1).mean(1))
    >>> contrast = WithinThenAcross("clip_retrieval", n_epochs=50, steps_per_epoch=554, weighting="equal")
    >>> patterns = contrast.before({"subj01": torch.zeros(4, 9)}, step=0)
    >>> objective, rows = BalancedPriorError("clip_rough", prior, 30.0, contrast), torch.zeros(4, 3, 6)
    >>> loss, parts = objective({"clip_rough": rows}, {"clip_rough": rows + 1}, step=0)
    >>> loss.item(), parts["clip_rough prior error"].item()
    (15.0, 1.0)

    Parameters
    ----------
    name, prior, weight
        See `stages.objectives.prior_error.PriorError`.
    contrast : WithinThenAcross
        Whose second weight of each subject multiplies that subject's error.
    """

    def __init__(self, name, prior, weight, contrast):
        super().__init__(name, prior, weight)
        self._contrast = contrast

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        errors, weights = self.prior.errors(outputs[name], targets[name]), self._contrast.weights(1)
        n = len(errors) // len(weights)
        counted = errors.unflatten(0, (len(weights), n))[:, : self._contrast.n_counted(n, step)].mean(dim=1)
        loss = self.weight * (sent_to(errors.device, weights) * counted).mean()
        return loss, {f"{name} prior error": counted.mean().detach()}


class MixedAbsoluteError(MeanAbsoluteError):
    """The mean absolute difference from true values that are mixed as a contrast has mixed the patterns of the step.

    >>> import torch
    >>> contrast = WithinThenAcross("clip_retrieval", n_epochs=50, steps_per_epoch=554)
    >>> patterns = torch.arange(4.0)[:, None]
    >>> mixed = contrast.before({"subj01": patterns}, step=0)["subj01"]
    >>> loss, _ = MixedAbsoluteError("sd_latent", 1.0, contrast)({"sd_latent": mixed}, {"sd_latent": patterns}, step=0)
    >>> loss.item()
    0.0

    Parameters
    ----------
    name, weight
        See `stages.objectives.regression.MeanAbsoluteError`.
    contrast : WithinThenAcross
    """

    # Partners may lie in another part of the batch.
    compares = True

    def __init__(self, name, weight, contrast):
        super().__init__(name, weight)
        self._contrast = contrast

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        return super().__call__(outputs, {name: self._contrast.mixed(targets[name].float())}, step)


def _by_subject(n_subjects, *values):
    """Rows of each subject, of several tensors whose rows stand one subject behind the other in equal parts; None stays None."""
    parts = [[None] * n_subjects if one is None else one.chunk(n_subjects) for one in values]
    return list(zip(*parts))
