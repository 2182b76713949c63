"""A decoder that has a linear model for each unit of a network, on voxels of its own choice: its settings, and its step."""

from __future__ import annotations

from dataclasses import dataclass

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DTYPES, TRIALS, DecoderSettings
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.values import Machine
from stages.decoders.unitwise.unit_models import RULES
from stages.decoders.unitwise.unitwise import UnitwiseDecoder
from stages.ground.checks import OneOf, check_all


@dataclass(frozen=True)
class UnitDecoderSettings:
    """How the units of networks are decoded, each from the voxels that it correlates with most.

    >>> settings = UnitDecoderSettings(voxels=1000)
    >>> settings.decoder(Machine()).voxels
    1000

    A system writes a line for each region: ``settings.decoder.decode(targets, "V1", "V1", machine)``.

    Attributes
    ----------
    kind, voxels, alpha, iterations, initial, prune, stop, statistics, keep
        As `stages.decoders.unitwise.unitwise.UnitwiseDecoder` takes them.
    trials : {"single", "averaged"}
        Train on every trial by itself, or on patterns, each the average of a stimulus's trials.
    features : {"float32", "float16"}
        How the feature store holds the units.
    """

    kind: str = "ridge"
    voxels: int | str = 500
    alpha: float = 100.0
    iterations: int = 2000
    initial: str = "variance"
    prune: str = "weights"
    stop: str = "previous iteration"
    statistics: str = "stimuli"
    keep: str = "auto"
    trials: str = "single"
    features: str = "float32"

    def __post_init__(self):
        # Refused now rather than after hours of encoding.
        check_all(self, RULES | {"trials": OneOf(*TRIALS), "features": OneOf(*DTYPES)}, where="decoder")

    def of_the_step(self) -> DecoderSettings:
        """What of it the decoding step reads."""
        return DecoderSettings(trials=self.trials, features=self.features, rescale="none", held_out="none")

    def decoder(self, machine: Machine) -> UnitwiseDecoder:
        """The decoder of some units, not yet fitted."""
        own = {name: getattr(self, name) for name in RULES}
        return UnitwiseDecoder(**own, memory=machine.memory, device=machine.device)

    def decode(self, targets, roi, part, machine) -> Decode:
        """The step that decodes targets from a region.

        Parameters
        ----------
        targets : mapping of str to brainrecon.assembly.targets.TargetSource
        roi : str
            Voxels to choose from, of those that the subject was loaded with.
        part : str
            Name of the step's folder among those of other learned steps; "" if there is one alone.
        machine : brainrecon.assembly.values.Machine
        """
        decoding = DecodingByBlocks(self.decoder(machine))
        return Decode(targets, self.of_the_step(), machine, part, roi=roi, decoding=decoding)
