"""The image tower of CLIP on pictures that are already prepared, for judging pictures as published evaluations do.

Protocols differ in how they resize pictures before CLIP, so its own preprocessing stays out of this.
"""

from pathlib import Path

import numpy as np
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

from stages.checkpoints.open_clip_folder import CONFIG_FILE, load_open_clip
from stages.checkpoints.published_weights import put_weights
from stages.ground.errors import InputError
from stages.networks.frozen_backbones import check_prepared
from weights.conversion import read_tensors
from weights.manifest import CheckpointError

_PICTURES_AT_A_TIME = 16
_WIDTH_PER_HEAD = 64


class CLIPVisual:
    """The final image embedding of CLIP, projected, of whatever length it comes out with.

    Parameters
    ----------
    visual : open_clip.transformer.VisionTransformer
        In evaluation mode.
    """

    layers = ("image_embedding",)

    def __init__(self, visual):
        self.visual = visual

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load the image tower in float32.

        Parameters
        ----------
        folder : path
            Holds OpenAI's file (one `.pt`), or an open_clip model: ``open_clip_config.json`` and its safetensors.
        device : str or torch.device

        Returns
        -------
        network : CLIPVisual

        Raises
        ------
        CheckpointError
            The folder holds neither, or a file is damaged or of another family.
        """
        folder = Path(folder)
        archives = sorted(folder.glob("*.pt"))
        if len(archives) > 1 or not (archives or (folder / CONFIG_FILE).is_file()):
            raise CheckpointError(
                f"{folder} holds {len(archives)} .pt files and no {CONFIG_FILE} to go by; expected OpenAI's file of one "
                "CLIP model, or an open_clip model's folder. Leave one there."
            )
        # OpenAI's file first: it is the one whose hash is known.
        if archives:
            return cls(_visual_of_archive(archives[0]).to(device))
        visual = load_open_clip(folder)[0].visual
        visual.output_tokens = False
        return cls(visual.to(device))

    @torch.inference_mode()
    def embed(self, batch):
        """Embed pictures.

        Parameters
        ----------
        batch : float32 array or tensor of shape (n, 3, size, size)
            Resized to the model's size and normalised with CLIP's mean and std.

        Returns
        -------
        embeddings : float32 array of shape (n, embed_dim)
            Not of unit length.

        Raises
        ------
        InputError
            `batch` has another shape or type.
        """
        batch = check_prepared(batch, "CLIP's image tower")
        if tuple(batch.shape[2:]) != tuple(self.visual.image_size):
            raise InputError(
                f"Pictures are {batch.shape[2]} x {batch.shape[3]} pixels, but this CLIP was built for "
                f"{self.visual.image_size[0]} x {self.visual.image_size[1]}. Say so in the protocol's resize."
            )
        device = self.visual.proj.device
        embeddings = np.empty((len(batch), self.visual.output_dim), dtype=np.float32)
        for start in range(0, len(batch), _PICTURES_AT_A_TIME):
            part = slice(start, start + _PICTURES_AT_A_TIME)
            embeddings[part] = self.visual(batch[part].to(device)).cpu().numpy()
        return embeddings


def _visual_of_archive(path):
    """The image tower in OpenAI's file, which is a TorchScript archive of the whole model in half precision."""
    tensors = read_tensors(path)
    tensors = {name.removeprefix("visual."): value for name, value in tensors.items() if name.startswith("visual.")}
    try:
        width, _, patch, _ = tensors["conv1.weight"].shape
        grid = round((len(tensors["positional_embedding"]) - 1) ** 0.5)
        n_blocks = len({name.split(".")[2] for name in tensors if name.startswith("transformer.resblocks.")})
        output_dim = tensors["proj"].shape[1]
    except (LookupError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds no vision transformer of CLIP (looking for {error}); put OpenAI's file of such a model there."
        ) from None
    with torch.device("meta"):
        visual = VisionTransformer(
            image_size=grid * patch,
            patch_size=patch,
            width=width,
            layers=n_blocks,
            heads=width // _WIDTH_PER_HEAD,
            mlp_ratio=4.0,
            output_dim=output_dim,
            act_layer=QuickGELU,
        )
    return put_weights(visual, tensors, "CLIP's image tower", path)
