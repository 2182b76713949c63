"""
Test pictures that training has seen
====================================

Test sets of large studies show the same kinds of thing as training, which
flatters methods that look pictures up. Holding out a whole category, or
clusters of look-alikes, tells how much of a score was that.

The responses are **simulated**; pictures are drawn scenes.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.datasets.near_duplicates import near_duplicates
from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.features.store import FeatureStore
from brainrecon.runs.splitting import clip_image_tokens, split_subject

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)
subject = brainrecon.load("nsd:scenes")
print(
    "near-duplicates of training pictures in the test set:",
    len(near_duplicates(subject.train.images, subject.test.images)),
)

# %%
# Three ways to divide the same stimuli
# -------------------------------------
#
# The dataset's own split; every scene with an animal; whole clusters of CLIP
# image embeddings. On the command line these are ``--split category:cat,...``
# and ``--split clusters:10``.

store = FeatureStore("features")


def encode(split, of=subject):
    """CLIP image tokens of the small network, (n_stimuli, 4160)."""
    return np.asarray(clip_image_tokens(of, split, "tiny-clip", store))


subjects = {
    "own split": subject,
    "animals held out": split_subject(
        subject, "category:cat,bird,fish,butterfly", encode
    ),
    "clusters held out": split_subject(subject, "clusters:10", encode),
}
for name, one in subjects.items():
    print(
        f"{name:18s} {one.train.n_stimuli} training and {one.test.n_stimuli} test stimuli"
    )

# %%
# How near is the nearest training picture?
# -----------------------------------------
#
# The tokens of all pictures, whichever split they stand in, are compared once.

tokens = np.concatenate([encode("train"), encode("test")])
tokens = (tokens - tokens.mean(axis=0)) / (tokens.std(axis=0) + 1e-6)
row_of = {
    str(name): row
    for row, name in enumerate(
        np.r_[subject.train.stimulus_ids, subject.test.stimulus_ids]
    )
}
values = {
    name: [
        tokens[[row_of[str(one)] for one in split.stimulus_ids]]
        for split in (own.train, own.test)
    ]
    for name, own in subjects.items()
}

figure, axes = plt.subplots(
    6,
    7,
    figsize=(7.2, 6),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
nearest = {}
for (name, one), lines in zip(subjects.items(), axes.reshape(3, 2, 7)):
    train, test = values[name]
    alike = np.corrcoef(test, train)[: len(test), len(test) :]
    nearest[name] = alike.max(axis=1)
    for row, (above, below) in enumerate(lines.T):
        above.imshow(np.asarray(one.test.images[row]))
        below.imshow(np.asarray(one.train.images[int(alike[row].argmax())]))
    lines[0, 0].set_ylabel(f"{name}\n\ntest", fontsize=9)
    lines[1, 0].set_ylabel("nearest\nin training", fontsize=9)
figure.suptitle(
    "Test pictures, and the training picture most like each (simulated)"
)
for name, own in nearest.items():
    print(
        f"{name:18s} correlation with the nearest training picture {own.mean():.2f}"
    )

# %%
# The decoder on each split
# -------------------------
#
# Shuffled responses stand beside each score, and have to: test pictures that
# were held out together resemble each other, so that telling them apart is
# harder in any case.

scores = {}
for name, one in subjects.items():
    train, test = values[name]
    predicted = (
        brainrecon.Decoder()
        .fit(one.train.patterns, train)
        .predict(one.test.patterns)
    )
    others = np.roll(predicted, 1, axis=0)
    scores[name] = {
        "correlation": [
            np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(own, test)])
            for own in (predicted, others)
        ],
        "two-way (%)": [
            100 * two_way_identification(test, own).mean()
            for own in (predicted, others)
        ],
    }
    told = ", ".join(
        f"{metric} {own[0]:.3g} (shuffled {own[1]:.3g})"
        for metric, own in scores[name].items()
    )
    print(f"{name:18s} {told}")

# %%
# Little is lost here, for these scenes are put together at random and none has
# a twin. Among clusters the shuffled responses correlate more: there any test
# picture is somewhat like any other. Photographs of a study are another matter,
# and this is how to find out.

figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), layout="constrained")
for axis, metric in zip(axes, ("correlation", "two-way (%)")):
    for place, (label, colour) in enumerate(
        (("decoded", "tab:blue"), ("shuffled", "tab:red"))
    ):
        heights = [scores[name][metric][place] for name in subjects]
        axis.bar(
            np.arange(3) + 0.4 * place - 0.2,
            heights,
            0.38,
            color=colour,
            alpha=0.75,
            label=label,
        )
    axis.set_xticks(
        range(3), ["own\nsplit", "animals\nheld out", "clusters\nheld out"]
    )
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_ylabel(metric)
axes[1].axhline(50, color="grey", linestyle="--", linewidth=0.8)
axes[0].set_ylim(0, 0.65)
axes[0].legend(frameon=False, ncols=2, loc="upper center")
figure.suptitle("CLIP image tokens on three splits (simulated)")

plt.show()
