"""A system: the parts of this package in one chain, with settings, a citation and a name on the command line."""

from dataclasses import dataclass

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource


@dataclass(frozen=True)
class Flicker2026Settings:
    """Single trials teach more than averages, if there are enough of them."""

    trials: str = "averaged"


@system
class Flicker2026(System):
    """A perceptron to ResNet features, and an unconditional diffusion model that they shift."""

    name = "flicker-2026"
    explanation = "drawn from decoded features of a ResNet-18"
    citation = "Nobody (2026). An example."
    settings_class = Flicker2026Settings
    image_embedding = "resnet"

    def steps(self, machine):
        from flicker.decoder import perceptron
        from flicker.generator import GuidedUnconditional
        from flicker.target import ResNet18

        targets = {"resnet": TargetSource(lambda: ResNet18(machine.device), (), identity=lambda: ResNet18.fingerprint)}
        return [
            Learn(targets, perceptron(machine.device), machine.device, self.settings.trials),
            Draw(lambda: GuidedUnconditional(machine.device), targets, targets=targets),
        ]
