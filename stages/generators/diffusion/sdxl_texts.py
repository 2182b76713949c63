"""Both text encoders of Stable Diffusion XL and their tokenizers, from one file or from diffusers' folders."""

from pathlib import Path

import torch

from stages.checkpoints.single_file import SingleFile, is_single_file
from stages.checkpoints.single_file_names import (
    AUTOENCODER,
    CONDITIONER,
    UNET,
    first_text_places,
    second_text_places,
)
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.checkpoints.transformers_loading import load_transformers_strictly
from stages.generators.diffusion.single_file_model import SIGMAS
from stages.networks.diffusion_text_encoder import encode_texts, load_tokenizer

# What a single file holds besides: numbers 0, 1, 2 and so on of older releases, and the temperature of a contrast.
_SPARE = (
    UNET,
    AUTOENCODER,
    SIGMAS,
    f"{CONDITIONER}embedders.0.transformer.text_model.embeddings.position_ids",
    f"{CONDITIONER}embedders.1.model.logit_scale",
)
# What stands behind a text in each tokenizer: the end token again, and a token of number 0.
_PADDING = ("<|endoftext|>", "!")


def load_sdxl_texts(folder, dtype=torch.float32):
    """Load encoders and tokenizers, every tensor accounted for.

    >>> from weights import store
    >>> encoders, tokenizers = load_sdxl_texts(store.path("tiny-sdxl"))
    >>> [encoder.config.hidden_size for encoder in encoders], tokenizers[0].model_max_length
    ([128, 128], 24)

    Parameters
    ----------
    folder : path
        Holds ``text_encoder/config.json`` and ``text_encoder_2/config.json`` of transformers, and one safetensors file with
        ``conditioner.*``; or transformers' files of weights beside the configurations. Tokenizers lie in ``tokenizer/`` and
        ``tokenizer_2/``; a single file may do without, and is then read with CLIP's own words, which open_clip brings along.
    dtype : torch.dtype

    Returns
    -------
    encoders : tuple of transformers.CLIPTextModel and CLIPTextModelWithProjection
    tokenizers : tuple of two transformers.CLIPTokenizer

    Raises
    ------
    CheckpointError
        A file is absent or damaged, tensors are missing, unexpected or misshapen, or a tokenizer is another encoder's.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    folder, classes = Path(folder), (CLIPTextModel, CLIPTextModelWithProjection)
    if is_single_file(folder):
        encoders = _from_single_file(folder, classes, dtype)
    else:
        encoders = tuple(
            load_transformers_strictly(each, folder / f"text_encoder{ending}").to(dtype)
            for each, ending in zip(classes, ("", "_2"))
        )
    tokenizers = []
    for encoder, ending, padding in zip(encoders, ("", "_2"), _PADDING):
        given = folder / f"tokenizer{ending}"
        bundled = is_single_file(folder) and not given.is_dir()
        tokenizers.append(clip_tokenizer(padding) if bundled else load_tokenizer(given, encoder.config))
    return encoders, tuple(tokenizers)


def clip_tokenizer(padding="<|endoftext|>"):
    """Build CLIP's tokenizer from the words that open_clip brings along.

    >>> clip_tokenizer()(["a photo of a cat"]).input_ids
    [[49406, 320, 1125, 539, 320, 2368, 49407]]

    Parameters
    ----------
    padding : str
        What stands behind a text.

    Returns
    -------
    tokenizer : transformers.CLIPTokenizer
        Of 77 tokens.
    """
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    words = SimpleTokenizer()
    # open_clip spells both ends otherwise; their numbers are the same.
    spelled = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {spelled.get(word, word): number for word, number in words.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=list(words.bpe_ranks), pad_token=padding, model_max_length=77)


def encode_sdxl_text(encoders, tokenizers, text):
    """Encode a text as Stable Diffusion XL reads it: hidden states before the last block of both encoders, side by side.

    >>> from weights import store
    >>> tokens, pooled = encode_sdxl_text(*load_sdxl_texts(store.path("tiny-sdxl")), "a red car")
    >>> tokens.shape, pooled.shape
    (torch.Size([24, 256]), torch.Size([64]))

    Parameters
    ----------
    encoders, tokenizers : tuple of two
    text : str

    Returns
    -------
    tokens : tensor of shape (n_tokens, width), 77 x 2048
    pooled : tensor of shape (pooled_width,), 1280
        The second encoder's projected state of the end token.
    """
    first, _ = encode_texts(encoders[0], tokenizers[0], [text], penultimate=True)
    second, pooled = encode_texts(encoders[1], tokenizers[1], [text], penultimate=True)
    return torch.cat([first, second], dim=-1)[0], pooled[0]


def _from_single_file(folder, classes, dtype):
    file, encoders = SingleFile(folder), []
    for each, ending, places in zip(classes, ("", "_2"), (first_text_places, second_text_places)):
        path = folder / f"text_encoder{ending}" / "config.json"
        config = read_json_object(path, each.__name__)
        with refusing_values(each.__name__, path), torch.device("meta"):
            network = each(each.config_class.from_dict(config))
        file.fill(network, places(network.state_dict()), dtype)
        _number_places(network)
        encoders.append(network)
    file.check_all_read(_SPARE)
    return tuple(encoders)


def _number_places(network):
    """Number the places of a text anew: these are no weights, and an outline has no values."""
    for module in network.modules():
        if "position_ids" in module._buffers:
            module.position_ids = torch.arange(module.position_ids.shape[-1])[None]
