"""VanRullen & Reddy (Communications Biology 2019): faces by an encoding model of VAE-GAN latents that is inverted.

An encoding model says how voxels respond to the 1024 latents of a face and to faces as such. Its pseudo-inverse turns a
pattern into latents and a bias, which is dropped then, and the generator draws the latents.

Defaults are what was published: least squares, the plain inverse, every presentation a trial of its own. The authors estimate
the encoding model in a general linear model of the time series, with latents as parametric regressors. If it comes with the
data it is taken as it is; if not, it is the same regression on the responses of single trials.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.linear_decoding import DecodingAtOnce
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from brainrecon.assembly.training_trials import AUTO
from stages.decoders.inverse_encoding import RULES, InverseEncodingDecoder
from stages.generators.gan.face_vaegan import FaceVAEGANGenerator
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

LATENTS = "face_latents"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`."""

    generator: str = "face-vaegan-celeba"


@dataclass(frozen=True)
class Encoding:
    """The encoding model, and how it is inverted.

    Attributes
    ----------
    model : {"auto", "fitted", "published"}
        Fit it to the training trials, or take the one that its authors fitted and that comes with the data; "auto" takes that if
        there are no training responses.
    encoding_penalty, inverse_penalty : float
        As `stages.decoders.inverse_encoding.InverseEncodingDecoder` takes them.
    trials : {"single", "averaged"}
        Fit to every trial by itself, or to patterns, each the average of a stimulus's trials.
    features : {"float32", "float16"}
        How the feature store holds the latents.
    """

    model: str = AUTO
    encoding_penalty: float = 0.0
    inverse_penalty: float = 0.0
    trials: str = "single"
    features: str = "float32"

    def __post_init__(self):
        check_all(self, RULES | {"model": OneOf(AUTO, "fitted", "published")})
        self.of_the_step()
        if self.model == "published" and self.encoding_penalty:
            raise InputError(
                f"encoding_penalty is {self.encoding_penalty} but the published encoding model is as it is; leave it 0, or fit "
                "one with --set decoder.model=fitted."
            )

    def of_the_step(self) -> DecoderSettings:
        """What of it the decoding step reads."""
        return DecoderSettings(trials=self.trials, features=self.features, rescale="none", held_out="none")

    def decoder(self) -> InverseEncodingDecoder:
        """The decoder, not yet fitted."""
        return InverseEncodingDecoder(self.encoding_penalty, self.inverse_penalty)


@dataclass(frozen=True)
class VanRullen2019Settings:
    """All settings of the method.

    Attributes
    ----------
    crop : float
        Part of the side of a picture's middle square that is encoded.
    antialias : bool
        Whether a picture that is made smaller is smoothed before; published: whatever the version of scikit-image did.
    batch_size : int
        Pictures that are drawn at a time.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: Encoding = field(default_factory=Encoding)
    crop: float = 0.8
    antialias: bool = True
    batch_size: int = 16

    def __post_init__(self):
        check_all(
            self,
            {
                "crop": Number(0, 1, above=True, example=0.8),
                "antialias": OneOf(True, False),
                "batch_size": Number(1, whole=True),
            },
        )


@system
class VanRullen2019Faces(System):
    """The method with the published network."""

    name = "vanrullen2019-faces"
    explanation = "faces drawn by a VAE-GAN from latents that an inverted encoding model decodes"
    citation = (
        "VanRullen, R. & Reddy, L. (2019). Reconstructing faces from fMRI patterns using deep generative neural networks. "
        "Communications Biology 2, 193."
    )
    settings_class = VanRullen2019Settings
    evidence = Evidence(
        "layers, padding and decoding equal their formulas written out; published weights not read",
        ("simulated NSD",),
    )
    image_embedding = LATENTS
    protocol = "vanrullen-2019"
    of_drawing = ("batch_size",)
    tiny = {
        "checkpoints": {"generator": "tiny-faces"},
        # Drawn scenes fill their pictures, and the embedded network learned them whole.
        "crop": 1.0,
    }

    def settled(self, train):
        settings = self.settings
        if settings.decoder.model != AUTO:
            return settings
        model = "fitted" if train.has_responses else "published"
        return replace(settings, decoder=replace(settings.decoder, model=model))

    def steps(self, machine):
        settings = self.settings
        latents = self.target(
            "stages.targets.face_latents:FaceLatents",
            "generator",
            machine,
            crop=settings.crop,
            antialias=settings.antialias,
        )
        targets = {LATENTS: latents}
        generator = cache(lambda: FaceVAEGANGenerator.from_pretrained(self.folder("generator"), machine.device))
        return [
            InvertEncoding(targets, settings.decoder, machine),
            Draw(generator, targets, by_lot=False, at_a_time=lambda generator: settings.batch_size, targets=targets),
        ]


class InvertEncoding(Decode):
    """From patterns to latents, by an encoding model that is fitted or comes with the data.

    Parameters
    ----------
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
    encoding : Encoding
    machine : brainrecon.assembly.values.Machine
    """

    def __init__(self, targets, encoding, machine):
        super().__init__(targets, encoding.of_the_step(), machine, decoding=DecodingAtOnce(encoding.decoder()))
        self._encoding = encoding

    @property
    def no_mean_response(self):
        """There is none if nobody published the responses."""
        return "responses to training stimuli are not in the data" if self._encoding.model == "published" else None

    def fit(self, training, workspace):
        subject, wanted = training.subject, self._encoding.model
        if wanted == "fitted" or (wanted == AUTO and subject.train.has_responses):
            super().fit(training, workspace)
            return
        n_latents = self.targets[LATENTS].outline.n_targets
        if LATENTS not in subject.encoding_models:
            raise InputError(
                f"{subject.source} comes without an encoding model of {LATENTS}; fit one with --set decoder.model=fitted."
            )
        weights = subject.encoding_models[LATENTS]
        if len(weights) != n_latents + 1:
            raise InputError(
                f"The encoding model of {subject.source} has {len(weights) - 1:,} latents but the network {n_latents:,}; name "
                "the network whose latents it encodes, or fit one with --set decoder.model=fitted."
            )
        self._decoding.decoder = InverseEncodingDecoder.from_encoding(
            weights, {LATENTS: n_latents}, self._encoding.inverse_penalty
        )
        if workspace.folder is not None:
            workspace.describe(self)
