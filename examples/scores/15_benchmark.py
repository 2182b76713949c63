"""
Three methods in one leaderboard
================================

A benchmark is a plan of methods, subjects and regions. Every cell is a run
folder, and the leaderboard compares what compares: the same test set, the
same protocol, differences paired by stimulus.

The responses are **simulated**.
"""

# sphinx_gallery_thumbnail_number = 2
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import brainrecon
from brainrecon.report.leaderboard.write import write_leaderboard
from brainrecon.runs.run import Run
from brainrecon.studies.benchmark import cell_folder, work_through
from brainrecon.studies.plan import make_plan

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)

# %%
# The plan
# --------
#
# Three methods that need no network: ridge straight to pixels, the training
# picture of the nearest response, and the mean picture. Two regions. One
# control, the responses of another stimulus, is drawn in each cell.

methods = ["ridge-to-pixels", "nearest-training-picture", "mean-image"]
plan = make_plan(
    "nsd:digits",
    methods,
    rois=("V1", "ventral"),
    controls=("shuffled_responses",),
    heldout="",
    protocols=("brainrecon-1",),
)
plan.write("bench")
for cell in plan.cells():
    print(*cell)

# %%
# Work
# ----
#
# ``work_through`` finishes whatever is not finished. Started several times at
# once, processes share the cells; started again, it finds nothing to do. On the
# command line it is ``brainrecon benchmark``.

print(work_through("bench", plan, features="features"), "cells were computed")
print(
    work_through("bench", plan, features="features"),
    "cells were computed the second time",
)

# %%
# The leaderboard
# ---------------
#
# It is written as Markdown, CSV and HTML. Its first table has the regions by
# methods.

write_leaderboard("bench")
lines = Path("bench/leaderboard.md").read_text().splitlines()
first = next(
    place for place, line in enumerate(lines) if line.startswith("| Region")
)
for line in lines[first : first + 4]:
    print(" | ".join(cell.strip() for cell in line.strip("|").split("|")[:4]))

# %%
# Beside the control
# ------------------
#
# The same scores as numbers, from the run folders.

scores = {
    cell: Run(cell_folder("bench", *cell), "features").scores
    for cell in plan.cells()
}
figure, axes = plt.subplots(
    1, 2, figsize=(7.2, 3.2), sharey=True, layout="constrained"
)
for axis, region in zip(axes, plan.rois):
    for place, method in enumerate(methods):
        one = scores[method, "subj01", region]
        for name, colour, shift in (
            ("reconstruction", "tab:blue", -0.12),
            ("shuffled_responses", "tab:red", 0.12),
        ):
            row = one.mean(name, "identification_pixels")
            bounds = [
                [100 * (row.mean - row.ci_low)],
                [100 * (row.ci_high - row.mean)],
            ]
            axis.errorbar(
                100 * row.mean,
                place + shift,
                xerr=bounds,
                fmt="o",
                color=colour,
                capsize=4,
                label=None if place else name.replace("_", " "),
            )
    axis.axvline(50, color="grey", linestyle="--", linewidth=0.8)
    axis.set(title=region, xlabel="identification on pixels (%)", xlim=(0, 100))
axes[0].set_yticks(
    range(3), [name.replace("-training", "-\ntraining") for name in methods]
)
axes[0].invert_yaxis()
figure.legend(
    *axes[0].get_legend_handles_labels(),
    frameon=False,
    ncols=2,
    loc="outside lower center",
)
figure.suptitle("Three methods, two regions, 95 % intervals (simulated)")

# %%

run = Run(cell_folder("bench", "ridge-to-pixels", "subj01", "V1"), "features")
chosen = [str(name) for name in run.subject.test.stimulus_ids[:9]]
figure, axes = plt.subplots(
    4,
    9,
    figsize=(7.6, 3.5),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for axis, picture in zip(axes[0], run.subject.test.images[:9]):
    axis.imshow(picture)
for line, method in zip(axes[1:], methods):
    run = Run(cell_folder("bench", method, "subj01", "V1"), "features")
    for axis, one in zip(line, chosen):
        axis.imshow(
            np.asarray(Image.open(run.image_path("reconstruction", one)))
        )
for axis, label in zip(axes[:, 0], ("shown", *methods)):
    axis.set_ylabel(
        label.replace("-training", "\n-training"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=9,
    )
figure.suptitle("Nine digits from V1 (simulated)")

plt.show()
