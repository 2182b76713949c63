"""IC-GAN (Ozcelik, Choksi, Mozafari, Reddy & VanRullen, IJCNN 2022): ridge to what an instance-conditioned GAN draws from.

Three targets are predicted from fMRI patterns: the instance features of the picture (what it shows), the noise, and the
dense vector, the output of the generator's first linear layer (layout and colour). The generator draws the picture from
them in one pass.

Departures from the published scripts: noise and dense vectors of the training pictures, which were published for one
dataset without saying how they were found, are found here (`stages.inverters.latent_search`); penalties are chosen on training
data, and instance features are rescaled with statistics of held-out training predictions. `PUBLISHED_DECODER` has the
scripts' own penalties, and their rescaling with the test set's statistics. As there, noise and dense vector stay as ridge
predicts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource
from stages.generators.gan.icgan import ICGANGenerator
from stages.ground.errors import InputError
from stages.inverters.latent_search import Inversion, InversionSettings
from stages.inverters.searched_latents import InvertedLatents

RESCALE = {"instance": "held_out", "noise": "none", "dense": "none"}
# Of decoder settings, as the published scripts type them in.
PUBLISHED_DECODER = {
    "alpha": {"instance": 500.0, "noise": 1.0, "dense": 100.0},
    "rescale": RESCALE | {"instance": "transductive"},
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    instance: str = "swav-resnet50-800ep"
    generator: str = "icgan-biggan-imagenet256"


@dataclass(frozen=True)
class ICGAN2022Settings:
    """All settings of the method.

    Attributes
    ----------
    dense : bool
        Predict the dense vector; without it the generator makes it from the predicted noise.
    batch_size : int
        Pictures that are drawn at a time.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=lambda: DecoderSettings(rescale=dict(RESCALE)))
    inversion: InversionSettings = field(default_factory=InversionSettings)
    dense: bool = True
    batch_size: int = 16

    def __post_init__(self):
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; expected 1 or more.")


@system
class ICGAN2022(System):
    """The method at its paper's settings, with the published checkpoints."""

    name = "icgan2022"
    explanation = (
        "the full method: drawn by an instance-conditioned GAN from decoded instance features, noise and dense vector"
    )
    citation = (
        "Ozcelik, F., Choksi, B., Mozafari, M., Reddy, L. & VanRullen, R. (2022). Reconstruction of perceived images from fMRI "
        "patterns and semantic brain exploration using instance-conditioned GANs. IJCNN 2022."
    )
    settings_class = ICGAN2022Settings
    evidence = Evidence(
        "network has the published names and shapes and equals its formulas; published weights not read; "
        "the search for latents is its own",
        ("simulated NSD",),
    )
    image_embedding = "instance"
    tiny = {
        "checkpoints": {"instance": "tiny-clip", "generator": "tiny-icgan"},
        # Its latents have Gaussian priors, and what ridge leaves of their spread makes pale pictures.
        "decoder": {"rescale": {"instance": "held_out", "noise": "held_out", "dense": "held_out"}},
        # A laptop's share: the embedded network is small, and finds latents in fewer steps.
        "inversion": {"noise_steps": 30, "dense_steps": 70},
    }

    @property
    def fitted_through(self):
        # Latents of the training pictures were searched for under its features.
        return (self.settings.checkpoints.instance,)

    def steps(self, machine):
        settings = self.settings
        instance = self.target("stages.targets.instance_features:InstanceFeatures", "instance", machine)
        generator = cache(lambda: ICGANGenerator.from_pretrained(self.folder("generator"), machine.device))
        # Noise and dense vector of a picture are found in one search, under the picture's instance features.
        both = (settings.checkpoints.instance, settings.checkpoints.generator)
        search = cache(
            lambda: Inversion(generator().network, instance.target, settings.inversion, targets["noise"].fingerprint)
        )
        targets = {"instance": instance}
        for name in ("noise", "dense") if settings.dense else ("noise",):
            targets[name] = TargetSource(
                lambda name=name: InvertedLatents(name, search()), both, settings.decoder.features
            )
        return [
            Decode(targets, settings.decoder, machine, left_out=() if settings.dense else ("dense",)),
            Draw(generator, targets, by_lot=False, at_a_time=lambda generator: settings.batch_size, targets=targets),
        ]
