"""Captions in a diffusion model's own text space: what its UNet was trained to attend to.

Stable Diffusion 1.5 reads the last hidden states of CLIP ViT-L/14's text tower, after its last layer norm and before
any projection, 77 x 768; Stable unCLIP and Stable Diffusion 2.1 the same of a tower of 1024, whose last block was cut
off. Stable Diffusion XL reads the hidden states before the last block of two towers side by side, 77 x (768 + 1280),
and besides them the second tower's pooled and projected embedding, 1280. None of these is the space of
`stages.targets.clip.CLIPTextTokens`.
"""

import math
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from stages.checkpoints.strict_loading import read_json_object
from stages.checkpoints.transformers_loading import load_transformers_strictly
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.diffusion_text_encoder import encode_texts, load_tokenizer
from stages.targets.caption_target import CaptionTarget
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError

WEIGHTS_FILE = "model.safetensors"


class DiffusionTextTokens(CaptionTarget):
    """What the text encoders of a diffusion model make of captions, averaged over the captions of a stimulus.

    A row holds the tokens, the last axis of `token_shape` fastest, then the pooled embedding where there is one.

    Parameters
    ----------
    encoders : list of one or two transformers.CLIPTextModel or CLIPTextModelWithProjection
        In evaluation mode, float32.
    tokenizers : list of as many transformers.CLIPTokenizer
    penultimate : bool
        Stable Diffusion XL's recipe: hidden states before the last block, and the last encoder's pooled embedding.
    length : int, optional
        Tokens of a caption, with its beginning and its end: longer captions are cut. By default the tokenizers' own, 77.
    """

    name = "diffusion_text"

    def __init__(self, encoders, tokenizers, penultimate=False, length=None):
        self.encoders = encoders
        self.tokenizers = tokenizers
        self.penultimate = penultimate
        most = tokenizers[0].model_max_length
        self.length = check("length", most if length is None else length, Number(2, most, whole=True, example=most))

    @classmethod
    def from_pretrained(cls, folder, device="cpu", length=None):
        """Load the text encoders of a generator's folder in diffusers' layout; computed in float32.

        Parameters
        ----------
        folder : path
            Holds ``text_encoder`` and ``tokenizer``, and for Stable Diffusion XL ``text_encoder_2`` and
            ``tokenizer_2`` as well. Nothing is looked for elsewhere.
        device : str or torch.device
        length : int, optional
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged; tensors are missing, unexpected or misshapen; an encoder is none of CLIP's;
            or a tokenizer writes numbers or lengths that its encoder does not know.
        """
        folder = Path(folder)
        endings = [ending for ending in ("", "_2") if (folder / f"text_encoder{ending}").is_dir()]
        if not endings or (folder / "text_encoder_3").is_dir():
            found = ", ".join(sorted(path.name for path in folder.glob("text_encoder*"))) or "no text_encoder"
            raise CheckpointError(
                f"{folder} has {found}; expected text_encoder, text_encoder_2 or both, as Stable Diffusion and Stable "
                "Diffusion XL have them. Give such a generator's folder."
            )
        encoders = [_load_encoder(folder / f"text_encoder{ending}").to(device) for ending in endings]
        tokenizers = [
            load_tokenizer(folder / f"tokenizer{ending}", encoder.config) for ending, encoder in zip(endings, encoders)
        ]
        penultimate = "_2" in endings
        if penultimate and not isinstance(encoders[-1], CLIPTextModelWithProjection):
            raise CheckpointError(
                f"{folder / 'text_encoder_2'} holds no text_projection, but Stable Diffusion XL takes the projected "
                "embedding of its second encoder; fetch or export the checkpoint again."
            )
        return cls(encoders, tokenizers, penultimate, length)

    @property
    def token_shape(self):
        """Tokens and values per token, (77, 768) for Stable Diffusion 1.5."""
        return (self.length, sum(encoder.config.hidden_size for encoder in self.encoders))

    @property
    def pooled_width(self):
        """Values of the pooled embedding, 1280 for Stable Diffusion XL; 0 if there is none."""
        return self.encoders[-1].config.projection_dim if self.penultimate else 0

    @property
    def shape(self):
        """The tokens' shape; one axis where a pooled embedding follows them, see `split`."""
        return (self.n_targets,) if self.pooled_width else self.token_shape

    @property
    def n_targets(self):
        """Values per stimulus."""
        return math.prod(self.token_shape) + self.pooled_width

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        return {
            "context_length": self.token_shape[0],
            "tokens": "hidden states before the last block" if self.penultimate else "last hidden states",
            "encoders": [encoder.config.hidden_size for encoder in self.encoders],
            "pooled": self.pooled_width,
            "captions": "mean over those that are not empty",
        }

    def split(self, values):
        """Cut rows of this target into what a generator takes.

        Parameters
        ----------
        values : array of shape (n, n_targets)

        Returns
        -------
        tokens : array of shape (n, n_tokens, width)
        pooled : array of shape (n, pooled_width), or None

        Raises
        ------
        InputError
            Rows have another length.
        """
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != self.n_targets:
            raise InputError(
                f"Text tokens have shape {values.shape} but this generator's are (n, {self.n_targets}); pass values "
                "that this target encoded, or a decoder that was fitted on them."
            )
        end = math.prod(self.token_shape)
        tokens = values[:, :end].reshape(-1, *self.token_shape)
        return tokens, values[:, end:] if self.pooled_width else None

    def _encode(self, captions):
        found = [
            encode_texts(encoder, tokenizer, captions, self.penultimate, self.length)
            for encoder, tokenizer in zip(self.encoders, self.tokenizers)
        ]
        values = torch.cat([tokens for tokens, _ in found], dim=-1).flatten(1)
        _, pooled = found[-1]
        return torch.cat([values, pooled], dim=1) if self.penultimate else values


def _load_encoder(folder):
    """A text tower with every tensor accounted for, float32, on the CPU."""
    entries = read_json_object(folder / "config.json", "text encoder")
    if entries.get("model_type", "clip_text_model") != "clip_text_model":
        raise CheckpointError(
            f"{folder / 'config.json'} describes a {entries['model_type']}, but one of CLIP's text encoders was "
            "expected; give the folder of a generator that has one."
        )
    if not (folder / WEIGHTS_FILE).is_file():
        raise CheckpointError(
            f"{folder / WEIGHTS_FILE} is absent; pickled weights are not read here, so convert a .bin to safetensors "
            "first (`brainrecon weights pull` does)."
        )
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
            projected = "text_projection.weight" in file.keys()
    except SafetensorError as error:
        told = why_no_tensors(folder / WEIGHTS_FILE, error)
        raise CheckpointError(
            f"{folder / WEIGHTS_FILE} cannot be read ({told}); fetch or export the checkpoint again."
        ) from None
    model_class = CLIPTextModelWithProjection if projected else CLIPTextModel
    return load_transformers_strictly(model_class, folder).requires_grad_(False)
