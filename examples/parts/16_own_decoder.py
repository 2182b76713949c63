"""
A decoder of your own, in torch
===============================

A network from patterns to named values is a class of a few lines.
``TrainedDecoder`` brings the training: standardised voxels, stimuli that are
kept away for validation, early stopping, curves, checkpoints; what comes out
has the methods of every decoder and goes wherever ridge goes.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt
import numpy as np
from torch import nn

import brainrecon
from brainrecon.evaluation.metrics.identification import two_way_identification
from stages.decoders.trained import TrainedDecoder, Training
from stages.training.recipe import OptimiserSpec, Recipe

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")
reconstructor = brainrecon.Reconstructor(
    "brain-diffuser", weights="tiny", features="features"
)
true = {
    name: np.asarray(reconstructor.encode(subject, name)["clip_image"])
    for name in ("train", "test")
}

# %%
# The network
# -----------
#
# It is made from the number of voxels and from the shapes that it is to give,
# and returns a tensor for each name.


class Perceptron(nn.Module):
    """One hidden layer, and a head for every target."""

    def __init__(self, n_voxels, gives, width=128):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(n_voxels, width), nn.GELU(), nn.Dropout(0.3)
        )
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(width, int(np.prod(shape)))
                for name, shape in gives.items()
            }
        )
        self.gives = gives

    def forward(self, patterns):
        hidden = self.trunk(patterns)
        return {
            name: head(hidden).unflatten(1, self.gives[name])
            for name, head in self.heads.items()
        }


# %%
# Training
# --------
#
# A recipe is plain data. A tenth of the training stimuli is kept away; training
# stops when their loss has not improved for five looks. The network learns from
# single trials.

scale = true["train"].std(axis=0) + 1e-6
centre = true["train"].mean(axis=0)
training = Training(
    {subject.name: subject.train.betas[np.arange(subject.train.n_trials)]},
    {subject.name: subject.train.positions},
    {"clip_image": ((true["train"] - centre) / scale).astype(np.float32)},
)
recipe = Recipe(
    steps=400,
    batch_size=64,
    optimiser=OptimiserSpec("adamw", learning_rate=1e-3, weight_decay=0.1),
    validation=0.1,
    validate_every=20,
    patience=5,
)
decoder = TrainedDecoder(Perceptron, recipe).fit(training)
(reached,) = decoder.summary()
print(
    f"{reached['parameters']:,} parameters, kept those of step {reached['steps']}"
)
print(f"validation loss {reached['validation loss']:.3f}; the mean's is 1")

figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for label, (steps, values) in decoder.curves().items():
    if "loss" in label:
        axis.plot(steps, values, label=label)
axis.axhline(1, color="grey", linestyle="--", linewidth=0.8)
axis.text(400, 1.02, "the training mean", color="grey", fontsize=9, ha="right")
axis.set(
    xlabel="step",
    ylabel="mean squared error",
    ylim=(0, 1.3),
    title="Training (simulated)",
)
axis.legend(frameon=False, loc="center right")

# %%
# Beside ridge
# ------------
#
# Ridge learns from the same trials. Shuffled responses stand beside both.

ridge = brainrecon.Decoder().fit(
    subject.train.betas[np.arange(subject.train.n_trials)],
    true["train"],
    stimuli=subject.train.positions,
)
ways = {
    "perceptron": lambda patterns: (
        scale
        * next(values for _, _, values in decoder.predict_blocks(patterns))
        + centre
    ),
    "ridge": ridge.predict,
}
rates = {}
for name, predict in ways.items():
    for kind, patterns in (
        ("", subject.test.patterns),
        (", shuffled", np.roll(subject.test.patterns, 1, axis=0)),
    ):
        predicted = predict(patterns)
        rates[name + kind] = two_way_identification(true["test"], predicted)
        correlation = np.mean(
            [
                np.corrcoef(one, other)[0, 1]
                for one, other in zip(predicted - centre, true["test"] - centre)
            ]
        )
        print(
            f"{name + kind:22s} two-way {100 * rates[name + kind].mean():.1f} %, correlation {correlation:.3f}"
        )

# %%
# One has the higher correlation, the other tells stimuli apart more often.

figure, axis = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
colours = [
    "tab:blue" if "shuffled" not in name else "tab:red" for name in rates
]
axis.barh(
    list(rates),
    [100 * values.mean() for values in rates.values()],
    color=colours,
    alpha=0.75,
)
axis.axvline(50, color="grey", linestyle="--", linewidth=0.8)
axis.set(
    xlabel="two-way identification of CLIP image tokens (%)",
    xlim=(0, 100),
    title="Forty test digits (simulated)",
)
axis.invert_yaxis()

plt.show()
