"""End-to-end deep image reconstruction (Shen et al. 2019): a generator that is trained to draw pictures from responses.

Three losses train it: between pictures, between features of a frozen comparator, and a discriminator's verdict. As published,
single trials are learned from, and a test pattern is the average of n trials times the square root of n, which gives the noise
in it a single trial's size. `brainrecon benchmark --preset gan-ablation` runs a later study of the losses, of regions and of
comparators. The published network draws 227 x 227 pixels; with ``--weights tiny`` everything is small enough for a laptop,
and the comparator has random weights, for no published one is embedded.

Defaults are what the published scripts do, the order of the players' turns, Caffe's Adam and Caffe's initial spread
included; each is a setting. Departures are listed in docs/guide/baselines.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import Needs, System
from stages.ground.checks import is_constant
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_name, named_numpy_generator
from stages.ground.pictures import resized_pictures, to_uint8
from stages.training.adversarial_settings import LossWeights, TrainingSettings
from weights import store as checkpoint_store
from weights.suggestions import did_you_mean
from weights.whole_files import whole_file, write_text

# Grey levels of red, green and blue that published pictures are given without.
_MEANS = (123.0, 117.0, 104.0)
_SCORED_STIMULI = 500
_PATTERNS_AT_A_TIME = 64

# Names in `weights/manifest.toml`.
COMPARATORS = {
    "caffenet": "caffenet",
    "alexnet": "alexnet-imagenet1k-v1",
    "vgg19": "vgg19-imagenet1k-v1",
    "evaluation": "tiny-evaluation",
}


@dataclass(frozen=True)
class Shen2019Settings:
    """Settings of the method.

    Attributes
    ----------
    comparator : {"caffenet", "alexnet", "vgg19", "evaluation"}
        The network of the feature loss, read at its last maps; see `stages.judges.comparators`.
    comparator_weights : {"published", "random"}
        Random weights compare edges and colours at every place, and know nothing of what pictures show.
    picture : int
        Side of the drawn pictures in pixels, 63 to 256.
    margin : int
        Pixels by which training pictures are larger; each time a square of `picture` is cut from them at random.
    channels : int
        Width of the networks: the full layers have 16 times as many values.
    trials : {"single", "averaged"}
        What is learned from.
    averages : {"scaled", "plain"}
        Whether the average of n trials is multiplied by the square root of n, as published.
    patterns : {"fmri", "noise"}
        "noise" gives normal noise in place of every response, in training and after: what is drawn then is no
        reconstruction, and anything that is one has to beat it.
    contrast : {"stretch", "none"}
        Whether each drawn picture is stretched from its 0.02nd to its 99.98th percentile to the whole range, as published.
    initial_spread : {"caffe", "inputs"}
        Spread of the generator's initial weights; see `stages.networks.voxel_gan`. "caffe" is published.
    losses : LossWeights
    training : TrainingSettings
    """

    comparator: str = "caffenet"
    comparator_weights: str = "published"
    picture: int = 227
    margin: int = 21
    channels: int = 256
    trials: str = "single"
    averages: str = "scaled"
    patterns: str = "fmri"
    contrast: str = "stretch"
    initial_spread: str = "caffe"
    losses: LossWeights = field(default_factory=LossWeights)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self):
        choices = {
            "comparator": tuple(COMPARATORS),
            "comparator_weights": ("published", "random"),
            "trials": ("single", "averaged"),
            "averages": ("scaled", "plain"),
            "patterns": ("fmri", "noise"),
            "contrast": ("stretch", "none"),
            "initial_spread": ("caffe", "inputs"),
        }
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(
                    f"{name} is {value!r}; expected one of {', '.join(known)}{did_you_mean(value, known)}: pass "
                    f"--set {name}={known[0]}."
                )
        if not 63 <= self.picture <= 256:
            raise InputError(f"picture is {self.picture} pixels; expected 63 to 256: pass --set picture=64.")
        if not 0 <= self.margin <= self.picture:
            raise InputError(f"margin is {self.margin} pixels; expected 0 to the picture's {self.picture}.")
        if self.channels < 8 or self.channels % 8:
            raise InputError(f"channels is {self.channels}; expected a multiple of 8: pass --set channels=64.")

    @property
    def further_checkpoints(self):
        """The comparator's, where it reads one."""
        is_random = self.comparator_weights == "random" and self.comparator != "evaluation"
        return (COMPARATORS[self.comparator],) if self.losses.feature and not is_random else ()


@system
class Shen2019GAN(System):
    """The end-to-end network of one subject."""

    name = "shen2019-gan"
    explanation = "a picture drawn from the response by one network that was trained end to end against a discriminator"
    citation = (
        "Shen, G., Dwivedi, K., Majima, K., Horikawa, T. & Kamitani, Y. (2019). End-to-end deep image reconstruction from "
        "human brain activity. Frontiers in Computational Neuroscience 13, 21."
    )
    settings_class = Shen2019Settings
    evidence = Evidence(
        "networks, losses, Caffe's Adam and its initial weights equal their formulas; the authors' code not run",
        ("simulated NSD",),
    )
    protocol = "shen-2019"
    needs = Needs(disjoint_pictures=True)
    tiny = {
        "comparator": "alexnet",
        "comparator_weights": "random",
        "picture": 64,
        "margin": 0,
        "channels": 32,
        "contrast": "none",
        "averages": "plain",
        # What the figures in docs/guide/baselines.md were measured with.
        "initial_spread": "inputs",
        "losses": {"image": 100.0, "feature": 0.1, "adversarial": 0.1, "brightness": 255.0},
        "training": {
            "iterations": 2000,
            "batch_size": 32,
            "learning_rate": 8e-4,
            "milestones": [1000, 1400, 1600, 1800],
            "turns": "together",
            "adam": "standard",
            "validation": 0.1,
            "validate_every": 50,
            "patience": 20,
        },
    }

    @property
    def checkpoints(self):
        return self.settings.further_checkpoints

    @property
    def fitted_through(self):
        return self.settings.further_checkpoints

    @property
    def notes(self):
        settings = self.settings
        is_random = settings.losses.feature and not settings.further_checkpoints
        return ("The comparator of its feature loss has random weights.",) if is_random else ()

    def steps(self, machine):
        return [DrawByNetwork(self.settings, machine.device)]


class DrawByNetwork(Step):
    """The network, from responses to pictures.

    Attributes
    ----------
    generator : stages.networks.voxel_gan.GANGenerator
    history : list of dict
        The course of training, a line every so many steps; see `stages.training.adversarial`.
    """

    reads = ("patterns", "repeats")
    gives = ("picture",)
    media = {"picture": "picture"}
    is_learned = True
    trains_together = True

    def __init__(self, settings, device):
        self.settings, self.device = settings, device
        # Noise in the response's place is each item's own.
        self.by_lot = settings.patterns == "noise"

    def fit(self, training, workspace):
        from stages.judges.comparators import load_comparator
        from stages.networks.voxel_gan import GANGenerator
        from stages.training.adversarial import Samples, train_generator
        from stages.training.batches import held_out

        subject, settings = training.subject, self.settings
        train = subject.train
        # First, for a checkpoint may be absent.
        comparator = None
        if settings.losses.feature:
            read = settings.further_checkpoints
            place = checkpoint_store.path(read[0]) if read else None
            comparator = load_comparator(settings.comparator, place, settings.training.seed)
        single = settings.trials == "single"
        responses = np.asarray(train.betas[:], dtype=np.float32) if single else train.patterns
        stimuli = train.positions if single else np.arange(train.n_stimuli)
        self.mean = responses.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = responses.std(axis=0, dtype=np.float64).astype(np.float32)
        self.scale = np.where(is_constant(self.mean, deviation), np.inf, deviation).astype(np.float32)
        self.test_repeats = int(np.median(subject.test.repeats))
        pictures = resized_pictures(train.images, settings.picture + settings.margin, workspace.progress)
        responses = self._standardised(responses, [f"training sample {row}" for row in range(len(responses))])
        averages = self._averages(
            train.patterns, train.repeats, [f"training stimulus {name}" for name in train.stimulus_ids]
        )
        validated = held_out(train.n_stimuli, settings.training.validation, settings.training.seed)
        kept = ~np.isin(stimuli, validated) if len(validated) else slice(None)
        losses = settings.losses
        self.generator = GANGenerator(
            responses.shape[1],
            settings.picture,
            settings.channels,
            brightness=losses.brightness,
            offset=(0.0, 0.0, 0.0) if losses.brightness == 255 else _MEANS,
            seed=settings.training.seed,
            spread=settings.initial_spread,
        )
        self.history = train_generator(
            self.generator,
            comparator,
            Samples(responses[kept], pictures, stimuli[kept]),
            Samples(averages[validated], pictures, validated) if len(validated) else None,
            losses,
            settings.training,
            folder=workspace.folder,
            identity=_digest(
                responses, pictures, repr(settings), *map(checkpoint_store.fingerprint, settings.further_checkpoints)
            ),
            device=self.device,
            progress=workspace.progress,
        )
        self.generator = self.generator.cpu().eval().requires_grad_(False)
        chosen = {"training": np.setdiff1d(np.arange(train.n_stimuli), validated), "validation": validated}
        self._summary = [
            self._scored(name, averages[rows[:_SCORED_STIMULI]], pictures[rows[:_SCORED_STIMULI]])
            for name, rows in chosen.items()
            if len(rows)
        ]

    def run(self, items, values, *, seed=0):
        names = [item_name(seed, one.stimulus_id, one.sample) for one in items]
        repeats = np.array([self.test_repeats if one is None else one for one in values["repeats"]])
        return {"picture": self._pictures(self._averages(np.stack(values["patterns"]), repeats, names))}

    def summary(self):
        """How alike pictures of the training stimuli are, and of those that validation kept away from training."""
        return self._summary

    def curves(self):
        """The course of training: dict of label to (steps, values), for people."""
        steps = [line["step"] for line in self.history]
        labels = {
            "image": "image loss",
            "feature": "feature loss",
            "adversarial": "adversarial loss of the generator",
            "shown": "discriminator, shown pictures",
            "drawn": "discriminator, drawn pictures",
            "validation": "validation: pixel correlation",
        }
        found = {label: [line[name] for line in self.history] for name, label in labels.items()}
        return {label: (steps, values) for label, values in found.items() if any(value is not None for value in values)}

    # Patterns and pictures

    def _standardised(self, responses, names):
        """What the network reads for responses (n, n_voxels); under "noise" each name's own noise."""
        if self.settings.patterns == "noise":
            return np.stack([_noise(f"{self.settings.training.seed}/{name}", responses.shape[1]) for name in names])
        return (responses - self.mean) / self.scale

    def _averages(self, patterns, repeats, names):
        """The same for averages over `repeats` trials (n,), brought to the noise of what was learned from."""
        standardised, settings = self._standardised(patterns, names), self.settings
        if settings.patterns == "noise" or settings.trials == "averaged" or settings.averages == "plain":
            return standardised
        return standardised * np.sqrt(np.asarray(repeats, dtype=np.float32))[:, None]

    def _pictures(self, standardised):
        """Drawn pictures, uint8 (n, picture, picture, 3)."""
        import torch

        pictures = []
        self.generator.to(self.device)
        with torch.inference_mode():
            for start in range(0, len(standardised), _PATTERNS_AT_A_TIME):
                batch = torch.from_numpy(standardised[start : start + _PATTERNS_AT_A_TIME]).to(self.device)
                pictures.append(self.generator.greys(self.generator(batch)).permute(0, 2, 3, 1).cpu().numpy())
        greys = np.concatenate(pictures)
        return to_uint8(stretched(greys) if self.settings.contrast == "stretch" else greys)

    def _scored(self, name, averages, pictures):
        """A row of the summary, of pictures (n, side, side, 3) with their margins."""
        cut, side = self.settings.margin // 2, self.settings.picture
        shown = pictures[:, cut : cut + side, cut : cut + side] / 255
        drawn = self._pictures(averages) / 255
        correlations = [
            np.corrcoef(one.ravel(), other.ravel())[0, 1] if one.std() else 0.0 for one, other in zip(drawn, shown)
        ]
        similarities = [
            structural_similarity(
                rgb2gray(one), rgb2gray(other),
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0,
            )
            for one, other in zip(drawn, shown)
        ]  # fmt: skip
        return {
            "pictures": name,
            "stimuli": len(pictures),
            "pixcorr": float(np.mean(correlations)),
            "ssim": float(np.mean(similarities)),
        }

    # Files

    def save(self, folder):
        from stages.training.state import remove_checkpoint

        folder = Path(folder)
        with whole_file(folder / "patterns.safetensors") as partial:
            save_file({"mean": self.mean, "scale": self.scale}, partial)
        course = {"history": self.history, "test_repeats": self.test_repeats}
        write_text(folder / "summary.json", json.dumps(self.summary(), indent=1) + "\n")
        write_text(folder / "training.json", json.dumps(course, indent=1) + "\n")
        self.generator.save_pretrained(folder)
        remove_checkpoint(folder)

    def open(self, workspace):
        from stages.networks.voxel_gan import GANGenerator

        folder = Path(workspace.folder)
        try:
            known = load_file(folder / "patterns.safetensors")
            self.mean, self.scale = known["mean"], known["scale"]
            course = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            self.history, self.test_repeats = course["history"], course["test_repeats"]
            self._summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        except Exception as error:
            raise InputError(
                f"{folder} cannot be read ({error}); delete it and fit again with `brainrecon fit`."
            ) from None
        self.generator = GANGenerator.from_pretrained(folder)


def stretched(greys, share=0.04):
    """Pictures (n, height, width, 3) from the percentiles at either end, `share` percent in all, to 0 to 255, each by itself."""
    flat = greys.reshape(len(greys), -1)
    low, high = (np.percentile(flat, q, axis=1)[:, None, None, None] for q in (share / 2, 100 - share / 2))
    return 255 * np.clip((greys - low) / np.maximum(high - low, 1e-6), 0, 1)


def _noise(name, n_voxels):
    """Normal noise that depends on a name alone, float32 (n_voxels,)."""
    return named_numpy_generator(name).standard_normal(n_voxels, dtype=np.float32)


def _digest(*parts):
    """Hash of arrays and texts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).data)
    return digest.hexdigest()
