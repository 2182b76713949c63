"""Captions as the last states of an open_clip text tower.

Stable Diffusion 2 reads the states before the last block of OpenCLIP ViT-H/14's text tower, behind its last layer norm, and its
own text encoder is that tower without the last block (`stages.targets.diffusion_text`). NeuroPictor (Huo et al., ECCV 2024)
holds its tokens to the states behind the last block instead.
"""

from __future__ import annotations

from stages.targets.caption_target import CaptionTarget
from stages.targets.open_clip_target import OpenCLIPTarget


class CLIPTextStates(CaptionTarget, OpenCLIPTarget):
    """States of the text tower's tokens behind its last block and layer norm, not projected, averaged over captions.

    >>> from weights import store
    >>> target = CLIPTextStates.from_pretrained(store.path("tiny-clip"))
    >>> target.encode([["a red circle", "a round thing"], ["a blue square"]]).shape, target.shape
    ((2, 3072), (24, 128))

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `stages.targets.open_clip_target.OpenCLIPTarget`.
    """

    name = "clip_text_states"

    @property
    def shape(self):
        """Tokens and values per token, (77, 1024) for ViT-H/14."""
        text = self.model.text
        return (text.context_length, text.ln_final.normalized_shape[0])

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        return {
            "context_length": self.model.text.context_length,
            "tokens": "states behind the last block and layer norm",
            "captions": "mean over those that are not empty",
        }

    def _encode(self, captions):
        _, tokens = self.model.text(self._text_numbers(captions).to(self.device))
        return tokens
