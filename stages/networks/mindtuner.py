"""MindTuner's network (Gong et al., AAAI 2025): MindEye2's, with low-rank adapters of a new subject's own and a way to texts.

After the abstract and a third-party implementation: the authors released no code. What subjects share has MindEye2's names, with
adapters and without.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from stages.adapters.skip_lora import BESIDE, SKIPPED, SkipLora
from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.adapters.subject_lora import SubjectLora
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.networks.mindeye2 import MindEye2Network

SKIPS = ("blocks", "align", "final")
LEARNS_FROM = ("true tokens", "decoded tokens")
TEXT = "projected_text"


class MindTunerNetwork(MindEye2Network):
    """MindEye2's layers, and of each subject adapters of its own beside those that all share.

    >>> gives = {"clip_rough": (3, 8), "clip_retrieval": (3, 8)}
    >>> sizes = {"hidden": 16, "mixer": "residual", "prior_depth": 1, "prior_heads": 2, "prior_head_width": 4}
    >>> network = MindTunerNetwork({"subj01": 50}, gives, adapted=True, text_width=6, **sizes)
    >>> found = network({"subj01": torch.zeros(4, 50)})
    >>> found["clip_rough"].shape, found["projected_text"].shape, found["skips"].shape
    (torch.Size([4, 3, 8]), torch.Size([4, 6]), torch.Size([4, 4, 16]))
    >>> network.subject_tensors("subj01")["backbone.backbone_linear.lora_A.weight"]
    'backbone.backbone_linear.lora_A.subj01.weight'

    Parameters
    ----------
    n_voxels, gives
        See `stages.networks.mindeye2.MindEye2Network`.
    adapted : bool
        Whether there are adapters. Without them it is MindEye2's network; with them it gives exactly the same before training.
    lora : bool
        Adapters of every linear layer of the blocks, of the map to tokens and of their projector.
    skips : sequence of {"blocks", "align", "final"}
        Paths from the voxels, `stages.adapters.skip_lora.SkipLora`: behind each block over values, to the subject's own layer,
        and to the tokens. What the blocks of mixer "published" get is lost, and learns nothing.
    rank, alpha, init
        See `stages.adapters.subject_lora.SubjectLora`.
    text_width : int, optional
        Of the texts that a projector brings tokens to; there is none without.
    text_from : {"true tokens", "decoded tokens"}
        What the projector learns from.
    text_spread : float
        See `AdaptiveProjector`.
    **sizes
        See `MindEye2Network`.
    """

    def __init__(
        self,
        n_voxels,
        gives,
        adapted=False,
        lora=True,
        skips=("blocks",),
        rank=8,
        alpha=8.0,
        init="b_normal",
        text_width=None,
        text_from="true tokens",
        text_spread=1.0,
        **sizes,
    ):
        super().__init__(n_voxels, gives, **sizes)
        check("text_from", text_from, OneOf(*LEARNS_FROM))
        check_skips(skips, self.backbone.n_blocks)
        self.adaptive_projector = None
        if text_width is not None:
            self.adaptive_projector = AdaptiveProjector(self.backbone.tokens[1], text_width, text_spread)
            if text_from == "true tokens":
                self.reads_in_training = (next(name for name, part in self.parts.items() if part == "retrieval"),)
        self.skips, self.lora = None, None
        if adapted and skips:
            widths = self._widths_of_skips(skips)
            self.skips = SubjectModules(n_voxels, lambda n: _paths(n, widths, rank, alpha, init))
        if adapted and lora:
            self.lora = SubjectLora(self.backbone, self._adapted_layers(), tuple(n_voxels), rank, alpha, init)

    reads_in_training = ()

    @property
    def correlates(self):
        """Whether there are paths whose values are compared with what stands beside them."""
        return self.skips is not None and any(name != "rough" for name in self.skips[0])

    def _widths_of_skips(self, skips):
        """Values that each path gives, by the place in the backbone that it joins."""
        hidden = self.backbone.backbone_linear.in_features
        widths = {"ridge": hidden} if "align" in skips else {}
        widths |= dict.fromkeys(map(str, range(self.backbone.n_blocks)), hidden) if "blocks" in skips else {}
        return widths | ({"rough": self.backbone.backbone_linear.out_features} if "final" in skips else {})

    def _adapted_layers(self):
        parts = ("mixer_blocks1.", "mixer_blocks2.", "clip_proj.", "backbone_linear")
        linears = [name for name, one in self.backbone.named_modules() if isinstance(one, nn.Linear)]
        return [name for name in linears if name.startswith(parts)]

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        adapters = {"skips": self.skips, "backbone": self.lora}
        return super().subject_tensors(subject) | tensors_of_parts(subject, adapters)

    def forward(self, patterns, true_tokens=None):
        """Find the values that are asked for; `places` beside a latent, `projected_text`, and `skips` with what is beside them.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
        true_tokens : tensor of shape (n of all, n_tokens, width), optional
            What a text is found for; by default for the decoded ones.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, ...)
            Rows in the order of `patterns`; `skips` and `beside_skips` are (n of all, n_paths, hidden).
        """
        pairs = []
        rows = {subject: len(values) for subject, values in patterns.items()}
        with nullcontext() if self.lora is None else self.lora.rows_of(rows):
            found = self.backbone(self.ridge(patterns), partial(self._joined, patterns, pairs))
        values = self.named(found)
        if self.adaptive_projector is not None:
            tokens = found["retrieval"] if true_tokens is None else true_tokens
            values[TEXT] = self.adaptive_projector(tokens.reshape(len(tokens), *self.backbone.tokens))
        if pairs:
            values[BESIDE], values[SKIPPED] = (torch.stack(each, 1) for each in zip(*pairs))
        return values

    def _joined(self, patterns, pairs, place, values):
        """Values at a place of the backbone, with what comes to it from the voxels."""
        if self.skips is None or str(place) not in self.skips[0]:
            return values
        added = torch.cat([self.skips.of(subject)[str(place)](rows) for subject, rows in patterns.items()])
        if place != "rough":
            pairs.append((values, added))
        return values + added


class AdaptiveProjector(nn.Module):
    """Tokens of a picture to the embedding of a text: their mean, and one matrix.

    >>> AdaptiveProjector(1664, 1280)(torch.zeros(2, 256, 1664)).shape
    torch.Size([2, 1280])

    Parameters
    ----------
    n_in, n_out : int
        Width of a token, and of a text.
    spread : float
        Standard deviation of the matrix before it is trained; that of a third-party implementation is 1.
    """

    def __init__(self, n_in, n_out, spread=1.0):
        super().__init__()
        for name, n in (("n_in", n_in), ("n_out", n_out)):
            check(name, n, Number(1, whole=True, example=1280))
        check("spread", spread, Number(0, above=True, example=1.0))
        self.weight = nn.Parameter(spread * torch.randn(n_in, n_out))

    def forward(self, tokens):
        """Of tokens (n, n_tokens, n_in), embeddings (n, n_out)."""
        return tokens.mean(1) @ self.weight


def check_skips(skips, n_blocks):
    """Refuse paths to no place.

    >>> check_skips(("blocks", "align"), n_blocks=4)
    """
    for name in skips:
        check("skips", name, OneOf(*SKIPS))
    if "blocks" in skips and not n_blocks:
        raise InputError(
            f"skips is {list(skips)} but there are no blocks; expected blocks to add to: pass --set decoder.mixer=residual, or "
            "--set 'decoder.skips=[\"align\"]'."
        )


def _paths(n_voxels, widths, rank, alpha, init):
    return nn.ModuleDict({place: SkipLora(n_voxels, width, rank, alpha, init) for place, width in widths.items()})
