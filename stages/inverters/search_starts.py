"""What a search for a picture begins with, of each item by itself, and the shifts of its pictures."""

from __future__ import annotations

import torch

from stages.ground.item_seeds import item_name, named_generator


def first_input(settings, shape, seed, item, mean_greys=None):
    """Return what the search for one picture begins with.

    >>> from stages.generators.generator import Item
    >>> from stages.inverters.picture_search_settings import PictureSearchSettings
    >>> usual = PictureSearchSettings()
    >>> start = first_input(usual, (4096,), seed=0, item=Item("nsd00042"))
    >>> tuple(start.shape), torch.equal(start, first_input(usual, (4096,), 0, Item("nsd00042", sample=1)))
    ((4096,), False)

    Parameters
    ----------
    settings : PictureSearchSettings
        Whose start is not "decoded".
    shape : tuple of int
        Of what is varied.
    seed : int
        The run's.
    item : object with `stimulus_id` and `sample`
    mean_greys : sequence of three float, optional
        What greys are less by that a picture begins with.

    Returns
    -------
    start : float32 tensor of this shape
    """
    if settings.start == "zeros":
        return torch.zeros(shape)
    shared = settings.start == "shared noise"
    own = settings.start_seed if shared else item_name(seed, item.stimulus_id, item.sample)
    # Another stream than that of the noise in a diffusion after it.
    generator = named_generator(f"{own}/start of a search")
    if settings.start == "greys":
        greys = torch.randint(0, 256, shape, generator=generator).float()
        return greys - torch.tensor(mean_greys, dtype=torch.float32)[:, None, None]
    return settings.start_spread * torch.randn(shape, generator=generator)


def shifts_of(settings, seed, items):
    """Return the shifts of pictures in each step.

    >>> from stages.generators.generator import Item
    >>> from stages.inverters.picture_search_settings import PictureSearchSettings
    >>> settings = PictureSearchSettings(varied="pixels", bounds="none", jitter=4)
    >>> shifts = shifts_of(settings, 0, [Item("a"), Item("b")])
    >>> [max(abs(length) for length in shift) <= 4 for shift in shifts(0)]
    [True, True]

    Parameters
    ----------
    settings : PictureSearchSettings
    seed : int
        The run's.
    items : sequence of objects with `stimulus_id` and `sample`

    Returns
    -------
    shifts : callable, or None without jitter
        ``shifts(step)`` gives (down, right) of each item, in pixels. Steps are to be asked for in their order.
    """
    if not settings.jitter:
        return None
    names = [item_name(seed, item.stimulus_id, item.sample) for item in items]
    generators = [named_generator(f"{name}/shifts of a search") for name in names]
    low, high = -settings.jitter, settings.jitter + 1
    return lambda step: [tuple(torch.randint(low, high, (2,), generator=each).tolist()) for each in generators]
