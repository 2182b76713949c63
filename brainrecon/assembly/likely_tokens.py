"""What makes decoded tokens likely: a diffusion prior that is trained beside them, the nearest tokens of a bank, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from brainrecon.assembly.as_decoded import AsDecoded
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.refine import Refine
from brainrecon.assembly.remember import Remember
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

DIFFUSION, NEAREST, NONE = "diffusion", "nearest", "none"
PRIORS = (DIFFUSION, NEAREST, NONE)


@dataclass(frozen=True)
class LikelyTokensSettings:
    """Settings of it; those of a method have them besides their own, and a `decoder` with a `prior_weight`.

    Attributes
    ----------
    prior : {"diffusion", "nearest", "none"}
        What makes decoded tokens likely: a network that is trained beside; the nearest tokens of a bank; nothing.
    bank : str
        Folder of tokens for the nearest, by default those of the training stimuli.
    neighbours : int
        Nearest tokens that are averaged.
    prior_evaluations : int, optional
        Of the prior's network in sampling; every step, if none is given.
    """

    prior: str | None = DIFFUSION
    bank: str = ""
    neighbours: int = 1
    prior_evaluations: int | None = None

    def check_prior(self):
        """Refuse what does not go together, and settle where the bank is."""
        check_all(self, {"prior": OneOf(*PRIORS), "neighbours": Number(1, whole=True)})
        if self.bank and not self.reads_bank:
            raise InputError(
                f"bank is {self.bank!r} but prior {self.prior!r} reads none; pass --set prior=nearest, or leave bank out."
            )
        if self.prior == DIFFUSION and not self.decoder.prior_weight:
            raise InputError(
                f"decoder.prior_weight is {self.decoder.prior_weight} but prior is 'diffusion', which would not be trained; pass "
                "--set prior=none, or a weight above 0."
            )
        if self.bank:
            # From whatever folder the run is gone on with.
            object.__setattr__(self, "bank", str(Path(self.bank).expanduser().resolve()))

    @property
    def reads_bank(self) -> bool:
        """Whether anything reads the bank."""
        return self.prior == NEAREST


def names_of_tokens(settings: LikelyTokensSettings, names: Sequence[str], read: bool) -> Sequence[str]:
    """Which of the rough tokens and those for retrieval are learned; `read`: whether likely tokens are read at all.

    Nobody reads rough tokens that neither lead a prior nor are drawn from.

    >>> names_of_tokens(LikelyTokensSettings("nearest"), ("clip_rough", "clip_retrieval"), read=True)
    ('clip_retrieval',)
    """
    rough = settings.prior == DIFFUSION or (settings.prior == NONE and read)
    return tuple(names) if rough else tuple(names[1:])


def likely_tokens(
    settings: LikelyTokensSettings,
    learned: Learn,
    prior_of: Callable,
    names: Sequence[str],
    gives: str,
    source: TargetSource,
    unit_token: bool,
    guidance: float = 1.0,
) -> Step:
    """Step from what a network gives to tokens that a picture could have.

    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> tokens, names = TargetSource(Tokens, checkpoints=()), ("clip_rough", "clip_retrieval")
    >>> learned = Learn(dict.fromkeys(names, tokens), decoder=None)
    >>> step = likely_tokens(LikelyTokensSettings(), learned, lambda network: network.prior, names, "clip_image", tokens, True)
    >>> step.reads, step.gives, step.by_lot
    (('clip_rough',), ('clip_image',), True)

    Parameters
    ----------
    settings : LikelyTokensSettings
    learned, prior_of, source, unit_token, guidance
        As `brainrecon.assembly.refine.Refine` takes them.
    names : sequence of str
        Of the rough tokens, which lead a prior, and of those for retrieval, by which the nearest are found.
    gives : str
    """
    rough, retrieval = names
    if settings.prior == DIFFUSION:
        return Refine(learned, prior_of, rough, gives, source, settings.prior_evaluations, unit_token, guidance)
    if settings.prior == NEAREST:
        return Remember(retrieval, gives, source, settings.bank, settings.neighbours)
    return AsDecoded(rough, gives, source, unit_token)
