"""
How much to redraw
==================

Strength is the share of denoising steps that stage two takes from the first
picture: 0 keeps it, 1 ignores it. In between, layout comes from the first
picture and things come from the decoded embeddings.

The responses are **simulated**; pictures are drawn scenes.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)
subject = brainrecon.load("nsd:scenes")
chosen = np.arange(12)
patterns, ids = subject.test.patterns[chosen], subject.test.stimulus_ids[chosen]
shown = np.asarray(subject.test.images[chosen])

# %%
# One system for each strength. Encoded pictures are kept in the folder
# ``features``, so that fitting again takes about a second.

strengths = (0.0, 0.3, 0.6, 0.8, 1.0)
drawn = {}
for strength in strengths:
    settings = {"generator": {"strength": strength, "num_inference_steps": 16}}
    system = brainrecon.Reconstructor(
        "brain-diffuser", weights="tiny", settings=settings, features="features"
    ).fit(subject)
    drawn[strength] = system.reconstruct(patterns, ids)[:, 0]

figure, axes = plt.subplots(
    5,
    6,
    figsize=(6.8, 5.8),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, row in zip(axes, (0, 2, 4, 7, 10)):
    for axis, picture in zip(
        line, (shown[row], *(pictures[row] for pictures in drawn.values()))
    ):
        axis.imshow(picture)
for axis, title in zip(
    axes[0], ("shown", *(f"strength {strength:g}" for strength in strengths))
):
    axis.set_title(title, fontsize=10)
figure.suptitle("The same responses at five strengths (simulated)")

# %%
# Two kinds of score
# ------------------
#
# Pixel correlation asks for layout and colour, identification on the evaluation
# network for what is shown. Another stimulus's pictures are the control; for
# identification they should be near 50 %.

conditions = {
    f"strength {strength:g}": pictures for strength, pictures in drawn.items()
}
conditions["another stimulus"] = np.roll(drawn[0.8], 1, axis=0)
scores = brainrecon.evaluate(
    shown, conditions, stimulus_ids=ids, n_resamples=2000
)
for name in conditions:
    pixels, network = (
        scores.mean(name, metric)
        for metric in ("pixcorr", "identification_evaluation")
    )
    print(
        f"{name:17s} pixel correlation {pixels.mean:.3f}, identification {100 * network.mean:.0f} %"
    )

# %%
# Bars span 95 % intervals over twelve stimuli. They overlap widely: twelve are
# too few to choose a strength by, and the same stimuli under each strength call
# for paired differences, as on the page about arrays of pictures.

figure, axes = plt.subplots(
    2, 1, figsize=(6.4, 4.6), sharex=True, layout="constrained"
)
for axis, metric, label, factor in zip(
    axes,
    ("pixcorr", "identification_evaluation"),
    ("pixel correlation", "identification (%)"),
    (1, 100),
):
    rows = [
        scores.mean(f"strength {strength:g}", metric) for strength in strengths
    ]
    means = factor * np.array([row.mean for row in rows])
    bounds = (
        factor
        * np.array(
            [[row.mean - row.ci_low, row.ci_high - row.mean] for row in rows]
        ).T
    )
    axis.errorbar(strengths, means, bounds, fmt="o-", capsize=4)
    control = factor * scores.mean("another stimulus", metric).mean
    axis.axhline(control, color="tab:red", linestyle="--", linewidth=1)
    axis.text(
        1.0,
        control,
        "another stimulus's pictures ",
        color="tab:red",
        fontsize=9,
        ha="right",
        va="bottom",
    )
    axis.set_ylabel(label)
axes[1].set_xlabel("strength")
figure.suptitle("Scores of each strength (simulated)")

plt.show()
