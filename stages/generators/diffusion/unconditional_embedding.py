"""The embedding a generator reads where it is told nothing, stored beside its weights."""

from contextlib import suppress
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from safetensors import SafetensorError
from torch import nn

from stages.checkpoints.strict_loading import load_strictly
from weights.manifest import CheckpointError
from weights.whole_files import whole_folder

FOLDER = "unconditional_contexts"


class UnconditionalEmbedding(ModelMixin, ConfigMixin):
    """One embedding of guidance's unconditional half: that of the empty text, or of a zero image.

    As a tensor of the checkpoint, it needs no encoder when pictures are drawn.

    Parameters
    ----------
    shape : list of int
    kind : str
        What it is the embedding of: "empty text" or "zero image".

    Attributes
    ----------
    embedding : float32 tensor of that shape
    """

    @register_to_config
    def __init__(self, shape: list = (77, 768), kind: str = "empty text"):
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(*shape), requires_grad=False)


def stored_embedding(folder, kind, shape, compute):
    """Return the embedding that is stored with a generator, computing and storing it the first time.

    Parameters
    ----------
    folder : path
        The generator's; the embedding lies in its ``unconditional_contexts/``. A folder that cannot be written to
        keeps nothing, and the embedding is computed at every loading.
    kind : str
        What it must be the embedding of.
    shape : tuple of int or None
        What it must have; None stands for any length of that axis.
    compute : callable, optional
        Nothing to the embedding, a tensor.

    Returns
    -------
    embedding : float32 tensor, or None
        None if nothing is stored and there is nothing to compute with.

    Raises
    ------
    CheckpointError
        What is stored or computed is of another kind or shape, or not finite; or `compute` raised it.
    """
    stored = Path(folder) / FOLDER
    if stored.is_dir():
        held = load_strictly(UnconditionalEmbedding, stored)
        _check(stored, held.config.kind, held.embedding.data, kind, shape)
        return held.embedding.data
    if compute is None:
        return None
    embedding = compute().float().cpu()
    _check(folder, kind, embedding, kind, shape)
    held = UnconditionalEmbedding(shape=list(embedding.shape), kind=kind)
    held.embedding.data.copy_(embedding)
    keep_where_possible(held, stored)
    return embedding


def keep_where_possible(held, stored):
    """Write a part of a checkpoint into a folder of its own, whole or not at all.

    Parameters
    ----------
    held : diffusers.ModelMixin
    stored : path
        Stays absent, or what another process makes of it, where the part cannot be written.
    """
    # Read-only, full, or another process was faster: all the same to this one.
    with suppress(OSError, SafetensorError), whole_folder(stored) as partial:
        held.save_pretrained(partial)


def _check(folder, kind, embedding, expected_kind, shape):
    fits = embedding.ndim == len(shape) and all(
        wanted in (None, given) for wanted, given in zip(shape, embedding.shape)
    )
    if kind != expected_kind or not fits or not torch.isfinite(embedding).all():
        wanted = "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"
        raise CheckpointError(
            f"{folder} gives the embedding of {kind}, of shape {tuple(embedding.shape)}, but this generator takes "
            f"finite values for {expected_kind}, of shape {wanted}; remove {FOLDER}/ there, or fetch the checkpoint "
            "again."
        )
