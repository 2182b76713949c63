"""The empty text in a diffusion model's own text space, from the text encoders of its folder.

For Stable Diffusion the tokens of its one encoder; for Stable Diffusion XL those of both encoders, side by side, and the
second encoder's pooled state (see `stages.networks.diffusion_text_encoder`).
"""

from pathlib import Path

import torch

from stages.checkpoints.transformers_loading import load_transformers_strictly
from stages.generators.diffusion.unconditional_embedding import stored_embedding
from stages.networks.diffusion_text_encoder import encode_texts, load_tokenizer
from weights.manifest import CheckpointError


def stored_empty_text(folder, width):
    """Return the empty text of a Stable Diffusion folder, (tokens, `width`), encoded once; see `stored_embedding`."""
    return stored_embedding(folder, "empty text", (None, width), lambda: encode_empty_text(folder))


def encode_empty_text(folder):
    """Encode the empty text by the one encoder of a Stable Diffusion folder.

    Parameters
    ----------
    folder : path
        Holds ``tokenizer/`` and ``text_encoder/``.

    Returns
    -------
    embedding : float32 tensor of shape (tokens, width)

    Raises
    ------
    CheckpointError
        A part is absent or damaged, tensors are missing, unexpected or misshapen, or the tokenizer is another encoder's.
    """
    from transformers import CLIPTextModel

    tokens, _ = _encode(folder, "", CLIPTextModel)
    return tokens


def encode_empty_text_xl(folder):
    """Encode the empty text by both encoders of a Stable Diffusion XL folder.

    Parameters
    ----------
    folder : path
        Holds ``tokenizer/``, ``text_encoder/``, ``tokenizer_2/`` and ``text_encoder_2/``.

    Returns
    -------
    embedding : float32 tensor of shape (tokens · width + pooled_width,)
        The tokens, one after the other, then the pooled state.

    Raises
    ------
    CheckpointError
        As `encode_empty_text`; or the encoders have different numbers of tokens.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first, _ = _encode(folder, "", CLIPTextModel, penultimate=True)
    tokens, pooled = _encode(folder, "_2", CLIPTextModelWithProjection, penultimate=True)
    if len(first) != len(tokens):
        raise CheckpointError(
            f"The tokenizers in {folder} give {len(first)} and {len(tokens)} tokens, but both encoders' must be as "
            "many; fetch the checkpoint again."
        )
    return torch.cat([torch.cat([first, tokens], dim=-1).flatten(), pooled])


@torch.no_grad()
def _encode(folder, suffix, model_class, penultimate=False):
    """Tokens (n_tokens, width) and pooled state, or None, of the encoder whose folders end in `suffix`."""
    tokenizer_folder, encoder_folder = (Path(folder) / (part + suffix) for part in ("tokenizer", "text_encoder"))
    for part, names in ((tokenizer_folder, ("vocab.json", "tokenizer.json")), (encoder_folder, ("config.json",))):
        if not any((part / name).is_file() for name in names):
            raise CheckpointError(
                f"{part} holds no {' or '.join(names)}, which encodes the empty text for guidance; fetch that part "
                "too; it is read once, for unconditional_contexts/."
            )
    encoder = load_transformers_strictly(model_class, encoder_folder)
    tokenizer = load_tokenizer(tokenizer_folder, encoder.config)
    tokens, pooled = encode_texts(encoder, tokenizer, [""], penultimate)
    return tokens[0], None if pooled is None else pooled[0]
