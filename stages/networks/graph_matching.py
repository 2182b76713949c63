"""MindArt's graph of the samples of a batch, which training puts behind its encoder (CVPR 2024).

Responses attend to responses and to pictures, and pictures likewise. The graph is there in training alone: to decode,
`GraphMatching.encode` is all that is needed. Names of parameters are those of the authors' code, whose graph is that of SuperGlue
(Sarlin et al. 2020). What their code makes and never calls has no place here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.region_encoder import RegionEncoder, TwoLayers, check_heads, check_sizes


class SampleGraph(nn.Module):
    """Two sets of nodes that attend to themselves and to each other in turn; every layer adds to both what it finds.

    Nodes are the samples of a batch, so that what is found for one depends on which others are there. In training the layers
    normalise over the nodes of a set (batch normalisation), which needs two of them or more.

    >>> graph = SampleGraph(width=8, n_heads=2, n_rounds=1).eval()
    >>> [nodes.shape for nodes in graph(torch.zeros(5, 8), torch.zeros(3, 8))]
    [torch.Size([5, 8]), torch.Size([3, 8])]

    Parameters
    ----------
    width : int
    n_heads : int
    n_rounds : int
        Of two layers each: one attends to the nodes of the own set, the next to those of the other.
    """

    def __init__(self, width=512, n_heads=4, n_rounds=3):
        super().__init__()
        check("n_rounds", n_rounds, Number(0, whole=True, example=3))
        self.layers = nn.ModuleList(AttentionalPropagation(width, n_heads) for _ in range(2 * n_rounds))

    def forward(self, first, second):
        """Of nodes (n, width) and (m, width), both of the same shape."""
        if self.training and min(len(first), len(second)) < 2:
            raise InputError(
                f"The graph has {len(first)} and {len(second)} samples; training normalises over 2 or more of each: make batches "
                "larger."
            )
        # As the authors' layers take them: one graph, values before nodes.
        first, second = first.T[None], second.T[None]
        for number, layer in enumerate(self.layers):
            sources = (second, first) if number % 2 else (first, second)
            # Both are found before either is changed.
            found = layer(first, sources[0]), layer(second, sources[1])
            first, second = first + found[0], second + found[1]
        return first[0].T, second[0].T


class AttentionalPropagation(nn.Module):
    """What nodes are to add to themselves: ``mlp([x; merge(attention(x, source))])``; names are SuperGlue's.

    >>> AttentionalPropagation(width=8, n_heads=2)(torch.zeros(1, 8, 5), torch.zeros(1, 8, 3)).shape
    torch.Size([1, 8, 5])

    Parameters
    ----------
    width, n_heads : int
    """

    def __init__(self, width, n_heads):
        super().__init__()
        check_heads(width, n_heads)
        self.attn = _GraphAttention(width, n_heads)
        self.mlp = nn.Sequential(
            nn.Conv1d(2 * width, 2 * width, 1), nn.BatchNorm1d(2 * width), nn.ReLU(), nn.Conv1d(2 * width, width, 1)
        )
        nn.init.zeros_(self.mlp[-1].bias)

    def forward(self, nodes, source):
        """Of nodes (1, width, n) that attend to a source (1, width, m), tensor of the nodes' shape."""
        return self.mlp(torch.cat([nodes, self.attn(nodes, source)], dim=1))


class _GraphAttention(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.merge = nn.Conv1d(width, width, 1)
        # Of the query, the key and the value.
        self.proj = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(3))
        for layer in self.proj:
            # All four begin alike, as copies do.
            layer.load_state_dict(self.merge.state_dict())

    def forward(self, nodes, source):
        # Heads take turns: value number i belongs to head i modulo n_heads. Each (1, n_heads, nodes, values of a head).
        query, key, value = (
            layer(values).unflatten(1, (-1, self.n_heads)).permute(0, 2, 3, 1)
            for layer, values in zip(self.proj, (nodes, source, source))
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.merge(attended.permute(0, 3, 1, 2).flatten(1, 2))


class GraphMatching(nn.Module):
    """The whole of MindArt's matching: an encoder of responses, a branch for pictures, and the graph of both.

    >>> network = GraphMatching(n_values=6, n_regions=3, n_features=5, width=8, depth=1, n_heads=2, hidden=4, graph_heads=2)
    >>> brain, picture = network(torch.rand(4, 3, 6), torch.rand(4, 5))
    >>> brain.shape, picture.shape, network.encode(torch.rand(4, 3, 6)).shape
    (torch.Size([4, 8]), torch.Size([4, 8]), torch.Size([4, 4, 8]))

    Parameters
    ----------
    n_values : int
        Voxels of the largest region; see `stages.networks.region_encoder.RegionTokens`.
    n_regions : int
        Published: 7.
    n_features : int
        Values of a picture's features. Published: 512, of CLIP ViT-B/16.
    width, depth, n_heads, places
        See `stages.networks.region_encoder.RegionEncoder`.
    hidden : int
        Values inside the branch for pictures. Published: 256.
    graph_heads, n_rounds : int
        See `SampleGraph`.
    """

    def __init__(
        self,
        n_values,
        n_regions=7,
        n_features=512,
        width=512,
        depth=12,
        n_heads=8,
        hidden=256,
        graph_heads=4,
        n_rounds=3,
        places="none",
    ):
        super().__init__()
        check_sizes(n_values=n_values, n_features=n_features, width=width, hidden=hidden)
        self.start_proj = nn.Linear(n_values, width)
        self.fmri_encoder = RegionEncoder(width, n_regions, width, depth, n_heads, places=places)
        self.img_encoder = TwoLayers(n_features, hidden, width, nn.ReLU())
        self.gnn = SampleGraph(width, graph_heads, n_rounds)

    def forward(self, tokens, features):
        """Find the nodes that training compares.

        Parameters
        ----------
        tokens : tensor of shape (n, n_regions, n_values)
            Of responses, or of mixtures of them: the first layer is linear, so that mixing before it and behind it are one.
        features : tensor of shape (m, n_features)

        Returns
        -------
        brain : tensor of shape (n, width)
        picture : tensor of shape (m, width)
        """
        return self.gnn(self.encode(tokens)[:, 0], self.img_encoder(features))

    def encode(self, tokens):
        """Encode responses (n, n_regions, n_values) by themselves: (n, 1 + n_regions, width), the first of which sums them up."""
        return self.fmri_encoder(self.start_proj(tokens))


class CaptionTokens(nn.Module):
    """The tokens that MindArt's caption model reads: those of an encoder that is trained, then those of a matching that is not.

    >>> matching = GraphMatching(n_values=6, n_regions=3, n_features=5, width=8, depth=1, n_heads=2, graph_heads=2)
    >>> CaptionTokens(matching, n_values=6, n_regions=3, width=12, depth=1, n_heads=2)(torch.rand(4, 3, 6)).shape
    torch.Size([4, 8, 12])

    Parameters
    ----------
    matching : GraphMatching
        Trained. It is frozen here.
    n_values, n_regions : int
        As those of the matching.
    width, depth, n_heads : int
        Of the encoder that is trained. Published: 768, 16 and 16.
    places : {"none", "learned"}
        Of that encoder. The authors set every parameter of it free, the table among them, before they freeze the matching.
    """

    def __init__(self, matching, n_values, n_regions=7, width=768, depth=16, n_heads=16, places="learned"):
        super().__init__()
        self.fmrigm = matching.requires_grad_(False).eval()
        self.proj = nn.Linear(matching.fmri_encoder.norm.normalized_shape[0], width)
        self.encoder = RegionEncoder(n_values, n_regions, width, depth, n_heads, places=places)

    def train(self, mode=True):
        """Switch everything but the matching, which has been trained."""
        super().train(mode)
        self.fmrigm.eval()
        return self

    def forward(self, tokens):
        """Of responses (n, n_regions, n_values), tensor of shape (n, 2 * (1 + n_regions), width)."""
        with torch.no_grad():
            matched = self.fmrigm.encode(tokens)
        return torch.cat([self.encoder(tokens), self.proj(matched)], dim=1)
