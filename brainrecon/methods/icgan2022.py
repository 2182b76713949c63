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
from functools import cached_property

from brainrecon.assembly.decode import DecoderSettings
from brainrecon.methods.conditions import METHOD_ITSELF
from brainrecon.methods.embedding import EmbeddingMethod
from stages.generators.gan.icgan import ICGANGenerator, InstanceRequest
from stages.ground.errors import InputError
from stages.inverters.latent_search import LATENTS, Inversion, InversionSettings
from stages.inverters.searched_latents import InvertedLatents
from weights import store as checkpoint_store

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


class ICGAN2022(EmbeddingMethod):
    """The method at its paper's settings, with the published checkpoints."""

    name = "icgan2022"
    settings_class = ICGAN2022Settings
    explanation = (
        "the full method: drawn by an instance-conditioned GAN from decoded instance features, noise and dense vector"
    )
    image_target = "instance"
    conditions = (
        METHOD_ITSELF,
        "oracle_embeddings",
        "shuffled_responses",
        "mean_response",
        "nearest_training_picture",
        "ridge_to_pixels",
    )
    target_classes = {
        "instance": ("stages.targets.instance_features", "InstanceFeatures", "instance"),
        "noise": ("stages.inverters.searched_latents", "InvertedLatents", "generator"),
        "dense": ("stages.inverters.searched_latents", "InvertedLatents", "generator"),
    }
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

    @property
    def target_checkpoints(self):
        known = super().target_checkpoints
        return {name: known[name] for name in known if name != "dense" or self.settings.dense}

    def target_fingerprint(self, name):
        if name not in LATENTS:
            return super().target_fingerprint(name)
        # They are found under the picture's instance features.
        return "+".join(map(checkpoint_store.fingerprint, vars(self.settings.checkpoints).values()))

    def load_target(self, name):
        return InvertedLatents(name, self.inversion) if name in LATENTS else self.instance

    @cached_property
    def instance(self):
        """The target of instance features, which the search for the other two reads as well."""
        return super().load_target("instance")

    @cached_property
    def inversion(self):
        """What finds noise and dense vector of a picture, for both targets."""
        return Inversion(
            self.generator.network, self.instance, self.settings.inversion, self.target_fingerprint("noise")
        )

    @cached_property
    def generator(self):
        """The generator."""
        return ICGANGenerator.from_pretrained(self.checkpoint_folder(self.settings.checkpoints.generator), self.device)

    def requests(self, condition, stimulus_ids, embeddings, samples=(0,)):
        """What to ask of the generator.

        Parameters
        ----------
        condition : str
            Whose embeddings these are; they are drawn from alike.
        stimulus_ids : sequence of str
        embeddings : dict of str to array of shape (n_stimuli, n_targets)
            Rows in the order of `stimulus_ids`.
        samples : sequence of int
            Numbers of the samples; since nothing is drawn by lot, all samples of a stimulus are the same picture.

        Returns
        -------
        list of stages.generators.gan.icgan.InstanceRequest
            Stimulus by stimulus, its samples in a row.
        """
        return [
            InstanceRequest(
                stimulus_id=str(stimulus_id),
                sample=sample,
                instance=embeddings["instance"][i],
                noise=embeddings["noise"][i],
                dense=embeddings["dense"][i] if self.settings.dense else None,
            )
            for i, stimulus_id in enumerate(stimulus_ids)
            for sample in samples
        ]

    def plan(self, stimulus_ids, patterns, samples, repeats=None):
        return self.requests(METHOD_ITSELF, stimulus_ids, self.predict(patterns), samples)

    def generate(self, requests, *, seed=0, batch_size=16, progress=None):
        """Yield (position in requests, picture) as batches finish; the seed has no part in it."""
        return self.generator.generate(requests, batch_size=batch_size, progress=progress)

    def batch_size(self):
        return self.settings.batch_size
