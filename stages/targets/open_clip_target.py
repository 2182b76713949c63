"""An open_clip model as targets use it: pictures in by batches, its tokens, its preprocessing as plain data."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import torch
from PIL import Image

from stages.checkpoints.open_clip_folder import load_open_clip
from stages.checkpoints.outlines import outlining
from stages.ground.checks import uint8_pictures
from stages.ground.pictures import check_levels


@dataclass(eq=False)
class _LoadedModel:
    model: object
    preprocess: object
    tokenizer: object


# By folder, files and device: targets of one model share it, and it goes with the last of them.
_in_use = WeakValueDictionary()


def _loaded(folder, device):
    files = tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(Path(folder).glob("open_clip_*")))
    key = (str(Path(folder).resolve()), files, str(device), outlining())
    if (loaded := _in_use.get(key)) is None:
        loaded = _in_use[key] = _LoadedModel(*load_open_clip(folder, device))
    return loaded


class OpenCLIPTarget:
    """An open_clip model with its preprocessing and tokenizer: what the targets below share.

    Parameters
    ----------
    model : open_clip.CustomTextCLIP
        In evaluation mode; both towers return their tokens too (``output_tokens``).
    preprocess : callable
        Pillow image to float32 tensor (3, height, width), by the folder's own configuration.
    tokenizer : callable
        List of str to int64 tensor (n, context_length).
    """

    def __init__(self, model, preprocess, tokenizer):
        self.model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load an open_clip model's folder in float32; targets of one folder share the model.

        Parameters
        ----------
        folder : path-like
            Holds ``open_clip_config.json``, ``open_clip_model.safetensors`` and, where the configuration names
            a tokenizer, its files. Nothing is looked for elsewhere. The configuration alone decides about the
            activation, see `load_open_clip`.
        device : str or torch.device
        **options
            The target's own, by name.

        Raises
        ------
        CheckpointError
            A file is missing or damaged, its weights do not fit the configuration exactly, or the model is of
            another family.
        """
        loaded = _loaded(folder, device)
        target = cls(loaded.model, loaded.preprocess, loaded.tokenizer, **options)
        target._shares = loaded
        return target

    @property
    def device(self):
        """Where the model computes."""
        return self.model.logit_scale.device

    @property
    def embed_dim(self):
        """Length of the space that images and captions share."""
        return self.model.visual.output_dim

    @property
    def n_patches(self):
        """How many patches a picture is cut into."""
        rows, columns = self.model.visual.grid_size
        return rows * columns

    @property
    def n_targets(self):
        """Values per row of a target."""
        return int(np.prod(self.shape))

    def _prepared(self, images):
        """Pictures as the image tower takes them: float32 (n, 3, height, width) on its device."""
        return torch.stack([self._preprocess(Image.fromarray(image)) for image in images]).to(self.device)

    def _image_tokens(self, images):
        """Pooled (n, d) and all (n, tokens, d) projected image tokens of uint8 pictures."""
        pooled, patches = self.model.visual(self._prepared(images))
        if self.model.visual.final_ln_after_pool:
            patches = self.model.visual.ln_post(patches)
        return pooled, torch.cat([pooled[:, None], patches @ self.model.visual.proj], dim=1)

    def _text_numbers(self, captions):
        """Numbers of the tokens of a list of str, (n, context_length)."""
        return self._tokenizer(captions)

    def _text_tokens(self, captions):
        """Pooled (n, d) and all (n, tokens, d) projected text tokens of a list of str."""
        pooled, tokens = self.model.text(self._text_numbers(captions).to(self.device))
        projection = self.model.text.text_projection
        projected = projection(tokens) if isinstance(projection, torch.nn.Module) else tokens @ projection
        return pooled, projected

    def _image_preprocessing(self):
        from open_clip.transform import PreprocessCfg

        known = {field.name for field in fields(PreprocessCfg)}
        used = {key: value for key, value in self.model.visual.preprocess_cfg.items() if key in known}
        # Through JSON, so that tuples compare equal to what a store reads back.
        return json.loads(json.dumps(used))

    @torch.no_grad()
    def embed_images(self, images, batch_size=64):
        """Pooled embeddings of uint8 pictures (n, height, width, 3), of unit length: (n, embed_dim), float32."""

        def encode(part):
            return torch.nn.functional.normalize(self.model.visual(self._prepared(part))[0], dim=-1)

        return _by_batches(images, encode, self.embed_dim, batch_size)


class OpenCLIPImageTarget(OpenCLIPTarget):
    """What the targets for pictures share; each says in ``_encode`` what a batch of them becomes."""

    name = "clip_image"
    takes = "images"

    @torch.no_grad()
    def encode(self, items, batch_size=64):
        """Compute the target of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; resized once, by the model's own preprocessing.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32
            The last axis of ``shape`` is the fastest; tokens in the tower's order, patches row by row.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        return _by_batches(items, self._encode, self.n_targets, batch_size)


def _by_batches(items, encode, n_targets, batch_size):
    """What `encode` makes of batches of checked pictures, as rows of float32."""
    values = np.empty((len(items), n_targets), dtype=np.float32)
    for start in range(0, len(items), batch_size):
        part = slice(start, start + batch_size)
        values[part] = encode(uint8_pictures(items[part], "CLIP")).flatten(1).cpu().numpy()
    return values
