"""
A target and a system of your own
=================================

A target says what is to be predicted; a system is a chain of steps that read
and give named values. Controls, run folders, scores and traces follow from
the names, so that a method of yours has them without a line more.

The responses are **simulated**.
"""

from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import brainrecon
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import TargetSource

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)

# %%
# A target
# --------
#
# ``encode`` takes pictures and gives one row each. Here a row is 12 x 12 grey
# levels and the colour of the paper. The feature store calls it once for each
# stimulus; ``preprocessing`` and ``fingerprint`` are part of its key, so that
# values of another version are never mixed in.


class Sketch:
    """Coarse grey levels and the mean colour of the border: 147 values."""

    name, takes, shape, n_targets = "sketch", "images", (147,), 147
    preprocessing = {"size": 12}
    fingerprint = "sketch, version 1"

    def encode(self, images, batch_size=64):
        """Pictures uint8 (n, height, width, 3) to float32 (n, 147)."""
        small = [
            np.asarray(
                Image.fromarray(one)
                .convert("L")
                .resize((12, 12), Image.Resampling.BOX)
            )
            for one in np.asarray(images)
        ]
        paper = np.asarray(images)[:, 0].mean(axis=1)
        return (
            np.concatenate(
                [np.reshape(small, (len(small), -1)), paper], axis=1
            ).astype(np.float32)
            / 255
        )


# %%
# A step
# ------
#
# The first step, ridge from patterns to the sketch, is the toolkit's. The
# second is new: it draws the sketch smoothly, as ink of one colour on decoded
# paper.


class DrawSketch(Step):
    """A smooth picture of a sketch."""

    reads, gives, media = ("sketch",), ("picture",), {"picture": "picture"}

    def __init__(self, contrast):
        self.contrast = contrast

    def run(self, items, values, *, seed=0):
        """Pictures of as many sketches as there are items."""
        pictures = []
        for sketch in np.asarray(values["sketch"]):
            grey = Image.fromarray(
                np.float32(sketch[:144].reshape(12, 12))
            ).resize((64, 64), Image.Resampling.BICUBIC)
            paper = np.clip(sketch[144:], 0, 1)
            ink = 1.0 - np.round(paper.mean())
            cover = np.clip(
                self.contrast
                * np.abs(np.asarray(grey) - paper.mean())[..., None]
                - 0.3,
                0,
                1,
            )
            pictures.append(np.uint8(255 * (paper * (1 - cover) + ink * cover)))
        return {"picture": pictures}


# %%
# The system
# ----------
#
# Settings are a frozen dataclass. ``image_embedding`` names the value by which
# the nearest training picture is looked for.


@dataclass(frozen=True)
class SketchSettings:
    """Ridge, and how hard the ink is drawn."""

    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    contrast: float = 3.0


@system
class SketchSystem(System):
    """Ridge to a sketch, drawn smoothly."""

    name = "sketch-2026"
    explanation = "a decoded sketch, drawn smoothly"
    settings_class = SketchSettings
    image_embedding = "sketch"

    def steps(self, machine):
        target = TargetSource(Sketch, (), identity=lambda: Sketch.fingerprint)
        return [
            Decode({"sketch": target}, self.settings.decoder, machine),
            DrawSketch(self.settings.contrast),
        ]


print(brainrecon.Reconstructor(SketchSystem).chain)

# %%
# A run, with its controls
# ------------------------

config = {"method": "sketch-2026", "data": {"source": "nsd:digits"}}
run = brainrecon.Run.create("runs/sketch", config, features="features").fit()
names = [
    "reconstruction",
    "oracle_embeddings",
    "shuffled_responses",
    "nearest_training_picture",
]
run.reconstruct(names)
scores = run.evaluate(protocol="brainrecon-1")
for name in names:
    pixels, two_way = (
        scores.mean(name, metric)
        for metric in ("pixcorr", "identification_pixels")
    )
    print(
        f"{CONDITIONS[name].label:25s} pixel correlation {pixels.mean:6.3f}, two-way on pixels {100 * two_way.mean:5.1f} %"
    )
row = scores.difference("shuffled_responses", "pixcorr")
print(
    f"above shuffled responses: {row.mean:+.3f}  ({row.ci_low:+.3f} to {row.ci_high:+.3f})"
)

# %%

chosen = [str(one) for one in run.subject.test.stimulus_ids[:9]]
rows = {"Shown": run.subject.test.images[:9]}
rows |= {
    CONDITIONS[name].label: [
        Image.open(run.image_path(name, one)) for one in chosen
    ]
    for name in names
}
figure, axes = plt.subplots(
    5,
    9,
    figsize=(7.8, 4.4),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (label, pictures) in zip(axes, rows.items()):
    line[0].set_ylabel(
        label.replace(" ", "\n"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
    )
    for axis, picture in zip(line, pictures):
        axis.imshow(np.asarray(picture))
figure.suptitle("A system of one's own, and its controls (simulated)")

plt.show()
