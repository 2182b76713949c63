"""The states of GIT's vision transformer: a picture as GIT's language model is given it, before the projection to its width.

MindEye2 (Scotti et al. 2024) turns decoded embeddings into these states and lets GIT write a caption from them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.git import load_git, states_shape
from stages.targets.blip import MEAN, STD


class GITStates:
    """States of a picture's class token and patches behind the last layer norm: 257 x 1024 of git-large-coco.

    >>> from transformers import GitConfig, GitForCausalLM, GitVisionConfig
    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> vision = GitVisionConfig(**sizes, image_size=32, patch_size=16)
    >>> network = GitForCausalLM(GitConfig(vision_config=vision, **sizes, vocab_size=120)).eval()
    >>> target = GITStates(network)
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape, target.shape
    ((2, 40), (5, 8))

    Parameters
    ----------
    network : transformers.GitForCausalLM
        In evaluation mode; its vision transformer alone is kept.
    """

    name = "git"
    takes = "images"

    def __init__(self, network):
        self.network, self.shape = network.git.image_encoder, states_shape(network.config)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load the vision transformer of a folder of `stages.networks.git.load_git`, in float32.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the network is another.
        """
        target = cls(load_git(folder))
        target.network.to(device)
        return target

    @property
    def size(self):
        """Side of the pictures in pixels that the network sees."""
        return self.network.config.image_size

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "resize": f"shorter side to {self.size}, the middle cut out",
            "interpolation": "bicubic, antialiased, 8 bit",
            "mean": list(MEAN),
            "std": list(STD),
            "states": "class token and patches, behind the last layer norm",
        }

    @torch.inference_mode()
    def encode(self, items, batch_size=8):
        """Look at pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; of a picture that is no square the middle is seen.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        states : array of shape (n, n_targets), float32
            State by state, the class token's first.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        device = self.network.vision_model.embeddings.class_embedding.device
        mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (MEAN, STD))
        states = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = np.stack([self._middle(one) for one in uint8_pictures(items[start : start + batch_size], "GIT")])
            pictures = torch.from_numpy(part).to(device).permute(0, 3, 1, 2) / 255
            found = self.network((pictures - mean) / std).last_hidden_state
            states[start : start + len(part)] = found.flatten(1).cpu().numpy()
        return states

    def _middle(self, image):
        """A picture whose shorter side is the network's, cut to a square."""
        picture, side = Image.fromarray(image), self.size
        width, height = (int(side * length / min(picture.size)) for length in picture.size)
        left, top = (width - side) // 2, (height - side) // 2
        resized = picture.resize((width, height), Image.Resampling.BICUBIC)
        # Copied: torch warns of a read-only array.
        return np.array(resized.crop((left, top, left + side, top + side)))
