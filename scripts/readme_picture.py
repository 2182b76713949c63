"""Compose the README's picture from a run folder: a column per stimulus, a row per condition.

python scripts/readme_picture.py brainrecon-demo/run docs/demo.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from brainrecon.report.names import condition_label
from brainrecon.runs.draw import spread
from brainrecon.runs.run import Run
from stages.ground.media import PICTURE

ROWS = ("reconstruction", "stage_one", "oracle_embeddings", "shuffled_responses")


def compose(run, out, columns=12):
    """Draw `columns` test stimuli, evenly spread over those that every row has; nobody picks them.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    out : path
    columns : int
    """
    test = run.subject.test
    row_of = {str(name): row for row, name in enumerate(test.stimulus_ids)}
    complete = [name for name in row_of if all(run.image_path(condition, name).exists() for condition in ROWS)]
    names = spread(complete, columns)
    figure, axes = plt.subplots(1 + len(ROWS), len(names), figsize=(1.05 * len(names) + 1.6, 1.05 * (1 + len(ROWS))))
    for axis, name in zip(axes[0], names):
        axis.imshow(test.images[row_of[name]])
    for line, condition in zip(axes[1:], ROWS):
        for axis, name in zip(line, names):
            axis.imshow(PICTURE.read(run.image_path(condition, name)))
    for line, label in zip(axes, ("Shown", *map(condition_label, ROWS))):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.subplots_adjust(
        left=1.6 / (1.05 * len(names) + 1.6), right=0.995, bottom=0.01, top=0.99, wspace=0.06, hspace=0.06
    )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    compose(Run(arguments.run), arguments.out)
