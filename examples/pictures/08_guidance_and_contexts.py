"""
Image context, text context, guidance
=====================================

Stage two draws under a decoded image embedding and a decoded text embedding.
Their weights say how much each is listened to, guidance how strictly;
starting from pure noise shows them without the help of a first picture.

The responses are **simulated**; pictures are drawn scenes.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)
subject = brainrecon.load("nsd:scenes")
chosen = np.array([0, 3, 7, 9, 10])
patterns, ids = subject.test.patterns[chosen], subject.test.stimulus_ids[chosen]
shown = np.asarray(subject.test.images[chosen])


def draw(**generator):
    """Pictures of the chosen stimuli under some settings of the generator; strength 1 starts from noise alone."""
    settings = {
        "generator": {"strength": 1.0, "num_inference_steps": 16} | generator
    }
    system = brainrecon.Reconstructor(
        "brain-diffuser", weights="tiny", settings=settings, features="features"
    ).fit(subject)
    return system.reconstruct(patterns, ids)[:, 0]


def show(rows, title):
    """Pictures in rows, each with its name."""
    height = 0.35 + 1.05 * len(rows)
    figure, axes = plt.subplots(
        len(rows),
        5,
        figsize=(6.4, height),
        layout="constrained",
        subplot_kw={"xticks": [], "yticks": []},
    )
    for line, (name, pictures) in zip(axes, rows.items()):
        line[0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=10
        )
        for axis, picture in zip(line, pictures):
            axis.imshow(picture)
    figure.suptitle(title)


# %%
# Which embedding says what
# -------------------------
#
# Weights are shares: 1 and 0 listen to one embedding alone. The captions of the
# stimuli stand below, as a reader would check them.

weights = {
    "image alone": (1.0, 0.0),
    "both, as published": (0.6, 0.4),
    "text alone": (0.0, 1.0),
}
contexts = {
    name: draw(image_weight=image, text_weight=text)
    for name, (image, text) in weights.items()
}
show(
    {"shown": shown} | contexts,
    "From noise, under decoded embeddings (simulated)",
)
for row in chosen:
    print(subject.test.stimulus_ids[row], subject.test.captions[row][1])

# %%
# Guidance
# --------
#
# Each step is taken away from what would be drawn under no embedding. At 1
# nothing is taken away; large values give hard, over-coloured pictures. The
# embedded network's own value is used if none is given.

guided = {
    f"guidance {scale:g}": draw(guidance_scale=scale)
    for scale in (1.0, 2.0, 4.0, 8.0)
}
show(
    {"shown": shown} | guided,
    "The same embeddings under more and more guidance (simulated)",
)

# %%
# Five stimuli say nothing about which is best; contrast does change in one
# direction.

for name, pictures in ({"shown": shown} | guided).items():
    print(
        f"{name:12s} contrast (standard deviation of pixels) {np.mean([picture.std() for picture in pictures]):.0f}"
    )

plt.show()
