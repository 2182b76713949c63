"""
Predictions that are too flat
=============================

A penalty pulls predictions towards the training mean, so that they vary less
than what they predict, and pictures made from them look grey and alike.
Held-out training stimuli tell how much is missing; dividing by that needs no
test set, so one response can be decoded alone.

The responses are **simulated**.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from stages.ground.errors import InputError

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)
subject = brainrecon.load("nsd:scenes")

# %%
# Three ways to rescale
# ---------------------
#
# The setting ``decoder.rescale`` has three values: ``none``; ``held_out``, the
# default; and ``transductive``, the published recipe, which takes the
# statistics of the very patterns that are to be decoded.

systems = {
    way: brainrecon.Reconstructor(
        "brain-diffuser",
        weights="tiny",
        settings={"decoder": {"rescale": way}},
        features="features",
    ).fit(subject)
    for way in ("none", "held_out", "transductive")
}
predicted = {
    way: system.predict(subject.test.patterns)["vdvae"]
    for way, system in systems.items()
}
true = np.asarray(systems["none"].encode(subject, "test")["vdvae"])

for way, values in predicted.items():
    spread = values.std(axis=0) / true.std(axis=0)
    correlation = np.mean(
        [np.corrcoef(one, other)[0, 1] for one, other in zip(values.T, true.T)]
    )
    error = (
        np.square(values - true).mean()
        / np.square(true.mean(axis=0) - true).mean()
    )
    print(
        f"{way:13s} spread / true spread {np.median(spread):.2f}, correlation {correlation:.3f}, squared error {error:.2f}"
    )

# %%
# Correlations stay almost the same, for each value is only multiplied and
# shifted. The squared error is *lowest* without rescaling: flat predictions are
# the best bet. They are also what makes pictures grey.

figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
bins = np.linspace(0, 2, 61)
for (way, values), colour in zip(
    predicted.items(), ("grey", "tab:blue", "tab:orange")
):
    ratio = values.std(axis=0) / true.std(axis=0)
    axis.hist(
        ratio, bins, histtype="stepfilled", alpha=0.45, color=colour, label=way
    )
axis.axvline(1, color="black", linewidth=0.8)
axis.set(
    xlabel="spread of predictions / of true latents, over test stimuli",
    ylabel="latents",
    title="VDVAE latents (simulated)",
)
axis.legend(frameon=False)

# %%
# Seen as pictures
# ----------------
#
# The VDVAE decodes latents into a picture: the first one, from which stage two
# starts.

vdvae = systems["none"].chain.targets["vdvae"].target
rows = {
    "shown": subject.test.images[:7],
    "none": None,
    "held_out": None,
    "true latents": vdvae.decode(true[:7]),
}
for way in ("none", "held_out"):
    rows[way] = vdvae.decode(predicted[way][:7])

figure, axes = plt.subplots(
    4,
    7,
    figsize=(6.8, 4.1),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, pictures) in zip(axes, rows.items()):
    line[0].set_ylabel(name, fontsize=10)
    for axis, picture in zip(line, pictures):
        axis.imshow(picture)
figure.suptitle("First pictures from decoded latents (simulated)")
for name, pictures in rows.items():
    print(
        f"{name:13s} contrast (standard deviation of pixels) {np.mean([picture.std() for picture in pictures]):.0f}"
    )

# %%
# One response alone
# ------------------
#
# ``held_out`` gives one pattern the embedding that it has among others.
# ``transductive`` cannot: it has no statistics of one.

alone = systems["held_out"].predict(subject.test.patterns[:1])["vdvae"]
print(
    "the same alone:",
    np.allclose(alone[0], predicted["held_out"][0], atol=1e-3),
)
try:
    systems["transductive"].predict(subject.test.patterns[:1])
except InputError as error:
    print("transductive:", error)

plt.show()
