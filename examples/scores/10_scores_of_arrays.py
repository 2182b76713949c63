"""
Scores, intervals and paired differences
========================================

``brainrecon.evaluate`` takes arrays of pictures from anywhere. Every score is
one value per stimulus, with an interval over stimuli; two methods are
compared stimulus by stimulus, which tells much more than two intervals side
by side.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")
shown = np.asarray(subject.test.images[:])

# %%
# Pictures of three methods
# -------------------------
#
# Ridge straight to pixels, from all voxels and from those of V3 alone, and the
# mean training picture for everybody. None needs a network.

only_v3 = brainrecon.load("nsd:digits", roi="V3")
ids = subject.test.stimulus_ids


def reconstruct(method, subject):
    """One picture of each test stimulus, uint8 (n, 64, 64, 3)."""
    return (
        brainrecon.Reconstructor(method)
        .fit(subject)
        .reconstruct(subject.test.patterns, ids)[:, 0]
    )


pictures = {
    "ridge, all voxels": reconstruct("ridge-to-pixels", subject),
    "ridge, V3": reconstruct("ridge-to-pixels", only_v3),
    "mean picture": reconstruct("mean-image", subject),
}
figure, axes = plt.subplots(
    4,
    9,
    figsize=(7.4, 3.5),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, own) in zip(axes, ({"shown": shown} | pictures).items()):
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    for axis, picture in zip(line, own):
        axis.imshow(picture)
figure.suptitle("Nine of 40 test digits (simulated)")

# %%
# One call scores all of them
# ---------------------------
#
# The protocol ``brainrecon-1`` says how: to which size pictures are brought,
# which networks look at them, and which metrics are computed. Its hash stands
# beside the scores; scores of another hash do not compare.

scores = brainrecon.evaluate(
    shown, pictures, stimulus_ids=ids, reference="ridge, all voxels"
)
print(
    f"protocol {scores.protocol.name}, {scores.protocol_hash[:12]}, {scores.n_resamples:,} resamples"
)
for metric in (
    "pixcorr",
    "ssim",
    "identification_pixels",
    "identification_evaluation",
):
    for name in pictures:
        row = scores.mean(name, metric)
        print(
            f"{metric:26s} {name:18s} {row.mean:6.3f}  ({row.ci_low:.3f} to {row.ci_high:.3f}), n = {row.n}"
        )

# %%
# The mean picture is right in half of the comparisons, as it should be. Its
# pixel correlation is far from 0: for such a metric there is no chance level to
# know beforehand, and only a control can tell.
#
# Paired differences
# ------------------
#
# ``scores.differences`` holds the reference less each other condition, over the
# stimuli that both have. Their interval can exclude 0 while the two intervals
# above overlap, for much of what makes a score vary is the stimulus, which both
# share.

for name in ("ridge, V3", "mean picture"):
    row = scores.difference(name, "pixcorr")
    verdict = "excludes 0" if row.excludes_zero else "includes 0"
    print(
        f"less {name:13s} {row.mean:+.3f}  ({row.ci_low:+.3f} to {row.ci_high:+.3f}), {verdict}"
    )

# %%

table = scores.to_pandas().pivot(
    index="stimulus_id", columns="condition", values="pixcorr"
)
figure, axes = plt.subplots(
    1, 2, figsize=(7, 3.3), layout="constrained", width_ratios=[1.3, 1]
)
for place, name in enumerate(pictures):
    row = scores.mean(name, "pixcorr")
    axes[0].plot(
        np.full(len(table), place), table[name], ".", color="lightgrey"
    )
    bounds = [[row.mean - row.ci_low], [row.ci_high - row.mean]]
    axes[0].errorbar(
        place, row.mean, bounds, fmt="o", color="tab:blue", capsize=5
    )
axes[0].set_xticks(
    range(3), ["ridge,\nall voxels", "ridge,\nV3", "mean\npicture"]
)
axes[0].set(ylabel="pixel correlation", title="each, over 40 stimuli")
for place, name in enumerate(("ridge, V3", "mean picture")):
    row = scores.difference(name, "pixcorr")
    bounds = [[row.mean - row.ci_low], [row.ci_high - row.mean]]
    axes[1].plot(
        np.full(len(table), place),
        table["ridge, all voxels"] - table[name],
        ".",
        color="lightgrey",
    )
    axes[1].errorbar(
        place, row.mean, bounds, fmt="o", color="tab:orange", capsize=5
    )
axes[1].axhline(0, color="black", linewidth=0.8)
axes[1].set(
    xticks=[0, 1],
    xticklabels=["less\nV3", "less mean\npicture"],
    xlim=(-0.6, 1.6),
    title="paired differences",
)
figure.suptitle("Pixel correlation, 95 % intervals (simulated)")

plt.show()
