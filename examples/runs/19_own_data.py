"""
Data of your own
================

Responses, ids and pictures in one ``.npz`` file are a dataset like any other.
This page writes one, reads it, decodes it, and shows what is said when
something does not fit.

The pictures are real: the handwritten digits of scikit-learn. The responses
are **simulated**: small receptive fields and noise, in four lines.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import brainrecon
from brainrecon.datasets.arrays.writing import write_template
from stages.ground.errors import InputError

# %%
# Four arrays
# -----------
#
# Betas are single trials, a row each. ``stimulus_ids`` says what each trial
# showed, ``split`` whether it is for training. Pictures are bytes with three
# channels, and ``image_ids`` says which stimulus each is.

random = np.random.default_rng(0)
digits = load_digits()
chosen = random.choice(len(digits.images), 240, replace=False)
greys = np.uint8(digits.images[chosen] * (255 / 16))
images = greys.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=-1)

rows, columns = np.mgrid[:8, :8]
centres = random.uniform(0, 7, (300, 2))
fields = np.exp(
    -(
        (rows.ravel() - centres[:, :1]) ** 2
        + (columns.ravel() - centres[:, 1:]) ** 2
    )
    / 2
)
evoked = (greys.reshape(240, 64) / 255.0) @ fields.T

shown = np.tile(np.arange(240), 2)
betas = evoked[shown] + random.normal(0, 1.5 * evoked.std(), (480, 300))
names = np.array([f"digit{number:04d}" for number in chosen])

np.savez(
    "mine.npz",
    betas=betas.astype(np.float32),
    stimulus_ids=names[shown],
    split=np.where(shown < 200, "train", "test"),
    images=images,
    image_ids=names,
)

# %%
# A subject
# ---------

subject = brainrecon.load("arrays:mine.npz")
print(subject.train)
print(subject.test)
print(
    "pictures:",
    subject.test.images.shape,
    "repeats:",
    np.unique(subject.test.repeats),
)

# %%
# And pictures from it
# --------------------
#
# Two methods that need no network. The responses of another stimulus are the
# control.

test = subject.test
drawn = {}
for method in ("ridge-to-pixels", "nearest-training-picture"):
    system = brainrecon.Reconstructor(
        method, settings={"size": 32} if method == "ridge-to-pixels" else None
    ).fit(subject)
    drawn[method] = system.reconstruct(test.patterns, test.stimulus_ids)[:, 0]
    if method == "ridge-to-pixels":
        drawn["ridge, others"] = system.reconstruct(
            np.roll(test.patterns, 1, axis=0), test.stimulus_ids
        )[:, 0]

truth = np.asarray(test.images[:])
scores = brainrecon.evaluate(
    truth, drawn, stimulus_ids=test.stimulus_ids, n_resamples=4000
)
for name in drawn:
    pixels, two_way = (
        scores.mean(name, metric)
        for metric in ("pixcorr", "identification_pixels")
    )
    print(
        f"{name:25s} pixel correlation {pixels.mean:.3f}, two-way identification {100 * two_way.mean:.1f} %"
    )

figure, axes = plt.subplots(
    4,
    10,
    figsize=(7.8, 3.4),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, pictures) in zip(axes, ({"shown": truth} | drawn).items()):
    line[0].set_ylabel(
        name.replace("-training", "\n-training"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
    )
    for axis, picture in zip(line, pictures):
        axis.imshow(picture)
figure.suptitle("Real digits, simulated responses")

# %%
# What is said when something does not fit
# ----------------------------------------
#
# Pictures of 0 and 1 would be black; a stimulus in both splits would be a leak.
# An error is one sentence that says what to do.

with np.load("mine.npz") as file:
    content = dict(file)
wrong = {
    "binary.npz": content | {"images": np.uint8(content["images"] > 127)},
    "leak.npz": content
    | {"split": np.where(np.arange(480) < 240, "train", "test")},
}
for name, arrays in wrong.items():
    np.savez(name, **arrays)
    try:
        brainrecon.load(f"arrays:{name}")
    except InputError as error:
        print(f"{name}: {error}\n")

# %%
# A template
# ----------
#
# The same as a folder, with regions, captions, runs and a README that describes
# each file. Replace one file after the other by your own.

if not Path("my-study").exists():
    write_template("my-study")
for path in sorted(Path("my-study").rglob("*")):
    if path.is_file() and not path.name.startswith("."):
        print(path.relative_to("my-study").as_posix())

plt.show()
