"""The empty text in a diffusion model's own text space, from the text encoders of its folder.

As diffusers' pipelines compute it: for Stable Diffusion the last hidden state, after the final layer norm and
unprojected; for Stable Diffusion XL the last hidden state but one of both encoders, side by side, and the second
encoder's projected pooled state.
"""

from pathlib import Path

import torch

from stages.networks.transformers_loading import load_transformers_strictly, refusing_folder
from weights.store import CheckpointError


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
        A part is absent or damaged, or tensors are missing, unexpected or misshapen.
    """
    from transformers import CLIPTextModel

    return _encode(folder, "", CLIPTextModel).last_hidden_state[0]


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

    first = _encode(folder, "", CLIPTextModel, xl=True).hidden_states[-2][0]
    second = _encode(folder, "_2", CLIPTextModelWithProjection, xl=True)
    tokens = second.hidden_states[-2][0]
    if len(first) != len(tokens):
        raise CheckpointError(
            f"The tokenizers in {folder} give {len(first)} and {len(tokens)} tokens, but both encoders' must be as "
            "many; fetch the checkpoint again."
        )
    return torch.cat([torch.cat([first, tokens], dim=-1).flatten(), second.text_embeds[0]])


@torch.no_grad()
def _encode(folder, suffix, model_class, xl=False):
    from transformers import CLIPTokenizer

    tokenizer_folder, encoder_folder = (Path(folder) / (part + suffix) for part in ("tokenizer", "text_encoder"))
    for part, names in ((tokenizer_folder, ("vocab.json", "tokenizer.json")), (encoder_folder, ("config.json",))):
        if not any((part / name).is_file() for name in names):
            raise CheckpointError(
                f"{part} holds no {' or '.join(names)}, which encodes the empty text for guidance; fetch that part "
                "too; it is read once, for unconditional_contexts/."
            )
    with refusing_folder(tokenizer_folder, "CLIPTokenizer"):
        tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    encoder = load_transformers_strictly(model_class, encoder_folder)
    written = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    # As the pipelines do: padding is attended to unless the encoder's configuration says otherwise.
    masked = getattr(encoder.config, "use_attention_mask", False) and not xl
    mask = written.attention_mask if masked else None
    return encoder(written.input_ids, attention_mask=mask, output_hidden_states=True)
