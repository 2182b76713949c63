"""What a training does otherwise that goes on, with a new subject, from a decoder of other subjects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stages.decoders.network_files import subjects_in
from stages.ground.errors import InputError
from stages.training.recipe import Recipe


@dataclass(frozen=True)
class NewSubject:
    """How a new subject is learned, by a `stages.decoders.trained.TrainedDecoder` that is given a decoder of others.

    >>> NewSubject(own_alone=True).and_shared
    ()

    Attributes
    ----------
    own_alone : bool
        Whether what subjects share is left alone, and what belongs to new subjects is trained.
    and_shared : tuple of str
        With `own_alone`: regular expressions for whole names of parameters that are shared and trained all the same, as those of
        a recipe's `trains`.
    arguments : mapping
        Further arguments of the network, such as adapters that only a new subject has.
    afterwards : stages.training.recipe.Recipe, optional
        Of a second training, of the same batches, when the first is over: what it `trains` goes on alone. Its batches are as
        large as those of the first.
    """

    own_alone: bool = False
    and_shared: tuple[str, ...] = ()
    arguments: Mapping = field(default_factory=dict)
    afterwards: Recipe | None = None

    def recipe(self, network, pretrained, recipe):
        """A recipe for the parameters that are trained, of those that it trains.

        Parameters
        ----------
        network : stages.decoders.standardised.StandardisedSubjects
        pretrained : path
            Folder of the decoder of others.
        recipe : stages.training.recipe.Recipe

        Raises
        ------
        InputError
            Every subject is known to that decoder, and nothing would be trained.
        """
        if not self.own_alone:
            return recipe
        new = [subject for subject in network.subjects if subject not in subjects_in(pretrained)]
        if not new:
            raise InputError(
                f"The decoder in {pretrained} knows {', '.join(network.subjects)} already; expected a subject that it was not "
                "fitted on, whose layers are trained alone: name a new one, or train all layers."
            )
        own = {name for subject in new for name in network.subject_tensors(subject).values()}
        # As the learner calls them.
        named = {f"network.{name}": name in own for name, _ in network.named_parameters()}
        trained = [name for name, is_own in named.items() if is_own or _fits(name, self.and_shared)]
        return replace(recipe, trains=tuple(re.escape(name) for name in trained if _fits(name, recipe.trains)))


def _fits(name, patterns):
    return any(re.fullmatch(pattern, name) for pattern in patterns)
