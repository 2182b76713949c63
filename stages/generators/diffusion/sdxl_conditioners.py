"""What Stable Diffusion XL and its relatives read beside cross-attention, and an unconditional half that is noise."""

import torch
from diffusers.models.embeddings import get_timestep_embedding

from stages.generators.diffusion.conditioners import Conditioner, stacked
from stages.ground.item_seeds import named_generator
from stages.networks.latent_space import normal

# Values of one number's code.
CODE = 256


def codes(numbers):
    """Return sinusoidal codes of numbers, one after the other; of each the 128 cosines, then the sines.

        cos(number · 10000^(−k / 128)),  sin(number · 10000^(−k / 128)),    k = 0 .. 127

    >>> found = codes([768, 768, 0, 0])
    >>> found.shape, found[512:640].unique().tolist(), found[640:768].unique().tolist()
    (torch.Size([1024]), [1.0], [0.0])

    Parameters
    ----------
    numbers : sequence of float

    Returns
    -------
    codes : float32 tensor of shape (256 · len(numbers),)
    """
    of_each = get_timestep_embedding(
        torch.tensor(numbers, dtype=torch.float32), CODE, flip_sin_to_cos=True, downscale_freq_shift=0
    )
    return of_each.flatten()


class TokensAgainstNoise(Conditioner):
    """Tokens that cross-attention reads, and noise in their place for guidance's unconditional rows.

    The noise is standard normal and new for every picture. It has a stream of its own, named after the picture's, so that
    no other draw depends on how much of it there is.

    Parameters
    ----------
    reads : str
    """

    def __init__(self, reads):
        self.reads = reads

    def prepare(self, value, sampling):
        tokens = stacked(value, torch.zeros(torch.as_tensor(value[0]).shape, device=sampling.device))
        streams = [named_generator(f"{each.initial_seed()}/unconditional tokens") for each in sampling.random]
        return sampling.with_context(tokens, normal(streams, tokens.shape[1:]).to(sampling.device))


class SizeCodes(Conditioner):
    """Codes of sizes where other networks read a class label, the same in both halves of guidance; it reads no value.

    Parameters
    ----------
    numbers : sequence of float
        Height and width before cropping, then the crop's corner.
    """

    def __init__(self, numbers):
        self._codes = codes(numbers)

    def prepare(self, value, sampling):
        rows = self._codes.to(sampling.device).expand(len(sampling.random), -1)
        return sampling.with_argument("class_labels", rows, rows)


class Caption(Conditioner):
    """A caption, encoded when it is drawn under: tokens that cross-attention reads, and a pooled state beside the sizes.

    Captions are encoded one by one, so that none depends on its neighbours. A picture without one reads the empty text.

    Parameters
    ----------
    reads : str
    encode : callable
        A text to tokens (n_tokens, width) and a pooled state (pooled_width,).
    negative : str
        What guidance's unconditional rows read.
    """

    def __init__(self, reads, encode, negative):
        self.reads, self._encode, self._negative = reads, encode, negative

    def prepare(self, value, sampling):
        found = [self._encode("" if row is None else str(row)) for row in value]
        tokens, pooled = (torch.stack(each).to(sampling.device).float() for each in zip(*found))
        without = [each.to(sampling.device).float() for each in self._encode(self._negative)]
        sampling = sampling.with_context(tokens, without[0])
        return sampling.with_added("text_embeds", pooled, without[1].expand_as(pooled))


class Sizes(Conditioner):
    """Sizes that Stable Diffusion XL reads beside a pooled text, the same in both halves of guidance; it reads no value.

    Parameters
    ----------
    numbers : sequence of six float
        Height and width before cropping, the crop's corner, height and width after it. The network codes them itself.
    """

    def __init__(self, numbers):
        self._numbers = torch.tensor(numbers, dtype=torch.float32)

    def prepare(self, value, sampling):
        rows = self._numbers.to(sampling.device).expand(len(sampling.random), -1)
        return sampling.with_added("time_ids", rows, rows)
