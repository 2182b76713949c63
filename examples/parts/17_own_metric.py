"""
A metric of your own in a protocol
==================================

A metric is a function from shown and predicted pictures to one number per
stimulus; the toolkit adds means, intervals, paired differences and controls.
A protocol names it, so that its scores have a hash like all others.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.evaluation import Metric
from brainrecon.evaluation.metrics.metric import METRICS
from brainrecon.evaluation.protocols.protocol import Protocol

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")

# %%
# The function
# ------------
#
# How well does the place of the ink agree? Ink is what differs from the paper,
# and the paper is the colour of the border. The score is the overlap of both
# shares of ink, 0 to 1. Pictures come as floats (n, height, width, 3) from 0 to
# 1; nothing is averaged over stimuli.


def ink(pictures):
    """Share of all ink in each pixel, (n, height * width)."""
    pictures = np.asarray(pictures, dtype=np.float64)
    border = np.concatenate([pictures[:, 0], pictures[:, -1]], axis=1).mean(
        axis=1
    )
    amount = (
        np.abs(pictures - border[:, None, None])
        .mean(axis=-1)
        .reshape(len(pictures), -1)
    )
    return amount / np.maximum(amount.sum(axis=1, keepdims=True), 1e-9)


def ink_overlap(reference, predicted):
    """Overlap of the ink of two pictures, float64 (n,)."""
    return np.minimum(ink(reference), ink(predicted)).sum(axis=1)


# %%
# The metric, and the protocol
# ----------------------------
#
# A ``Metric`` says what a reader has to know. Here it is put into the table of
# metrics; a package of yours declares it as an entry point instead, and every
# verb of the command line then knows it. The protocol stands on
# ``brainrecon-1``'s resize and has two columns.

METRICS["ink_overlap"] = Metric(
    ink_overlap,
    takes="pixels",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    chance=None,
)
protocol = Protocol(
    {
        "name": "ink-1",
        "description": "Where the ink is.",
        "headline": "ink",
        "low_level": "pixcorr",
        "resize": {"size": 64, "interpolation": "bilinear", "antialias": True},
        "metrics": [
            {
                "name": "ink",
                "measure": "ink_overlap",
                "label": "Overlap of ink",
                "description": "Share of ink in common.",
            },
            {
                "name": "pixcorr",
                "measure": "pixel_correlation",
                "label": "PixCorr",
                "description": "Of the RGB values.",
            },
        ],
    }
)
print(protocol.name, protocol.sha256[:12])

# %%
# What it sees that pixels do not
# -------------------------------
#
# Three pictures of each test digit: by ridge; the shown one with its colours
# inverted, which has the ink in the same place; and ridge from the response to
# another digit.

test = subject.test
shown = np.asarray(test.images[:])
system = brainrecon.Reconstructor("ridge-to-pixels").fit(subject)
drawn = {
    "ridge": system.reconstruct(test.patterns, test.stimulus_ids)[:, 0],
    "colours inverted": 255 - shown,
    "ridge, others' responses": system.reconstruct(
        np.roll(test.patterns, 1, axis=0), test.stimulus_ids
    )[:, 0],
}
scores = brainrecon.evaluate(
    shown,
    drawn,
    stimulus_ids=test.stimulus_ids,
    protocol=protocol,
    reference="ridge",
)
for name in drawn:
    for metric in ("ink", "pixcorr"):
        row = scores.mean(name, metric)
        print(
            f"{name:25s} {metric:8s} {row.mean:6.3f}  ({row.ci_low:.3f} to {row.ci_high:.3f})"
        )
row = scores.difference("ridge, others' responses", "ink")
print(
    f"ridge above its control in ink: {row.mean:+.3f}  ({row.ci_low:+.3f} to {row.ci_high:+.3f})"
)

# %%

figure, axes = plt.subplots(
    5,
    8,
    figsize=(7.6, 4.6),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
rows = (
    {"shown": shown}
    | drawn
    | {"ink of ridge": ink(drawn["ridge"] / 255).reshape(-1, 64, 64)}
)
for line, (name, pictures) in zip(axes, rows.items()):
    line[0].set_ylabel(
        name.replace(", ", ",\n"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
    )
    for axis, picture in zip(line, pictures):
        axis.imshow(picture, cmap="magma")
figure.suptitle("Eight test digits (simulated)")

table = scores.to_pandas()
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
for axis, metric, label in zip(
    axes, ("ink", "pixcorr"), ("overlap of ink", "pixel correlation")
):
    values = [table.loc[table.condition == name, metric] for name in drawn]
    axis.boxplot(
        values,
        tick_labels=["ridge", "inverted", "others"],
        medianprops={"color": "tab:red"},
    )
    axis.set_ylabel(label)
figure.suptitle("The same pictures under two metrics (simulated)")

plt.show()
