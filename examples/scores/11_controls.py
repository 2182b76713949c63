"""
What remains above the controls
===============================

A method that draws the same plausible pictures for everybody scores above
zero. Controls replace one thing and leave all else: the responses, the
embeddings, the whole method. A score says something about responses as far as
it is above them.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import brainrecon
from brainrecon.assembly.condition import CONDITIONS

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)

# %%
# A run under six conditions
# --------------------------
#
# A run folder holds the settings, the fitted decoder, and the pictures of each
# condition. Sixteen stimuli will do here.

config = {
    "method": "brain-diffuser",
    "data": {"source": "nsd:scenes"},
    "settings": {
        "generator": {"num_inference_steps": 10, "scheduler": "dpm++"}
    },
}
run = brainrecon.Run.create(
    "runs/controls", config, features="features", weights="tiny"
).fit()
names = [
    "reconstruction",
    "oracle_embeddings",
    "shuffled_responses",
    "mean_response",
    "nearest_training_picture",
]
chosen = [str(name) for name in run.subject.test.stimulus_ids[:16]]
run.reconstruct(names, stimuli=chosen)
names.insert(1, "stage_one")
for name in names:
    print(f"{CONDITIONS[name].label:25s} {CONDITIONS[name].explanation}")

# %%

shown = np.asarray(run.subject.test.images[:16])
drawn = {
    name: np.stack(
        [np.asarray(Image.open(run.image_path(name, one))) for one in chosen]
    )
    for name in names
}
figure, axes = plt.subplots(
    7,
    7,
    figsize=(7.4, 6.6),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, pictures) in zip(axes, ({"shown": shown} | drawn).items()):
    label = CONDITIONS[name].label if name in CONDITIONS else "Shown"
    line[0].set_ylabel(
        label.replace(" ", "\n"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
    )
    for axis, picture in zip(line, pictures):
        axis.imshow(picture)
figure.suptitle("Seven scenes under six conditions (simulated)")

# %%
# Scores, and what remains
# ------------------------

scores = brainrecon.evaluate(
    shown, drawn, stimulus_ids=chosen, n_resamples=4000
)
metrics = {
    "pixcorr": "pixel correlation",
    "identification_evaluation": "identification, evaluation network",
}
for metric, label in metrics.items():
    print(label)
    for name in names:
        row, rest = scores.mean(name, metric), scores.difference(name, metric)
        remains = (
            ""
            if rest is None
            else f"   reconstruction is {rest.mean:+.3f} ({rest.ci_low:+.3f} to {rest.ci_high:+.3f})"
        )
        print(f"  {CONDITIONS[name].label:25s} {row.mean:.3f}{remains}")

# %%
# Perfect embeddings show what stage two can do at best. Shuffled responses are
# the chance level that counts: they keep everything of the method but the
# information. Pictures of the mean response differ by their noise alone.

figure, axes = plt.subplots(
    1, 2, figsize=(7.4, 3.4), sharey=True, layout="constrained"
)
kinds = {
    "reconstruction": "tab:blue",
    "stage_one": "tab:blue",
    "oracle_embeddings": "tab:green",
}
for axis, (metric, label) in zip(axes, metrics.items()):
    for place, name in enumerate(names):
        row = scores.mean(name, metric)
        bounds = [[row.mean - row.ci_low], [row.ci_high - row.mean]]
        axis.errorbar(
            row.mean,
            place,
            xerr=bounds,
            fmt="o",
            color=kinds.get(name, "tab:red"),
            capsize=4,
        )
    axis.set_xlabel(label)
axes[0].set_yticks(
    range(len(names)), [CONDITIONS[name].label for name in names]
)
axes[0].invert_yaxis()
axes[1].axvline(0.5, color="grey", linestyle="--", linewidth=0.8)
figure.suptitle("Blue: the method; green: ceiling; red: controls (simulated)")

plt.show()
