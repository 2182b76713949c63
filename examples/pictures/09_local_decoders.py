"""
Local decoders of small patterns
================================

Miyawaki and others (Neuron 2008) decode the contrast of small pieces of a
picture, at several sizes, and add them up. Trained on random patterns alone,
the decoder shows figures of a kind that it never saw, without a network and
without a prior.

The responses are **simulated**: receptive fields in V1 to V3 look at 10 x 10
flickering cells.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.simulation import simulate_miyawaki

simulate_miyawaki("figures", voxels=500, random_patterns=220)
subject = brainrecon.load("miyawaki:figures", roi="V1+V2")
train, test = subject.train, subject.test
print(
    f"{train.n_stimuli} random patterns to learn from, {test.n_stimuli} figures to test, {subject.n_voxels} voxels"
)

# %%
# An estimator as in scikit-learn
# -------------------------------
#
# Patterns (n, voxels) go in, pictures (n, 10, 10) come out.

seen = {
    split: np.asarray(subject.splits[split].images[:])[..., 0] / 255
    for split in ("train", "test")
}
decoder = brainrecon.MultiscaleDecoder(model="omp", weights="sgd").fit(
    train.patterns, seen["train"]
)
decoded = decoder.predict(test.patterns)

rows = np.linspace(0, test.n_stimuli - 1, 10).astype(int)
figure, axes = plt.subplots(
    4,
    10,
    figsize=(8, 3.5),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
others = decoder.predict(np.roll(test.patterns, 1, axis=0))
pictures = {
    "shown": seen["test"],
    "decoded": decoded,
    "above 0.5": decoded > 0.5,
    "of others": others,
}
for line, (name, values) in zip(axes, pictures.items()):
    line[0].set_ylabel(name, fontsize=9)
    for axis, row in zip(line, rows):
        axis.imshow(values[row], cmap="gray", vmin=0, vmax=1)
figure.suptitle("Figures, from a decoder of random patterns (simulated)")

# %%
# Which size helps
# ----------------
#
# Each size alone gives a picture: a cell is the mean of the elements that cover
# it. Accuracy alone says little, for most cells of a figure are black; a black
# picture and the responses to other figures stand beside it.

sizes = [f"{height} x {width}" for height, width in decoder.elements_.sizes]
by_size = decoder.elements_.to_pixels(
    decoder.predict_elements(test.patterns)
).reshape(len(decoded), len(sizes), 10, 10)
found = {f"{name} alone": by_size[:, place] for place, name in enumerate(sizes)}
found |= {
    "all sizes": decoded,
    "of other figures": others,
    "black picture": np.zeros_like(decoded),
}


def scored(values):
    """Accuracy in percent, and correlation, each the mean over figures."""
    flat, true = (
        values.reshape(len(values), -1),
        seen["test"].reshape(len(values), -1),
    )
    with np.errstate(invalid="ignore"):
        correlations = [
            np.corrcoef(one, other)[0, 1] if one.std() else 0.0
            for one, other in zip(flat, true)
        ]
    return 100 * np.mean((flat > 0.5) == (true > 0.5)), np.mean(correlations)


scores = {name: scored(values) for name, values in found.items()}
for name, (accuracy, correlation) in scores.items():
    print(
        f"{name:17s} accuracy {accuracy:.1f} %, correlation {correlation:.3f}"
    )
print(
    "weights of the sizes:",
    dict(zip(sizes, np.round(decoder.size_weights_, 2).tolist())),
)

figure, axes = plt.subplots(
    1, 2, figsize=(7, 3), sharey=True, layout="constrained"
)
colours = ["tab:blue"] * len(sizes) + ["navy", "tab:red", "black"]
for axis, column, label in zip(axes, (0, 1), ("accuracy (%)", "correlation")):
    axis.barh(
        list(scores),
        [values[column] for values in scores.values()],
        color=colours,
        alpha=0.75,
    )
    axis.set_xlabel(label)
axes[0].set_xlim(50, 100)
axes[0].invert_yaxis()
figure.suptitle("Sizes and controls (simulated)")

plt.show()
