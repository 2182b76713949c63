"""One transformer over regions of the brain for all subjects, after the figure of Psychometry (Quan et al., CVPR 2024).

A region's voxels make one token; in every block the feed-forward part is a mixture of experts, all of them active, in shares
that are the subject's own. Sizes and first weights are guesses: no code and no numbers of it were found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stages.adapters.disjoint_regions import REST
from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.networks.matched_regions import parted
from stages.networks.region_encoder import check_heads, check_sizes
from stages.networks.subject_experts import SubjectExperts

HEADS = ("class token", "queries")
_FIRST_DEVIATION = 0.02


class PsychometryNetwork(nn.Module):
    """Patterns of several subjects to named values.

    >>> gives = {"clip_image": (5, 8), "clip_text": (3, 8)}
    >>> regions = {"subj01": {"V1": [0, 2], "rest": [1]}, "subj02": {"V1": [0], "FFA": [1]}}
    >>> network = PsychometryNetwork(
    ...     {"subj01": 3, "subj02": 2}, gives, regions, ["V1", "FFA", "rest"], width=16, depth=1, n_heads=2, n_experts=2
    ... )
    >>> found = network({"subj02": torch.zeros(1, 2), "subj01": torch.zeros(4, 3)})
    >>> found["clip_image"].shape, found["clip_text"].shape
    (torch.Size([5, 5, 8]), torch.Size([5, 3, 8]))
    >>> list(network.subject_tensors("subj02"))[:2]
    ['tokenisers.linears.0.weight', 'tokenisers.linears.0.bias']

    A block is ``x = x + dropout(attention(norm(x)))``, then ``x + dropout(experts(norm(x)))``.

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives : mapping of str to tuple of int
        Name and shape of each value.
    regions : mapping of str to mapping of str to sequence of int, optional
        By subject: columns of each of its regions, some of `names`. All voxels in `n_regions` parts, if they are not given.
    names : sequence of str, optional
        All regions; each has an embedding that subjects share. They are the parts, if `regions` are not given.
    n_regions : int
        Of those parts.
    width, depth, n_heads : int
    n_experts, expansion : int
        Experts of each block, and the values inside an expert, in widths.
    gate : {"matrix", "scale"}
        See `stages.networks.subject_experts.SubjectExperts`.
    heads : {"class token", "queries"}
        A linear layer for each value, from the class token; or a learned query for each token of a value, that attends to all
        tokens.
    dropout : float
    """

    reads_subjects = True

    def __init__(
        self,
        n_voxels,
        gives,
        regions=None,
        names=None,
        n_regions=12,
        width=512,
        depth=8,
        n_heads=8,
        n_experts=8,
        expansion=2,
        gate="matrix",
        heads="class token",
        dropout=0.1,
    ):
        super().__init__()
        check_heads(width, n_heads)
        check_sizes(depth=depth, n_experts=n_experts, expansion=expansion, n_regions=n_regions)
        check("heads", heads, OneOf(*HEADS))
        check("dropout", dropout, Number(0, 1, below=True))
        if regions is None:
            # In outline, before there are data: as many tokens as regions may be.
            names = [str(number) for number in range(n_regions)]
            regions = {subject: dict(zip(names, parted(n, n_regions))) for subject, n in n_voxels.items()}
        _check_regions(n_voxels, regions, names)
        whose = iter(n_voxels)
        self.tokenisers = SubjectModules(n_voxels, lambda n: RegionTokeniser(regions[next(whose)], names, width))
        self.class_token = nn.Parameter(_first(1, width))
        self.region_embeddings = nn.Parameter(_first(len(names), width))
        self.blocks = nn.ModuleList(
            ExpertBlock(n_voxels, width, n_heads, n_experts, expansion, gate, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.heads = (_ClassHeads if heads == "class token" else _QueryHeads)(gives, width, n_heads)

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        parts = {"tokenisers": self.tokenisers}
        parts |= {f"blocks.{number}.experts": block.experts for number, block in enumerate(self.blocks)}
        return tensors_of_parts(subject, parts)

    def forward(self, patterns):
        """Find the values that are asked for.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
            Of some or all of the subjects.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, ...)
            Rows in the order of `patterns`.
        """
        found = [self.heads(self.tokens(rows, subject)) for subject, rows in patterns.items()]
        return {name: torch.cat([one[name] for one in found]) for name in found[0]}

    def tokens(self, patterns, subject):
        """What the blocks make of patterns (n, n_voxels) of one subject: (n, 1 + regions, width), the class token first."""
        tokens = self.tokenisers.of(subject)(patterns, self.region_embeddings)
        tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens, subject)
        return self.norm(tokens)


class RegionTokeniser(nn.Module):
    """One token for each region of a subject: a linear layer of the region's own, and the embedding of its name.

    >>> tokeniser = RegionTokeniser({"V1": [0, 2], "rest": [1]}, ["V1", "FFA", "rest"], width=4)
    >>> tokeniser(torch.zeros(2, 3), torch.zeros(3, 4)).shape
    torch.Size([2, 2, 4])

    Parameters
    ----------
    regions : mapping of str to sequence of int
        Columns of each.
    names : sequence of str
        Of all regions, in the order of their embeddings.
    width : int
    """

    def __init__(self, regions: Mapping[str, Sequence[int]], names: Sequence[str], width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(len(columns), width) for columns in regions.values())
        self._places = [list(names).index(name) for name in regions]
        for number, columns in enumerate(regions.values()):
            # No weights: they follow from the regions.
            self.register_buffer(
                f"_columns{number}", torch.as_tensor(list(columns), dtype=torch.long), persistent=False
            )

    def forward(self, patterns: Tensor, embeddings: Tensor) -> Tensor:
        """Of patterns (n, n_voxels) and embeddings (all regions, width), tokens (n, regions, width)."""
        tokens = [linear(patterns[:, getattr(self, f"_columns{number}")]) for number, linear in enumerate(self.linears)]
        return torch.stack(tokens, dim=1) + embeddings[self._places]


class ExpertBlock(nn.Module):
    """A block of a transformer whose feed-forward part is `stages.networks.subject_experts.SubjectExperts`.

    >>> ExpertBlock({"subj01": 9}, width=8, n_heads=2, n_experts=2)(torch.zeros(2, 5, 8), "subj01").shape
    torch.Size([2, 5, 8])

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    width, n_heads, n_experts, expansion : int
    gate : {"matrix", "scale"}
    dropout : float
        Of what attention and experts add.
    """

    def __init__(self, n_voxels, width, n_heads, n_experts, expansion=2, gate="matrix", dropout=0.0):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.experts = SubjectExperts(n_voxels, width, expansion * width, n_experts, gate)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens, subject):
        tokens = tokens + self.dropout(_attended(self.attention, self.norm1(tokens)))
        return tokens + self.dropout(self.experts(self.norm2(tokens), subject))


class _ClassHeads(nn.Module):
    """A linear layer for each value, from the class token."""

    def __init__(self, gives, width, n_heads):
        super().__init__()
        self.shapes = {name: tuple(shape) for name, shape in gives.items()}
        self.linears = nn.ModuleDict({name: nn.Linear(width, math.prod(shape)) for name, shape in self.shapes.items()})

    def forward(self, tokens):
        return {name: self.linears[name](tokens[:, 0]).unflatten(1, shape) for name, shape in self.shapes.items()}


class _QueryHeads(nn.Module):
    """A query for each token of each value: they attend to the tokens, and a linear layer of the value's own follows."""

    def __init__(self, gives, width, n_heads):
        super().__init__()
        if flat := [name for name, shape in gives.items() if len(shape) != 2]:
            raise InputError(
                f"{flat[0]} has shape {tuple(gives[flat[0]])}; queries give tokens (n_tokens, width): take heads='class token'."
            )
        self._counts = [shape[0] for shape in gives.values()]
        self.queries = nn.Parameter(_first(sum(self._counts), width))
        self.norm1, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm3 = nn.LayerNorm(width)
        self.linears = nn.ModuleDict({name: nn.Linear(width, shape[1]) for name, shape in gives.items()})

    def forward(self, tokens):
        queries = self.queries.expand(len(tokens), -1, -1)
        queries = queries + _attended(self.attention, self.norm1(queries), tokens)
        queries = self.norm3(queries + self.feed_forward(self.norm2(queries)))
        parts = queries.split(self._counts, dim=1)
        return {name: linear(part) for (name, linear), part in zip(self.linears.items(), parts)}


def _attended(attention, queries, tokens=None):
    """What attention gives to queries (n, n_queries, width), of tokens or of themselves."""
    tokens = queries if tokens is None else tokens
    found, _ = attention(queries, tokens, tokens, need_weights=False)
    return found


def _first(*shape):
    return torch.randn(shape) * _FIRST_DEVIATION


def _check_regions(n_voxels, regions, names):
    """Refuse subjects without regions, and regions without a name or a voxel."""
    for subject in n_voxels:
        own = regions.get(subject)
        if not own:
            raise InputError(
                f"There are no regions of {subject}, but of {', '.join(regions) or 'nobody'}; give it columns of one or more."
            )
        if unknown := [name for name in own if name not in names]:
            raise InputError(
                f"The region {unknown[0]} of {subject} is none of {', '.join(names)}; name it there, or call it {REST!r}."
            )
        if empty := [name for name, columns in own.items() if not len(columns)]:
            raise InputError(f"The region {empty[0]} of {subject} has no voxel; leave it out.")
