"""
How large should the penalty be?
================================

Ridge regression predicts an embedding of the picture that was seen from the
responses of voxels. The penalty decides how far the decoder trusts its
training stimuli; leave-one-out error on these finds a good one without a look
at the test set.

The responses are **simulated**: a model of visual cortex looks at handwritten
digits.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon

# A simulation that is there already is left as it is.
brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits", roi="V1")
train, test = subject.train, subject.test
print(
    f"{train.n_stimuli} training digits, {test.n_stimuli} test digits, {subject.n_voxels:,} voxels of V1"
)

# %%
# The values to predict are CLIP's image tokens, here of the small network that
# comes with the package. ``encode`` gives the true values of a split's pictures
# and keeps them in a folder, so that they are computed once.

reconstructor = brainrecon.Reconstructor(
    "brain-diffuser", weights="tiny", features="features"
)
true = {
    name: np.asarray(reconstructor.encode(subject, name)["clip_image"])
    for name in ("train", "test")
}
print("values to predict:", true["train"].shape)

# %%
# One fit, every penalty
# ----------------------
#
# ``Decoder`` factorises the voxels once. The leave-one-out error of each of its
# 22 penalties follows from that exactly, in units of the error of the training
# mean: below 1 the responses help.

decoder = brainrecon.Decoder(held_out="all").fit(train.patterns, true["train"])
(name,) = decoder.groups_
print(
    f"chosen penalty {decoder.alpha_[name]:,.0f}, leave-one-out error {min(decoder.error_[name]):.3f}"
)

# %%
# Was it a good choice?
# ---------------------
#
# The test set can tell, and so can a look at what the decoder makes of its own
# training stimuli.


def error(predicted, shown):
    """Squared error, as a share of the error of the training mean."""
    return (
        np.square(predicted - shown).sum()
        / np.square(true["train"].mean(axis=0) - shown).sum()
    )


errors = {"on training stimuli themselves": [], "on test stimuli": []}
for penalty in decoder.alphas:
    fixed = brainrecon.Decoder(alphas=penalty, rescale="none").fit(
        train.patterns, true["train"]
    )
    errors["on training stimuli themselves"].append(
        error(fixed.predict(train.patterns), true["train"])
    )
    errors["on test stimuli"].append(
        error(fixed.predict(test.patterns), true["test"])
    )

figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
axis.semilogx(
    decoder.alphas,
    decoder.error_[name],
    color="tab:blue",
    linewidth=2.5,
    label="leave-one-out, training",
)
axis.semilogx(
    decoder.alphas,
    errors["on test stimuli"],
    color="tab:orange",
    linewidth=2.5,
    label="test stimuli",
)
axis.semilogx(
    decoder.alphas,
    errors["on training stimuli themselves"],
    "--",
    color="grey",
    label="training, nothing left out",
)
axis.axvline(decoder.alpha_[name], color="tab:blue", linewidth=0.8)
axis.axhline(1, color="black", linewidth=0.8)
axis.text(1e7, 1.04, "the training mean", fontsize=9, ha="right")
axis.set(
    xlabel="penalty",
    ylabel="error / error of the mean",
    ylim=(0, 2),
    title="Error of every penalty (simulated)",
)
axis.legend(frameon=False, loc="lower right")

# %%
# The blue line was drawn without the test set, and it is lowest close to where
# the orange line is. The dashed line only falls towards the left: if nothing is
# left out, the smallest penalty always looks best.
#
# Correlations, beside a control
# ------------------------------
#
# Responses that are given to another stimulus tell what the same decoder
# reaches without information.


def correlation(predicted, shown):
    """Mean over columns of the correlation over stimuli."""
    predicted, shown = (
        values - values.mean(axis=0) for values in (predicted, shown)
    )
    lengths = np.linalg.norm(predicted, axis=0) * np.linalg.norm(shown, axis=0)
    return np.mean((predicted * shown).sum(axis=0) / np.maximum(lengths, 1e-12))


others = np.roll(test.patterns, 1, axis=0)
print(
    f"held-out training stimuli: r = {decoder.held_out_correlation_[name]:.3f}"
)
print(
    f"test stimuli:              r = {correlation(decoder.predict(test.patterns), true['test']):.3f}"
)
print(
    f"responses of another one:  r = {correlation(decoder.predict(others), true['test']):.3f}"
)

plt.show()
