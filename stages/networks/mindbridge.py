"""MindBridge's network as a decoder of several subjects: patterns of each in, image and text tokens out (Wang et al. 2024).

Voxels are pooled to one length. An embedder of each subject's own leads into a width that all share, a builder of each leads
back to pooled voxels; so the response of one subject can be made into that of another. Names of parameters are those of the
published code.
"""

from __future__ import annotations

import math
import random

import torch
from torch import nn

from stages.adapters.fixed_length import KINDS, pooled
from stages.adapters.residual_adapter import ResidualAdapter
from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

RESPONSE_ERROR, CYCLE_ERROR = "response_error", "cycle_error"
"""Further outputs of a network with builders: pooled voxels less what is built again of them, and the errors of the cycle."""
HEADS = ("image", "text")
# Of the embedders, and of the shared layers.
_EMBEDDER_DROPOUT, _SHARED_DROPOUT = 0.5, 0.15


class MindBridgeNetwork(nn.Module):
    """Embedders and builders of the subjects' own, and the layers that they share.

    >>> gives = {"rough_image": (5, 8), "rough_text": (4, 8)}
    >>> network = MindBridgeNetwork({"subj01": 50, "subj02": 40}, gives, length=16, hidden=8, n_blocks=1, bottleneck=2).eval()
    >>> found = network({"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)})
    >>> {name: tuple(values.shape) for name, values in found.items()}
    {'rough_image': (5, 5, 8), 'rough_text': (5, 4, 8), 'response_error': (5, 16), 'cycle_error': (5, 8)}
    >>> network.subject_tensors("subj02")["builder.0.weight"]
    'builder.1.0.weight'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives : mapping of str to tuple of int
        (n_tokens, width) of a name that ends in "image", of one that ends in "text", or of both.
    length : int
        Parts that voxels are pooled to. Published: 8192.
    hidden : int
        Values that subjects share. Published: 2048.
    n_blocks : int
        Residual blocks of the shared layers. Published: 4.
    bottleneck : int
        Of the adapters. Published: 128.
    pool : {"max", "mean"}
        What is taken of the voxels of a part, see `stages.adapters.fixed_length.pooled`. Published: "max".
    builders : bool
        Whether there is a builder for each subject, if there are several. A network of one subject has none, as published.
    """

    reads_subjects = True

    def __init__(
        self, n_voxels, gives, length=8192, hidden=2048, n_blocks=4, bottleneck=128, pool="max", builders=True
    ):
        super().__init__()
        check("length", length, Number(1, whole=True, example=8192))
        check("hidden", hidden, Number(1, whole=True, example=2048))
        check("n_blocks", n_blocks, Number(0, whole=True, example=4))
        check("pool", pool, OneOf(*KINDS))
        self.length, self._pool, self._tokens = length, pool, _asked_for(gives)
        self.embedder = SubjectModules(n_voxels, lambda n: _embedder(length, hidden, bottleneck))
        self.translator = Translator(hidden, n_blocks)
        for head, (_, shape) in self._tokens.items():
            setattr(self, f"head_{head}", nn.Linear(hidden, math.prod(shape)))
        self.builder = None
        if builders and len(n_voxels) > 1:
            self.builder = SubjectModules(n_voxels, lambda n: _builder(length, hidden, bottleneck))

    @property
    def subjects(self):
        """Their names, in the order of the modules."""
        return self.embedder.subjects

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {"embedder": self.embedder, "builder": self.builder})

    def prepared(self, patterns):
        """Pool voxels (n, n_voxels) to (n, length); of what is pooled already nothing is changed."""
        return pooled(patterns, self.length, self._pool)

    def forward(self, patterns):
        """Find tokens, and the errors of the builders if there are some.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
            Of some or all of the subjects.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, ...)
            Rows in the order of `patterns`. In training `cycle_error` has the rows of one subject.
        """
        voxels = {subject: self.prepared(rows) for subject, rows in patterns.items()}
        embedded = {subject: self.embedder.of(subject)(rows) for subject, rows in voxels.items()}
        shared = self.translator(torch.cat(list(embedded.values())))
        found = {
            name: getattr(self, f"head_{head}")(shared).unflatten(1, shape)
            for head, (name, shape) in self._tokens.items()
        }
        if self.builder is not None:
            built = [voxels[subject] - self.builder.of(subject)(rows) for subject, rows in embedded.items()]
            found[RESPONSE_ERROR] = torch.cat(built)
            found[CYCLE_ERROR] = torch.cat([self._cycled(embedded[a], b) for a, b in self._pairs(embedded)])
        return found

    def synthesised(self, patterns, source, subject):
        """Make the responses of one subject into those that another would have given: pooled voxels (n, length).

        Parameters
        ----------
        patterns : tensor of shape (n, n_voxels of the source)
            As the network reads them, or pooled.
        source, subject : str
            Whose they are, and whose they are to be.

        Raises
        ------
        InputError
            There are no builders.
        """
        if self.builder is None:
            raise InputError(
                f"Responses of {subject} cannot be built, as this network of {', '.join(self.subjects)} has no builders; train "
                "one of several subjects, with builders."
            )
        return self.builder.of(subject)(self.embedder.of(source)(self.prepared(patterns)))

    def _cycled(self, embedded, subject):
        """What is lost if shared values become a subject's voxels and shared values again."""
        return embedded - self.embedder.of(subject)(self.builder.of(subject)(embedded))

    def _pairs(self, present):
        """Pairs of subjects, from the first of which a cycle leads over the second.

        In training it is one pair by lot, from a subject whose layers stand still to one whose layers are learned if there are
        both. Otherwise, each leads over the next one.
        """
        present = list(present)
        if not self.training:
            following = dict(zip(self.subjects, (*self.subjects[1:], self.subjects[0])))
            return [(subject, following[subject]) for subject in present]
        still = [subject for subject in present if not self._is_learned(subject)]
        learned = [subject for subject in present if self._is_learned(subject)]
        # Python's generator is seeded for each step as torch's is, and has no device.
        first = random.choice(still if still and learned else present)
        others = learned if first in still and learned else [one for one in self.subjects if one != first]
        return [(first, random.choice(others))]

    def _is_learned(self, subject):
        return any(parameter.requires_grad for parameter in self.embedder.of(subject).parameters())


class Translator(nn.Module):
    """Residual blocks over the values that subjects share.

    >>> Translator(8, n_blocks=2)(torch.zeros(3, 8)).shape
    torch.Size([3, 8])

    Parameters
    ----------
    hidden, n_blocks : int
    """

    def __init__(self, hidden, n_blocks):
        super().__init__()
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(_SHARED_DROPOUT))
            for _ in range(n_blocks)
        )

    def forward(self, values):
        for block in self.mlp:
            values = block(values) + values
        return values


def _embedder(length, hidden, bottleneck):
    layers = nn.Linear(length, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(_EMBEDDER_DROPOUT)
    return nn.Sequential(ResidualAdapter(length, bottleneck), *layers)


def _builder(length, hidden, bottleneck):
    layers = nn.Linear(hidden, length), nn.LayerNorm(length), nn.GELU()
    return nn.Sequential(*layers, ResidualAdapter(length, bottleneck))


def _asked_for(gives):
    """Head -> the name and the shape of its tokens."""
    found = {name.rpartition("_")[2]: (name, tuple(shape)) for name, shape in gives.items()}
    fits = found and len(found) == len(gives) and found.keys() <= {*HEADS}
    if not fits or any(len(shape) != 2 for _, shape in found.values()):
        raise InputError(
            f"The network gives tokens (n_tokens, width) under a name that ends in {' or in '.join(HEADS)}, one of each, but is "
            f"asked for {dict(gives)}."
        )
    return {head: found[head] for head in HEADS if head in found}
