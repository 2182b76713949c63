"""A system put together by names: targets, a decoder and a generator of the toolkit or of other packages.

No code is needed to try a part of one's own among published ones. In a TOML file::

    method = "assembled"
    [settings]
    decoder = "my-decoder"
    generator = "my-generator"
    [settings.targets]
    resnet = "my-target"

The chain is: the decoder predicts every target, and the generator draws from those that it takes. Published systems name
their parts in classes of their own; this is no published system.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.parts import named_part
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from stages.ground.errors import InputError

RIDGE = "ridge"


@dataclass(frozen=True)
class AssembledSettings:
    """Names of parts, and their settings.

    Attributes
    ----------
    targets : dict of str to str
        Value to predict -> name of its target.
    decoder : str
        "ridge", or the name of a decoder.
    generator : str
        Name of a generator, which takes some of the values by their names.
    ridge : DecoderSettings
        Of ridge; what it says of trials holds for every decoder.
    batch_size : int
        Outputs drawn at a time.
    """

    targets: dict[str, str] = field(default_factory=dict)
    decoder: str = RIDGE
    generator: str = ""
    ridge: DecoderSettings = field(default_factory=DecoderSettings)
    batch_size: int = 16


@system
class Assembled(System):
    """Parts by name."""

    name = "assembled"
    explanation = "drawn by the named generator from what the named decoder predicts"
    settings_class = AssembledSettings
    evidence = Evidence(UNPUBLISHED, ("simulated NSD",))
    asks_for = "the names of its targets and of its generator"

    @property
    def image_embedding(self):
        # The first of the named targets is what pictures are compared by.
        return next(iter(self.settings.targets), None)

    @property
    def notes(self):
        settings = self.settings
        return (
            f"Put together from the targets {', '.join(settings.targets.values())}, {settings.decoder}, {settings.generator}.",
        )

    def steps(self, machine):
        settings = self.settings
        if not settings.targets or not settings.generator:
            raise InputError(
                f"An assembled method has the targets {list(settings.targets) or 'none'} and the generator "
                f"{settings.generator or 'none'}; name both, for example --set targets.resnet=my-target --set "
                "generator=my-generator."
            )
        targets = {
            name: _source(part, machine.device, settings.ridge.features) for name, part in settings.targets.items()
        }
        load = cache(lambda: named_part("generator", settings.generator)(device=machine.device))
        read = [name for name in load().takes if name in targets]
        needed = [name for name in read if name not in load().optional]
        return [
            self._decoder(targets, machine),
            Draw(
                load,
                needed,
                [name for name in read if name not in needed],
                medium=load().gives,
                by_lot=load().draws_by_lot,
                at_a_time=lambda generator: settings.batch_size,
                targets=targets,
            ),
        ]

    def _decoder(self, targets, machine):
        settings = self.settings
        if settings.decoder == RIDGE:
            return Decode(targets, settings.ridge, machine)
        decoder = named_part("decoder", settings.decoder)(device=machine.device)
        return Learn(targets, decoder, machine.device, settings.ridge.trials)


def _source(part, device, dtype):
    """A target of another package, and what identifies its weights."""
    load = cache(lambda: named_part("target", part)(device=device))
    return TargetSource(load, (), dtype, identity=lambda: f"{part}: {load().fingerprint}")
