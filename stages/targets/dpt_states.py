"""Hidden states of a network of depth as targets, one for each of the four levels that its depth is read from.

Takagi and Nishimoto (arXiv 2306.11536) predict each of them from brain activity and let the network's own second half read the
depth from the four predictions (`stages.networks.dpt_depth.read_depth`).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.checkpoints.strict_loading import read_json_object
from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.dpt_depth import hidden_levels, level_shape, load_dpt_level
from weights.manifest import CheckpointError

PREPARATION_FILE = "preprocessor_config.json"
LEVELS = (0, 1, 2, 3)
_FIRST_SIZE = 512


class DPTLevel:
    """Hidden states of one level: 577 x 1024 of Intel/dpt-large, 590,848 values a picture.

    >>> import numpy as np
    >>> from stages.networks.dpt_depth import DPTForDepthEstimation, small_config
    >>> preparation = {"size": 8, "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    >>> target = DPTLevel(DPTForDepthEstimation(small_config()).eval(), preparation, level=3)
    >>> target.name, target.shape, target.n_targets
    ('dpt_3', (5, 8), 40)
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 40)

    Parameters
    ----------
    network : transformers.DPTForDepthEstimation
        In evaluation mode. Its last level is the one that is computed; see `stages.networks.dpt_depth.load_dpt_level`.
    preparation : dict
        Side of the network's pictures (``size``), Pillow's number of the interpolation (``resample``), ``image_mean`` and
        ``image_std``.
    level : int
        0 to 3.

    Attributes
    ----------
    name : str
        "dpt_0" to "dpt_3".
    """

    takes = "images"

    def __init__(self, network, preparation, level):
        self.network, self.level = network, check("level", level, OneOf(*LEVELS))
        self.name = f"dpt_{level}"
        self.size, self._resample = preparation["size"], Image.Resampling(preparation["resample"])
        self._mean, self._std = preparation["image_mean"], preparation["image_std"]

    @classmethod
    def from_pretrained(cls, folder, level, device="cpu"):
        """Load the blocks up to one level, in float32.

        Parameters
        ----------
        folder : path
            Holds ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``. Nothing is looked for elsewhere.
        level : int
            0 to 3.
        device : str or torch.device

        Raises
        ------
        CheckpointError
            A file is absent or damaged, a tensor missing, unexpected or misshapen, or the network is another.
        InputError
            There is no such level.
        """
        check("level", level, OneOf(*LEVELS))
        network = load_dpt_level(folder, level, device)
        return cls(network, read_preparation(folder, network.config.image_size), level)

    @property
    def shape(self):
        """(tokens, values of each); the class token comes first."""
        return level_shape(self.network.config)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "first": {"resize": [_FIRST_SIZE, _FIRST_SIZE], "interpolation": "lanczos, antialiased, 8 bit"},
            "resize": [self.size, self.size],
            "interpolation": f"{self._resample.name.lower()}, antialiased, 8 bit",
            "mean": list(self._mean),
            "std": list(self._std),
            "states": f"behind block {self.network.config.backbone_out_indices[-1]}, counted from 0, without a layer norm",
        }

    @torch.inference_mode()
    def encode(self, items, batch_size=8):
        """Look at pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; as published, they are brought to 512 x 512 first, and from there to the network's own size.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32
            Token by token.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        device = self.network.dpt.layernorm.weight.device
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self._mean, self._std))
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = self._resized(items[start : start + batch_size])
            pictures = torch.from_numpy(part).to(device).permute(0, 3, 1, 2) / 255
            states = hidden_levels(self.network, (pictures - mean) / std)[-1]
            values[start : start + len(part)] = states.flatten(1).cpu().numpy()
        return values

    def _resized(self, images):
        images = uint8_pictures(images, "the network of depth")
        first, then = (_FIRST_SIZE, _FIRST_SIZE), (self.size, self.size)
        pictures = (Image.fromarray(one).resize(first, Image.Resampling.LANCZOS) for one in images)
        # Copied: torch warns of a read-only array.
        return np.stack([np.array(one.resize(then, self._resample)) for one in pictures])


def read_preparation(folder, image_size):
    """Read how the network's pictures are prepared; see the `preparation` of `DPTLevel`.

    Parameters
    ----------
    folder : path
        Holds ``preprocessor_config.json`` of transformers' ``DPTImageProcessor``.
    image_size : int
        The network's.

    Raises
    ------
    CheckpointError
        The file is absent, lacks a value, or prepares pictures in another way or of another size.
    """
    path = Path(folder) / PREPARATION_FILE
    entries = read_json_object(path, "DPTImageProcessor")
    try:
        size = entries["size"]
        sides = {size} if isinstance(size, int) else {size["height"], size["width"]}
        found = {name: entries[name] for name in ("resample", "image_mean", "image_std")}
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} has no {' '.join(str(error).split())}, but a DPTImageProcessor's size, resample, image_mean and "
            "image_std are expected; fetch the checkpoint again."
        ) from None
    done = [entries.get(name, True) for name in ("do_resize", "do_rescale", "do_normalize")]
    if sides != {image_size} or not all(done) or entries.get("do_pad") or entries.get("do_center_crop"):
        raise CheckpointError(
            f"{path} prepares pictures of {size}, but the network reads {image_size} x {image_size} pixels, resized, scaled "
            "and normalised, neither padded nor cropped; fetch the checkpoint again."
        )
    return found | {"size": image_size}
