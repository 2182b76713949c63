"""Conditioners: each reads one named value, or several, and prepares the sampling with it.

A generator is a UNet with a list of them. Adding another way in which a value conditions a network means one class, here or
in a file of its own, with `reads` and `prepare`. Those that say where denoising starts are in `start.py`.
"""

from collections.abc import Sequence

import torch

from stages.generators.diffusion.sampler import Sampling


class Conditioner:
    """Prepares a sampling with named values.

    Attributes
    ----------
    reads : str, tuple of str, or None
        Name of the value, or of several.
    """

    reads: str | tuple[str, ...] | None = None

    def prepare(self, value: Sequence | None, sampling: Sampling) -> Sampling:
        """Return the sampling, prepared with one row of the value per picture; None if a picture has none.

        One that reads several values is given a tuple of rows per picture, one that reads no value is given None.
        """
        raise NotImplementedError

    def together(self, weight: float):
        """Return what pictures of this weight must agree in to share a batch; by default nothing."""
        return None


class ContextTokens(Conditioner):
    """Tokens that cross-attention reads, each row by its weight against the tokens of nothing.

        tokens = nothing + weight · (value − nothing)

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (n_tokens, width)
        What an absent value is, and a weight of 0: for example the empty text.
    negative : tensor of that shape, optional
        What guidance's unconditional rows read; by default `nothing`.
    """

    def __init__(self, reads, nothing, negative=None):
        self.reads, self._nothing = reads, nothing
        self._negative = nothing if negative is None else negative

    def prepare(self, value, sampling):
        nothing = self._nothing.to(sampling.device)
        tokens = mixed(value, nothing, sampling.weights[self.reads])
        return sampling.with_context(tokens, self._negative.to(sampling.device))


class ContextVector(ContextTokens):
    """One vector as the only token that cross-attention reads; else as `ContextTokens`.

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (1, width)
    """

    def prepare(self, value, sampling):
        return super().prepare([None if row is None else torch.as_tensor(row)[None] for row in value], sampling)


class MixedContext(Conditioner):
    """Tokens of one of several contexts, whose updates the network itself mixes by their weights.

    A row without a value, or of weight 0, is not computed for this context.

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (n_tokens, width)
        What guidance's unconditional rows read.
    """

    def __init__(self, reads, nothing):
        self.reads, self._nothing = reads, nothing

    def prepare(self, value, sampling):
        nothing = self._nothing.to(device=sampling.device, dtype=sampling.dtype)
        return sampling.with_context(stacked(value, nothing), nothing, sampling.weights[self.reads])


class TextVector(Conditioner):
    """The text of Stable Diffusion XL: one vector that holds tokens and a pooled state.

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (n_values,)
        The vector of the empty text.
    negative : tensor of that shape
        What guidance's unconditional rows read.
    split : callable
        Vectors (n, n_values) to tokens (n, n_tokens, width) and pooled states (n, pooled_width).
    """

    def __init__(self, reads, nothing, negative, split):
        self.reads, self._nothing, self._negative, self._split = reads, nothing, negative, split

    def prepare(self, value, sampling):
        vectors = mixed(value, self._nothing.to(sampling.device), sampling.weights[self.reads])
        tokens, pooled = self._split(vectors)
        without, pooled_without = self._split(self._negative.to(sampling.device)[None])
        sampling = sampling.with_context(tokens, without)
        return sampling.with_added("text_embeds", pooled, pooled_without.expand_as(pooled))


class PictureSize(Conditioner):
    """The sizes that Stable Diffusion XL reads beside the time; an uncropped picture of the size that is drawn.

    It reads no value.

    Parameters
    ----------
    size : int
    """

    def __init__(self, size):
        self._size = size

    def prepare(self, value, sampling):
        # Height and width before cropping, the crop's corner, height and width after it.
        sizes = torch.tensor([self._size, self._size, 0, 0, self._size, self._size], device=sampling.device)
        sizes = sizes.to(torch.float32).expand(len(sampling.random), -1)
        return sampling.with_added("time_ids", sizes, sizes)


class ImagePrompt(Conditioner):
    """The image embedding of an IP-Adapter, which the network itself turns into tokens.

    Its weight is the adapter's scale. That one is a property of the network while it computes, not of a row, so pictures of
    different weights do not share a batch. An absent value is a zero embedding, and so are guidance's unconditional rows, as
    the adapter was trained.

    Parameters
    ----------
    reads : str
    embed_dim : int
    pipeline : diffusers.DiffusionPipeline
        Whose ``set_ip_adapter_scale`` is called.
    """

    def __init__(self, reads, embed_dim, pipeline):
        self.reads, self._embed_dim, self._pipeline = reads, embed_dim, pipeline

    def together(self, weight):
        return weight

    def prepare(self, value, sampling):
        self._pipeline.set_ip_adapter_scale(sampling.weights[self.reads][0])
        images = stacked(value, torch.zeros(self._embed_dim, device=sampling.device))[:, None]
        # A list: the network may hold several adapters.
        return sampling.with_added("image_embeds", [images], [torch.zeros_like(images)])


class ImageEmbedding(Conditioner):
    """The image embedding of Kandinsky's decoder, by its weight against that of a picture of nothing.

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (embed_dim,)
        Guidance's unconditional rows read it too.
    """

    def __init__(self, reads, nothing):
        self.reads, self._nothing = reads, nothing

    def prepare(self, value, sampling):
        nothing = self._nothing.to(sampling.device)
        images = mixed(value, nothing, sampling.weights[self.reads])
        return sampling.with_added("image_embeds", images, nothing.expand_as(images))


class NoisedEmbedding(Conditioner):
    """The image embedding of Stable unCLIP, noised, with a code of the noise level, where others read a class label.

    Its weight multiplies both; guidance's unconditional rows read zeros. Noise is drawn from each row's own generator.

    Parameters
    ----------
    reads : str
    embed_dim : int
    noise : callable
        Embeddings (n, embed_dim), level and random generators to labels (n, 2 · embed_dim).
    level : int
    """

    def __init__(self, reads, embed_dim, noise, level):
        self.reads, self._embed_dim, self._noise, self._level = reads, embed_dim, noise, level

    def prepare(self, value, sampling):
        images = stacked(value, torch.zeros(self._embed_dim, device=sampling.device))
        labels = self._noise(images, self._level, generator=list(sampling.random))
        labels = towards(torch.zeros_like(labels[0]), labels, sampling.weights[self.reads])
        return sampling.with_argument("class_labels", labels, torch.zeros_like(labels))


def stacked(value, nothing):
    """Stack rows of a value to a tensor like `nothing`, which stands in for rows that are None."""
    return torch.stack([nothing if row is None else torch.as_tensor(row).to(nothing) for row in value])


def towards(nothing, values, weights):
    """Return ``nothing + weight · (values − nothing)`` for each row; weight 0 gives `nothing` to the bit.

    >>> towards(torch.tensor([2.0]), torch.tensor([[4.0], [4.0]]), (0.5, 0.0))
    tensor([[3.],
            [2.]])
    """
    weights = torch.tensor(weights, dtype=nothing.dtype).to(nothing.device).view(-1, *[1] * nothing.ndim)
    # lerp is exact at both ends: it computes from the nearer one.
    return torch.lerp(nothing.expand_as(values), values, weights.expand_as(values))


def mixed(value, nothing, weights):
    """Stack rows of a value, each by its weight against `nothing`."""
    return towards(nothing, stacked(value, nothing), weights)
