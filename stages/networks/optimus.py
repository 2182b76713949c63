"""Optimus (Li et al. 2020, "Organizing sentences via pre-trained modeling of a latent space"), as Versatile Diffusion has it.

A variational autoencoder of sentences. BERT's pooled state of a sentence gives, by one matrix, the mean and the logarithm of the
variance of a latent of 768 values; `stages.networks.optimus_decoder` writes a sentence from it. Versatile Diffusion (Xu et al.
2023) takes the mean as the latent, unscaled.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertModel

from stages.checkpoints.outlines import outlining
from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.networks.optimus_decoder import OptimusDecoder
from weights.manifest import CheckpointError

PAD, BOS, EOS = "<PAD>", "<BOS>", "<EOS>"
"""What Optimus adds to GPT-2's vocabulary, in the order of their numbers."""
# Numbers 0, 1, 2 and so on, and which tokens come before which: both follow from the sizes.
_BUFFERS = (".position_ids", ".attn.bias", ".attn.masked_bias")
_OUTPUT, _INPUT = "decoder.lm_head.weight", "decoder.transformer.wte.weight"


class OptimusEncoder(BertModel):
    """BERT, and the matrix to a latent's mean and the logarithm of its variance.

    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    >>> encoder = OptimusEncoder(BertConfig(vocab_size=12, **sizes), latent=6).eval()
    >>> mean, logvar = encoder.posterior(torch.tensor([[2, 7, 3, 0], [2, 7, 9, 3]]))
    >>> mean.shape, logvar.shape
    (torch.Size([2, 6]), torch.Size([2, 6]))

    Parameters
    ----------
    config : transformers.BertConfig
    latent : int
    """

    def __init__(self, config, latent=768):
        super().__init__(config)
        self.linear = nn.Linear(config.hidden_size, 2 * latent, bias=False)

    def posterior(self, tokens):
        """Return mean and logarithm of the variance, (n, latent) each, of sentences (n, n_tokens) that end in zeros."""
        # Given, so that nothing of them is read that is no tensor of the file.
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        states = self(
            input_ids=tokens,
            # An outline has no values to look at.
            attention_mask=None if tokens.is_meta else (tokens > 0).long(),
            token_type_ids=torch.zeros_like(tokens),
            position_ids=positions,
        )
        mean, logvar = self.linear(states.pooler_output).chunk(2, dim=-1)
        return mean, logvar


class Optimus(nn.Module):
    """Both halves.

    >>> with torch.device("meta"):
    ...     network = Optimus()
    >>> f"{sum(each.numel() for each in network.parameters()):,} parameters"
    '280,199,424 parameters'

    Parameters
    ----------
    latent : int
    encoder : dict
        What is set in a transformers.BertConfig; by default bert-base-cased's.
    decoder : dict
        What `OptimusDecoder` takes, but for `latent`.
    """

    def __init__(self, latent=768, encoder=None, decoder=None):
        super().__init__()
        self.latent = latent
        self.encoder = OptimusEncoder(BertConfig(**{"vocab_size": 28996} | (encoder or {})), latent)
        self.decoder = OptimusDecoder(latent=latent, **(decoder or {}))


def load_optimus(folder):
    """Load Optimus with every tensor accounted for.

    >>> network = load_optimus(store.path("optimus"))  # doctest: +SKIP

    Parameters
    ----------
    folder : path
        Holds ``config.json``, with `latent`, `encoder` and `decoder` as `Optimus` takes them, and ``model.safetensors`` under
        the names of Versatile Diffusion's ``optimus-vae.pth``.

    Returns
    -------
    network : Optimus
        In float32, in evaluation mode, on the CPU, without gradients.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen; the message names it.
    """
    path = Path(folder) / CONFIG_FILE
    config = read_json_object(path, "Optimus")
    if config.pop("model_type", None) != "optimus":
        raise CheckpointError(f"{path} describes no Optimus (model_type 'optimus'); give the folder of an Optimus.")
    with refusing_values("Optimus", path), torch.device("meta"):
        network = Optimus(**config)
    stored = read_network_tensors(folder)
    tensors = {name: value for name, value in stored.items() if not name.endswith(_BUFFERS)}
    if _INPUT in tensors:
        # One tensor in the authors' program; a file may hold it once.
        tensors.setdefault(_OUTPUT, tensors[_INPUT])
    network = fill_network(network, tensors, folder).requires_grad_(False)
    if not outlining():
        # They are no tensors of the file, so that they are still outlines; what they say is given with every call.
        embeddings = network.encoder.embeddings
        for name, buffer in list(embeddings.named_buffers(recurse=False)):
            setattr(embeddings, name, torch.zeros(buffer.shape, dtype=buffer.dtype))
    return network
