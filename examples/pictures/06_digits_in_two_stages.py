"""
Digits in two stages
====================

The two-stage method decodes a blurry first picture, and a diffusion model
redraws it under decoded embeddings. It draws by lot, so several samples of
one stimulus show how sure it is; a sample is sharp, and their average scores
higher.

The responses are **simulated**; the networks are the small ones that come
with the package.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

import brainrecon

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")

# %%
# Fit and draw
# ------------
#
# Twenty denoising steps in place of the published fifty change little with
# these networks, and take less than half of the time.

reconstructor = brainrecon.Reconstructor(
    "brain-diffuser",
    weights="tiny",
    settings={"generator": {"num_inference_steps": 20}},
    features="features",
).fit(subject)
print(reconstructor.chain)

chosen = np.arange(10)
patterns, ids = subject.test.patterns[chosen], subject.test.stimulus_ids[chosen]
shown = np.asarray(subject.test.images[chosen])
samples = reconstructor.reconstruct(patterns, ids, samples=4)
print("pictures:", samples.shape)

# %%
# The first picture is a value on the way: predicted VDVAE latents, decoded.

latents = reconstructor.predict(patterns)["vdvae"]
first = reconstructor.chain.targets["vdvae"].target.decode(latents)

figure, axes = plt.subplots(
    3,
    10,
    figsize=(8, 2.7),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, pictures) in zip(
    axes, {"shown": shown, "first": first, "redrawn": samples[:, 0]}.items()
):
    line[0].set_ylabel(name)
    for axis, picture in zip(line, pictures):
        axis.imshow(picture)
figure.suptitle("Ten test digits, first picture, reconstruction (simulated)")

# %%
# Four samples
# ------------
#
# Noise depends on the seed, the stimulus and the number of the sample, and on
# nothing else: the first of four samples is the picture that is drawn alone.

alone = reconstructor.reconstruct(patterns[:1], ids[:1])
print(
    "largest difference, in grey levels:",
    np.abs(alone[0, 0].astype(int) - samples[0, 0]).max(),
)

average = samples.mean(axis=1)
spread = samples.astype(float).std(axis=1).mean(axis=-1)
figure, axes = plt.subplots(
    4,
    7,
    figsize=(6.8, 4.2),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, row in zip(axes, (3, 4, 6, 7)):
    for axis, picture in zip(
        line, (shown[row], *samples[row], average[row].astype(np.uint8))
    ):
        axis.imshow(picture)
    line[6].imshow(spread[row], cmap="magma", vmin=0, vmax=100)
for axis, title in zip(
    axes[0], ("shown", "sample 1", "2", "3", "4", "average", "spread")
):
    axis.set_title(title, fontsize=10)
figure.suptitle("Four samples; their spread is dark if they agree (simulated)")

# %%
# What averaging does to a score
# ------------------------------
#
# The average is no picture that anybody would draw, and correlates best all the
# same. So samples are never blended before they are scored: each is scored, and
# the scores are averaged. ``evaluate`` does that for an array with an axis of
# samples.

scores = brainrecon.evaluate(
    shown,
    {
        "reconstruction": samples,
        "average": average.astype(np.uint8),
        "first": first,
    },
    stimulus_ids=ids,
    n_resamples=2000,
)
for name in scores.conditions:
    row = scores.mean(name, "pixcorr")
    print(
        f"{name:15s} pixel correlation {row.mean:.3f}  ({row.ci_low:.3f} to {row.ci_high:.3f})"
    )
others = samples[np.roll(chosen, 1)]
control = brainrecon.evaluate(
    shown, {"others": others}, stimulus_ids=ids, n_resamples=2000
).mean("others", "pixcorr")
print(
    f"{'of others':15s} pixel correlation {control.mean:.3f}  ({control.ci_low:.3f} to {control.ci_high:.3f})"
)

plt.show()
