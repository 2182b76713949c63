"""
A run that was interrupted
==========================

A run folder holds all state in files that are whole or absent. Whatever
stopped a run, the same lines finish what is missing and redo nothing, and
other settings are refused.

The responses are **simulated**.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import brainrecon
from stages.ground.errors import InputError

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)


def open_run(**generator):
    """The run in the folder, made if it is not there."""
    generator = {"num_inference_steps": 10, "scheduler": "dpm++"} | generator
    config = {
        "method": "brain-diffuser",
        "data": {"source": "nsd:digits"},
        "settings": {"generator": generator},
    }
    return brainrecon.Run.create(
        "runs/interrupted", config, features="features", weights="tiny"
    )


def drawn():
    """When each reconstruction was written, by its file."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in Path("runs/interrupted/images").glob("*.png")
    }


# %%
# Five pictures, then the end
# ---------------------------
#
# The first process fits, draws five stimuli, and goes away.

run = open_run().fit()
ids = [str(name) for name in run.stimulus_ids]
run.reconstruct(stimuli=ids[:5])
before = drawn()
print(len(before), "pictures:", *sorted(before))
del run

# %%
# The next process
# ----------------
#
# It opens the decoder that is there and draws twelve stimuli, of which five
# exist. One picture was lost in the meantime.

lost = sorted(before)[2]
(Path("runs/interrupted/images") / lost).unlink()
run = open_run().fit().reconstruct(stimuli=ids[:12])
after = drawn()
kept = [name for name in before if after[name] == before[name]]
print(
    f"{len(after)} pictures; {len(kept)} are the files of before, {lost} was drawn again"
)

# %%
# The same picture, whatever happened
# -----------------------------------
#
# Noise depends on the seed, the stimulus and the sample. Drawn alone, in
# memory, a picture differs by one grey level at most; responses of another
# stimulus give another picture.

test, row = run.subject.test, 3
of_run = np.asarray(
    Image.open(run.image_path("reconstruction", ids[row]))
).astype(int)
alone = brainrecon.Reconstructor.from_pretrained(
    "runs/interrupted/decoder", features="features"
)
again = alone.reconstruct(test.patterns[row : row + 1], ids[row : row + 1])[
    0, 0
]
other = alone.reconstruct(test.patterns[row + 1 : row + 2], ids[row : row + 1])[
    0, 0
]
print(
    "largest difference, drawn alone:    ",
    np.abs(of_run - again).max(),
    "grey levels",
)
print(
    "largest difference, other response: ",
    np.abs(of_run - other).max(),
    "grey levels",
)

figure, axes = plt.subplots(
    2,
    12,
    figsize=(8, 1.9),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for column, one in enumerate(ids[:12]):
    path = run.image_path("reconstruction", one)
    axes[0, column].imshow(test.images[column])
    axes[1, column].imshow(np.asarray(Image.open(path)))
    for spine in axes[1, column].spines.values():
        spine.set(
            color="tab:blue" if path.name in kept else "tab:orange", linewidth=3
        )
axes[0, 0].set_ylabel("shown")
axes[1, 0].set_ylabel("drawn")
figure.suptitle("Blue: by the first process; orange: by the second (simulated)")

# %%
# Other settings are another run
# ------------------------------

try:
    open_run(strength=0.5)
except InputError as error:
    print(str(error).replace(str(Path.cwd()), "."))

# %%
# What the folder holds
# ---------------------
#
# The settings are complete, every default spelled out.

for path in sorted(Path("runs/interrupted").iterdir()):
    if not path.name.startswith("."):
        print(path.name + ("/" if path.is_dir() else ""))
lines = Path("runs/interrupted/config.toml").read_text().splitlines()
first = lines.index("[settings.generator]")
print("", *lines[first : first + 8], sep="\n")

plt.show()
