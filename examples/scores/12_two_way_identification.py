"""
Two-way identification and its traps
====================================

How often is a prediction more like its own picture than like another one? The
rate looks large, for chance is one half, and it depends on what the other
pictures are: one plain difference between two kinds of picture can make most
of it.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.evaluation.metrics.identification import (
    n_way_chance,
    n_way_identification,
    two_way_identification,
)

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")
shown = {
    name: np.asarray(subject.splits[name].images[:])
    for name in ("train", "test")
}
# Some digits are white on black, others coloured on bright paper; a corner tells.
kinds = {
    name: np.where(pictures[:, 0, 0].mean(axis=-1) > 128, "bright", "black")
    for name, pictures in shown.items()
}
print(
    {
        str(kind): int((kinds["test"] == kind).sum())
        for kind in ("black", "bright")
    },
    "of 40 test digits",
)

# %%
# Two predictors: ridge straight to pixels, and one that knows the paper and
# nothing else. It always draws the mean training picture of that paper.

test = subject.test
ridge = (
    brainrecon.Reconstructor("ridge-to-pixels")
    .fit(subject)
    .reconstruct(test.patterns, test.stimulus_ids)[:, 0]
)
means = {
    kind: shown["train"][kinds["train"] == kind].mean(axis=0)
    for kind in ("black", "bright")
}
pictures = {
    "ridge": ridge,
    "the paper alone": np.stack([means[str(kind)] for kind in kinds["test"]]),
}
true = shown["test"].reshape(len(ridge), -1) / 255
predicted = {
    name: own.reshape(len(own), -1) / 255 for name, own in pictures.items()
}

figure, axes = plt.subplots(
    3,
    10,
    figsize=(8, 2.7),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, own) in zip(
    axes,
    {
        "shown": shown["test"],
        "ridge": ridge,
        "paper": pictures["the paper alone"] / 255,
    }.items(),
):
    line[0].set_ylabel(name)
    for axis, picture in zip(line, own):
        axis.imshow(picture)
figure.suptitle("Ten test digits and two predictors (simulated)")

# %%
# The others make the score
# -------------------------
#
# The same predictions are compared with all others, and then with those on the
# same paper alone. ``allowed`` says which competitors count.

same = kinds["test"][:, None] == kinds["test"]
for name, values in predicted.items():
    everything = 100 * two_way_identification(true, values).mean()
    within = 100 * two_way_identification(true, values, allowed=same).mean()
    print(
        f"{name:16s} among all {everything:.1f} %, on the same paper {within:.1f} %"
    )

# %%
# Knowing one bit of each picture is far above one half among all, and at chance
# among pictures that share it. The protocol ``brainrecon-1`` has identification
# within a category beside identification among all for that reason.
#
# More candidates
# ---------------
#
# Among n candidates chance is 1/n, so that there is more room above it. The
# rate is exact over all draws, and one bit does not get far.

sizes = np.array([2, 4, 8, 16, 40])
figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for (name, values), style in zip(predicted.items(), ("o-", "s-")):
    axis.plot(
        sizes,
        [
            100 * n_way_identification(true, values, n_way=n).mean()
            for n in sizes
        ],
        style,
        label=name,
    )
axis.plot(
    sizes,
    [100 * n_way_chance(n_way=n) for n in sizes],
    "--",
    color="grey",
    label="chance",
)
axis.set_xscale("log", base=2)
axis.set_xticks(sizes, sizes)
axis.set(
    xlabel="candidates",
    ylabel="own picture nearest (%)",
    ylim=(0, 102),
    title="n-way identification (simulated)",
)
axis.legend(frameon=False)

# %%
# Few stimuli, wide intervals
# ---------------------------
#
# Shuffled predictions have chance one half whatever the size of the set; how
# far a single shuffled set strays from it depends on its size. N stimuli make N
# (N - 1) comparisons, but they are still N stimuli.

random = np.random.default_rng(0)
figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
counts = (5, 10, 20, 40)
strays, decoded = (
    [],
    100 * two_way_identification(true, predicted["ridge"]).mean(),
)
for n in counts:
    drawn = []
    for _ in range(200):
        rows = random.choice(len(true), n, replace=False)
        drawn.append(
            100
            * two_way_identification(
                true[rows], predicted["ridge"][random.permutation(rows)]
            ).mean()
        )
    strays.append(drawn)
    low, high = np.percentile(drawn, (2.5, 97.5))
    print(
        f"{n:2d} stimuli, shuffled: mean {np.mean(drawn):.1f} %, 95 % of sets between {low:.0f} and {high:.0f} %"
    )
axis.boxplot(
    strays,
    whis=(2.5, 97.5),
    showfliers=False,
    tick_labels=counts,
    medianprops={"color": "tab:red"},
)
axis.axhline(50, color="grey", linestyle="--", linewidth=0.8)
axis.axhline(decoded, color="tab:blue", linewidth=1.5)
axis.text(0.6, decoded - 4, "ridge, 40 stimuli", color="tab:blue", fontsize=9)
axis.set(
    xlabel="stimuli in the set",
    ylabel="two-way identification (%)",
    ylim=(0, 102),
)
axis.set_title("200 shuffled sets each; whiskers hold 95 % (simulated)")

plt.show()
