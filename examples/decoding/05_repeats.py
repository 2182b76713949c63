"""
How many repeats?
=================

Averaging over repeats takes noise off a response, in training and in testing.
The noise ceiling says how much a perfect model could explain of an average of
so many trials; here it stands beside what a real decoder gains.

The responses are **simulated**, three trials of each digit.
"""

# sphinx_gallery_thumbnail_number = 2
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.datasets.noise_ceiling import noise_ceiling

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")
train, test = subject.train, subject.test
print(
    f"{test.n_trials} test trials of {test.n_stimuli} stimuli; {train.n_trials} training trials of {train.n_stimuli}"
)

# %%
# The ceiling of each voxel
# -------------------------
#
# ``subject.noise_ceiling`` is the share of variance, in percent, that a perfect
# model could explain of the averages over three trials. The ratio of signal to
# noise follows from it, and from this the ceiling of any number of trials.

share = subject.noise_ceiling / 100
signal_to_noise = np.sqrt(share / (1 - share) / 3)
ceilings = {n: noise_ceiling(signal_to_noise, [n]) for n in (1, 2, 3, 10)}
for n, ceiling in ceilings.items():
    print(
        f"{n:2d} trials: median ceiling {np.median(ceiling):4.1f} % of variance"
    )

figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for n, colour in zip(ceilings, ("#c6dbef", "#6baed6", "#2171b5", "#08306b")):
    axis.hist(
        ceilings[n],
        np.linspace(0, 100, 51),
        histtype="step",
        linewidth=2,
        color=colour,
        label=f"{n} trials",
    )
axis.set(
    xlabel="noise ceiling (% of variance)",
    ylabel="voxels",
    title="What a perfect model could explain (simulated)",
)
axis.legend(frameon=False)

# %%
# A decoder on 1, 2 and 3 trials
# ------------------------------
#
# ``betas`` are single trials, ``positions`` says which stimulus each one
# showed. Training on single trials is a row of its own: the decoder then sees
# three noisy rows of each stimulus; ``stimuli`` says to which row of the
# targets each belongs, and keeps them together when a stimulus is left out.

reconstructor = brainrecon.Reconstructor(
    "brain-diffuser", weights="tiny", features="features"
)
true = {
    name: np.asarray(reconstructor.encode(subject, name)["clip_image"])
    for name in ("train", "test")
}
single = np.asarray(train.betas[np.arange(train.n_trials)])
decoders = {
    "averages": brainrecon.Decoder().fit(train.patterns, true["train"]),
    "single trials": brainrecon.Decoder().fit(
        single, true["train"], stimuli=train.positions
    ),
}
for name, decoder in decoders.items():
    print(
        f"trained on {name:13s}: penalty {next(iter(decoder.alpha_.values())):,.0f}"
    )


# %%
# Which trials are averaged is chosen in every way: three single ones, three
# pairs, all three. The score is the mean, over the values of the embedding, of
# their correlation with the true ones over stimuli.


def average_of(chosen):
    """Test patterns that are averages of some trials of each stimulus, by their numbers."""
    trials = np.asarray(test.betas[np.arange(test.n_trials)])
    return np.stack(
        [
            trials[test.positions == stimulus][list(chosen)].mean(axis=0)
            for stimulus in range(test.n_stimuli)
        ]
    )


def correlation(predicted):
    """Mean over columns of the correlation with the true values over stimuli."""
    centred = (
        predicted - predicted.mean(axis=0),
        true["test"] - true["test"].mean(axis=0),
    )
    lengths = np.linalg.norm(centred[0], axis=0) * np.linalg.norm(
        centred[1], axis=0
    )
    return np.mean(
        (centred[0] * centred[1]).sum(axis=0) / np.maximum(lengths, 1e-12)
    )


scores = {name: [] for name in (*decoders, "responses of others")}
for n in (1, 2, 3):
    patterns = [average_of(chosen) for chosen in combinations(range(3), n)]
    for name, decoder in decoders.items():
        scores[name].append(
            np.mean([correlation(decoder.predict(one)) for one in patterns])
        )
    others = [
        decoders["averages"].predict(np.roll(one, 1, axis=0))
        for one in patterns
    ]
    scores["responses of others"].append(
        np.mean([correlation(one) for one in others])
    )
for name, values in scores.items():
    print(f"{name:20s}" + "".join(f"{value:8.3f}" for value in values))

# %%
# A second test trial adds more than a third. Trials that are averaged before
# training teach a little less here than the same trials one by one.

figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
for (name, values), style in zip(scores.items(), ("o-", "s-", "x:")):
    axis.plot(
        [1, 2, 3],
        values,
        style,
        label=name if name.startswith("resp") else f"trained on {name}",
    )
axis.axhline(0, color="grey", linestyle="--", linewidth=0.8)
axis.set_xticks([1, 2, 3])
axis.set(
    xlabel="test trials that are averaged",
    ylabel="correlation with the truth",
    ylim=(-0.1, 0.8),
    title="Repeats (simulated)",
)
axis.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.42))

plt.show()
