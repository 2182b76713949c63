"""
Chance is not one half when one is left out
===========================================

Small data are tested in folds, or one stimulus at a time. What was left out
is then missing from the mean of the others, so that a decoder which knows
nothing is wrong more often than right; chance has to be measured.

The responses are **simulated**: forty digits, three trials each.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.evaluation.metrics.identification import two_way_identification

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
test = brainrecon.load("nsd:digits").test
pictures = np.asarray(test.images[:])
flat = pictures.reshape(len(pictures), -1) / 255

# %%
# A decoder that knows nothing
# ----------------------------
#
# For each stimulus it draws the mean of the pictures it was trained on. With
# one left out, that mean is pulled away from the very picture that it is
# compared with. Fewer stimuli, stronger pull.


def mean_of_training(true, n_folds):
    """For each picture the mean of the pictures in other folds."""
    folds = np.arange(len(true)) % n_folds
    return np.stack([true[folds != fold].mean(axis=0) for fold in folds])


random = np.random.default_rng(0)
counts, chance = (6, 10, 20, 40), {"one left out": [], "two folds": []}
for n in counts:
    sets = [flat[random.choice(len(flat), n, replace=False)] for _ in range(40)]
    for name, n_folds in (("one left out", n), ("two folds", 2)):
        rates = [
            two_way_identification(own, mean_of_training(own, n_folds)).mean()
            for own in sets
        ]
        chance[name].append(100 * np.mean(rates))
    print(
        f"{n:2d} stimuli: "
        + ", ".join(
            f"{name} {values[-1]:.1f} %" for name, values in chance.items()
        )
    )

figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for (name, values), style in zip(chance.items(), ("o-", "s-")):
    axis.plot(counts, values, style, label=name)
axis.axhline(50, color="grey", linestyle="--", linewidth=0.8)
axis.text(40, 51, "one half", color="grey", fontsize=9, ha="right")
axis.set(
    xlabel="stimuli",
    ylabel="two-way identification (%)",
    ylim=(0, 60),
    title="The mean of the training pictures (simulated)",
)
axis.set_xticks(counts)
axis.legend(frameon=False, loc="lower right")

# %%
# A run with folds
# ----------------
#
# Arrays of one's own in one file need not say what is for training. ``folds``
# deals all stimuli to so many parts, each of which is tested once by a decoder
# of its own. A run with folds always draws ``mean_picture`` as well.

trials = np.asarray(test.betas[np.arange(test.n_trials)])
np.savez(
    "forty.npz",
    betas=trials,
    stimulus_ids=test.trial_stimulus_ids,
    images=pictures,
    image_ids=test.stimulus_ids,
)
config = {
    "method": "ridge-to-pixels",
    "data": {"source": "arrays:forty.npz", "folds": 5},
}
run = (
    brainrecon.Run.create("runs/folds", config, features="features")
    .fit()
    .reconstruct()
)
scores = run.evaluate(protocol="brainrecon-1")
for metric in ("pixcorr", "identification_pixels"):
    for name in ("reconstruction", "mean_picture"):
        row = scores.mean(name, metric)
        print(
            f"{metric:22s} {name:15s} {row.mean:6.3f}  ({row.ci_low:.3f} to {row.ci_high:.3f}), n = {row.n}"
        )
print("scores say:", scores.vintage)

# %%
# The decoder learned from 32 digits in each fold. Its rate has to be read
# against the mean picture's, which lies below one half.

figure, axis = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
for place, (name, colour) in enumerate(
    (("reconstruction", "tab:blue"), ("mean_picture", "tab:red"))
):
    row = scores.mean(name, "identification_pixels")
    axis.barh(
        place,
        100 * row.mean,
        xerr=[
            [100 * (row.mean - row.ci_low)],
            [100 * (row.ci_high - row.mean)],
        ],
        color=colour,
        alpha=0.7,
        capsize=4,
    )
axis.axvline(50, color="grey", linestyle="--", linewidth=0.8)
axis.set_yticks([0, 1], ["ridge to pixels", "mean picture:\nchance here"])
axis.set(
    xlabel="two-way identification on pixels (%)",
    xlim=(0, 100),
    title="Forty digits in five folds (simulated)",
)
axis.invert_yaxis()

plt.show()
