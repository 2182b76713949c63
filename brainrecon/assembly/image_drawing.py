"""Generators that draw under one decoded image embedding: what each takes, and the checkpoints that it was published with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine

# Forms of an image embedding -> its target.
EMBEDDINGS = {
    "tokens": "stages.targets.clip:CLIPImageTokens",
    "vector": "stages.targets.clip:CLIPImageVector",
}


@dataclass(frozen=True)
class ImageDrawing:
    """A way to draw under an image embedding.

    Attributes
    ----------
    generator : str
        ``module:class`` of a generator of `stages.generators.diffusion`.
    embedding : str
        Name in `EMBEDDINGS`.
    clip, checkpoint : str
        Checkpoints: of the embedding, and of the generator.
    adapter : str, optional
        Checkpoint that the generator is loaded with besides.
    has_text : bool
        Whether it reads a text, too, which stays empty.
    """

    generator: str
    embedding: str
    clip: str
    checkpoint: str
    adapter: str | None = None
    has_text: bool = False

    def step(
        self,
        reads: str,
        source: TargetSource,
        folder: Callable,
        settings: GeneratorSettings,
        machine: Machine,
        start: str | None,
        arguments: Callable[[], Mapping] = dict,
    ) -> Draw:
        """The step from an embedding, and from a first picture if there is one, to a picture.

        Parameters
        ----------
        reads : str
            The embedding's value.
        source : TargetSource
            The target that it is a prediction of.
        folder : callable
            ``folder(role) -> path`` of the checkpoint in the role of "generator" or "adapter".
        settings, machine, start, arguments
            As `brainrecon.assembly.redraw.redraw` takes them.
        """
        weights = {reads: settings.image_weight} | ({"clip_text": 0.0} if self.has_text else {})

        def loaded_with() -> dict:
            return {**({"ip_adapter": folder("adapter")} if self.adapter else {}), **arguments()}

        return redraw(
            self.generator,
            lambda: folder("generator"),
            settings,
            machine,
            {reads: source},
            lambda present: weights,
            start=start,
            arguments=loaded_with,
        )


DRAWINGS = {
    "versatile-diffusion": ImageDrawing(
        "stages.generators.diffusion.dual_context:DualContextGenerator",
        "tokens",
        "clip-vit-l-14-quickgelu",
        "versatile-diffusion",
        has_text=True,
    ),
    "image-variations": ImageDrawing(
        "stages.generators.diffusion.image_variations:ImageVariationsGenerator",
        "vector",
        "clip-vit-l-14-quickgelu",
        "sd-image-variations",
    ),
    "ip-adapter": ImageDrawing(
        "stages.generators.diffusion.ip_adapter:StableDiffusionIPAdapterGenerator",
        "vector",
        "clip-vit-h-14-laion2b",
        "stable-diffusion-1-5",
        "ip-adapter-sd15",
        has_text=True,
    ),
}
