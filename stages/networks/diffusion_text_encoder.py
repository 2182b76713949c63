"""What a diffusion model's UNet reads of a text: the states of its CLIP text encoders, as diffusers' pipelines take them.

Captions and the empty text must come from one recipe: generators mix the two, and guidance sets one against the other.
"""

from stages.checkpoints.transformers_loading import load_clip_tokenizer
from weights.manifest import CheckpointError


def load_tokenizer(folder, config):
    """Load the tokenizer of a text encoder.

    Parameters
    ----------
    folder : path
        See `load_clip_tokenizer`.
    config : transformers.CLIPTextConfig
        The encoder's.

    Returns
    -------
    tokenizer : transformers.CLIPTokenizer

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or the tokenizer writes numbers or lengths that the encoder does not know.
    """
    tokenizer = load_clip_tokenizer(folder)
    length, largest = tokenizer.model_max_length, max(tokenizer.get_vocab().values())
    if length != config.max_position_embeddings or largest >= config.vocab_size:
        raise CheckpointError(
            f"The tokenizer in {folder} writes {length:,} numbers up to {largest:,}, but its text encoder reads "
            f"{config.max_position_embeddings} below {config.vocab_size:,}; restore the two that belong together."
        )
    return tokenizer


def encode_texts(encoder, tokenizer, texts, penultimate=False, length=None):
    """Encode texts by one encoder.

    Parameters
    ----------
    encoder : transformers.CLIPTextModel or CLIPTextModelWithProjection
    tokenizer : transformers.CLIPTokenizer
        Its ``model_max_length`` is the number of tokens; texts are filled up or cut to it.
    texts : list of str
    penultimate : bool
        Whether the tokens are those of Stable Diffusion XL: the hidden states before the last block. Otherwise they are
        the last hidden states, after the last layer norm.
    length : int, optional
        Number of tokens in place of the tokenizer's own.

    Returns
    -------
    tokens : tensor of shape (n, n_tokens, width)
        Unprojected, on the encoder's device.
    pooled : tensor of shape (n, pooled_width), or None
        The projected state of the end token, of an encoder with a projection.
    """
    written = tokenizer(
        texts,
        padding="max_length",
        max_length=length or tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).to(encoder.device)
    # As the pipelines do: padding is attended to unless the encoder's configuration says otherwise.
    masked = not penultimate and getattr(encoder.config, "use_attention_mask", False)
    mask = written.attention_mask if masked else None
    found = encoder(written.input_ids, attention_mask=mask, output_hidden_states=penultimate)
    tokens = found.hidden_states[-2] if penultimate else found.last_hidden_state
    return tokens, getattr(found, "text_embeds", None)
