"""What a searched picture is looked at with: a network, its layers, and what the network takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from stages.ground.errors import InputError


@dataclass(frozen=True, eq=False)
class Look:
    """Layers of one network.

    >>> class Means(torch.nn.Module):
    ...     def forward(self, pictures, layers): return {"mean": pictures.mean((2, 3))}
    >>> look = Look(Means(), ("mean",), size=8, shapes={"mean": (3,)}, prefix="colour_", prepare=lambda greys: greys / 255)
    >>> look.takes
    {'colour_mean': (3,)}
    >>> look(torch.full((1, 3, 8, 8), 127.5))["colour_mean"].tolist()
    [[0.5, 0.5, 0.5]]

    Attributes
    ----------
    network : callable
        ``network(pictures, layers) -> dict of str to float tensor of shape (n, ...)``, differentiable; in evaluation mode, on
        the device that pictures are searched on.
    layers : tuple of str
        Each once.
    size : int, optional
        Pixels on a side that the network takes; by default its ``config.picture``.
    shapes : mapping of str to tuple, optional
        Of each layer of one picture; by default its ``config.shape(layer)``.
    prefix : str
        Values are called by it and the layer.
    prepare : callable, optional
        Gives what the network takes of float pictures (n, 3, size, size), red first, greys of 0 to 255, though a search may go
        beyond. Without it the network takes pictures as the search has them: for `stages.networks.vgg19.VGG19`, blue first
        and less their means.

    Raises
    ------
    InputError
        There is no layer, or one twice; or a rectifier of the network works in place, which makes it impossible to tell a layer
        before it.
    """

    network: Any
    layers: tuple[str, ...]
    size: int | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None
    prefix: str = ""
    prepare: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers or len(set(layers)) < len(layers):
            raise InputError(
                f"layers is {list(layers)}; expected one or more, each once: pass layers=('conv5_4', 'fc7')."
            )
        parts = self.network.modules() if isinstance(self.network, torch.nn.Module) else ()
        if in_place := sum(bool(getattr(part, "inplace", False)) for part in parts):
            raise InputError(
                f"{in_place} parts of the network work in place; expected none: what is before them is overwritten, so that "
                "layers are read behind them; build the network with inplace=False."
            )
        shapes = {layer: tuple((self.shapes or {}).get(layer) or self.network.config.shape(layer)) for layer in layers}
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "size", self.size or self.network.config.picture)

    @property
    def takes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the values by their names."""
        assert self.shapes is not None
        return {self.prefix + layer: self.shapes[layer] for layer in self.layers}

    @property
    def own_names(self) -> dict[str, str]:
        """Layers by the names of their values."""
        return {self.prefix + layer: layer for layer in self.layers}

    def __call__(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features of pictures of the network's size, by the names of values."""
        found = self.network(pictures if self.prepare is None else self.prepare(pictures), self.layers)
        return {self.prefix + layer: found[layer] for layer in self.layers}
