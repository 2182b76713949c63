"""Pictures to the codes of a vector-quantised autoencoder, and back: MaskGIT's, or one in diffusers' layout."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.checkpoints.strict_loading import load_strictly, read_json_object
from stages.networks.latent_space import CodebookLatentSpace
from stages.networks.maskgit_vqgan import ARCHITECTURE, MaskGITVQGAN

VQ_FOLDER = "vq"
"""Of a checkpoint with a network over tokens, the folder of their tokeniser."""


class MaskGITTokenizer:
    """MaskGIT's VQGAN as a tokeniser.

    Parameters
    ----------
    network : stages.networks.maskgit_vqgan.MaskGITVQGAN

    Attributes
    ----------
    size : int
        Pixels on a side.
    side : int
        Codes on a side of the grid.
    n_codes : int
    device : torch.device
    """

    def __init__(self, network):
        self.network, self.size, self.side = network, network.config.size, network.config.side
        self.n_codes = network.config.n_codes

    @property
    def device(self):
        return self.network.quantizer.embedding.weight.device

    def encode(self, pixels):
        """Codes of pictures (n, 3, size, size), 0 to 1: whole numbers (n, side * side), row by row. One picture at a time."""
        return torch.cat([self._encoded(picture[None]).flatten(1) for picture in pixels])

    def encode_together(self, pixels):
        """As `encode`, all pictures in one batch: faster, and now and then another code where two are as near."""
        return self._encoded(pixels).flatten(1)

    def decode(self, codes):
        """Pictures of codes (n, side * side): (n, 3, size, size), 0 to 1 and a little beyond. One picture at a time."""
        grid = codes.unflatten(1, (self.side, self.side))
        return torch.cat([self._decoded(picture[None]) for picture in grid])

    def _encoded(self, pixels):
        return self.network.encode(pixels)

    def _decoded(self, grid):
        return self.network.decode(grid)


class DiffusersTokenizer(MaskGITTokenizer):
    """diffusers' ``VQModel`` as a tokeniser, as latent diffusion's VQ-f4 is.

    Parameters
    ----------
    network : diffusers.VQModel
    """

    def __init__(self, network):
        config = network.config
        self.network, self.size = network, config.sample_size
        self.side = self.size // 2 ** (len(config.block_out_channels) - 1)
        self.n_codes = config.num_vq_embeddings

    @property
    def device(self):
        return self.network.quantize.embedding.weight.device

    def _encoded(self, pixels):
        space = CodebookLatentSpace(self.network, alone=False)
        return space.codes(space.encode(2 * pixels - 1))

    def _decoded(self, grid):
        return (CodebookLatentSpace(self.network).decode_codes(grid) + 1) / 2


def load_tokenizer(folder, device="cpu"):
    """Load a tokeniser, in float32, for encoding and decoding.

    Parameters
    ----------
    folder : path
        With `config.json` and weights, of MaskGIT's or of diffusers' network, or with such a folder called "vq" or "vae".
    device : str or torch.device

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or tensors are missing, unexpected or misshapen.
    """
    folder = Path(folder)
    folder = next((folder / name for name in (VQ_FOLDER, "vae") if (folder / name).is_dir()), folder)
    if read_json_object(folder / "config.json", ARCHITECTURE).get("architecture") == ARCHITECTURE:
        return MaskGITTokenizer(MaskGITVQGAN.from_pretrained(folder, device))
    from diffusers import VQModel

    network = load_strictly(VQModel, folder, torch.float32).to(device).requires_grad_(False)
    return DiffusersTokenizer(network.eval())
