"""What tests ask of a generator that draws under an image and a text, one picture at a time."""

from dataclasses import dataclass

import numpy as np

WEIGHTED = ("clip_image", "clip_text")


@dataclass(frozen=True)
class Request:
    """One picture; a context that is None is absent."""

    stimulus_id: str
    sample: int
    image_context: np.ndarray | None
    text_context: np.ndarray | None
    context_weights: tuple[float, float] = (0.6, 0.4)
    init_image: np.ndarray | None = None
    strength: float = 0.75

    @property
    def values(self):
        """By the generators' names."""
        return {
            "clip_image": self.image_context, "clip_text": self.text_context, "first_picture": self.init_image
        }  # fmt: skip


def draw(generator, requests, **options):
    """Draw requests, those of equal weights and strength in one call, and return dict of position to picture."""
    calls = {}
    for position, request in enumerate(requests):
        calls.setdefault((request.context_weights, request.strength), []).append(position)
    drawn = {}
    for (weights, strength), positions in calls.items():
        items = [requests[position] for position in positions]
        values = {name: [item.values[name] for item in items] for name in (*WEIGHTED, "first_picture")}
        values = {name: rows for name, rows in values.items() if name in generator.takes}
        told = {name: weight for name, weight in zip(WEIGHTED, weights) if name in generator.default_weights}
        pairs = generator.draw(values, items, weights=told, strength=strength, **options)
        drawn |= {positions[position]: picture for position, picture in pairs}
    return drawn


def pictures(generator, requests, **options):
    """Draw requests and return their pictures in one array, in their order."""
    drawn = draw(generator, requests, **options)
    assert sorted(drawn) == list(range(len(requests)))
    return np.stack([drawn[position] for position in range(len(requests))])
