"""
Which picture was it?
=====================

A predicted embedding can be looked up among candidates: the picture whose own
embedding is most alike is taken for the one that was seen. How often that is
right depends on how many candidates there are, so a rate means nothing
without their number and its chance.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon
from brainrecon.evaluation.metrics.identification import (
    n_way_chance,
    n_way_identification,
)

brainrecon.simulate(
    "digits", sessions=3, trials_per_session=300, shared=40, kinds=["digit"]
)
subject = brainrecon.load("nsd:digits")

# %%
# The system is fitted, and its CLIP image tokens are predicted for the test
# stimuli. Columns are standardised by training statistics, so that what all
# pictures share does not count.

reconstructor = brainrecon.Reconstructor(
    "brain-diffuser", weights="tiny", features="features"
).fit(subject)
predicted = reconstructor.predict(subject.test.patterns)["clip_image"]
true = np.asarray(reconstructor.encode(subject, "test")["clip_image"])

known = np.asarray(reconstructor.encode(subject, "train")["clip_image"])
mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
predicted, true = (predicted - mean) / deviation, (true - mean) / deviation
alike = np.corrcoef(predicted, true)[: len(predicted), len(predicted) :]

# %%
# The nearest of 40
# -----------------
#
# Four test stimuli, from the one that is found best to the one that is found
# worst, and the pictures that each prediction is nearest to, among all 40. A
# green frame marks the right one.

images = np.asarray(subject.test.images[np.arange(len(true))])
rank = (alike > np.diag(alike)[:, None]).sum(axis=1)
examples = np.argsort(rank, kind="stable")[
    np.linspace(0, len(rank) - 1, 4).astype(int)
]

figure, axes = plt.subplots(
    4,
    6,
    figsize=(6.4, 4.6),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, row in zip(axes, examples):
    nearest = np.argsort(-alike[row])[:5]
    for axis, column in zip(line, (row, *nearest)):
        axis.imshow(images[column])
    for axis, column in zip(line[1:], nearest):
        for spine in axis.spines.values():
            spine.set(
                color="tab:green" if column == row else "lightgrey",
                linewidth=5 if column == row else 1,
            )
for axis, title in zip(
    axes[0], ("shown", "nearest", "2nd", "3rd", "4th", "5th")
):
    axis.set_title(title, fontsize=10)
figure.suptitle("Shown, and nearest to the prediction (simulated)")

# %%
# More candidates, lower rate
# ---------------------------
#
# ``n_way_identification`` gives, for each stimulus, the rate over all ways to
# draw the other candidates: nothing is sampled. Embeddings that were predicted
# from another stimulus's response stay at chance.

sizes = np.array([2, 3, 5, 10, 20, 40])
shuffled = predicted[np.roll(np.arange(len(predicted)), 1)]
rates = {
    "decoded": [
        100 * n_way_identification(true, predicted, n_way=n).mean()
        for n in sizes
    ],
    "another stimulus's response": [
        100 * n_way_identification(true, shuffled, n_way=n).mean()
        for n in sizes
    ],
    "chance": [100 * n_way_chance(n_way=n) for n in sizes],
}
for name, values in rates.items():
    print(
        f"{name:30s}"
        + "".join(f"{value:6.1f} % of {n}" for n, value in zip(sizes, values))
    )

figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
colours = ("tab:blue", "tab:red", "grey")
for (name, values), style, colour in zip(
    rates.items(), ("o-", "s-", "--"), colours
):
    axis.plot(sizes, values, style, color=colour, label=name)
axis.set_xscale("log", base=2)
axis.set_xticks(sizes, [str(n) for n in sizes])
axis.set(
    xlabel="candidates",
    ylabel="right picture nearest (%)",
    ylim=(0, 105),
    title="Retrieval (simulated)",
)
axis.legend(frameon=False)

# %%
# In words
# --------
#
# A caption can be found in the same way: that of the training stimulus whose
# text embedding is nearest to the predicted one. ``nearest-training-caption``
# is the null beside it: the caption of the training stimulus with the most
# alike response. Both can only repeat, and are right if the digit is.

train, test = subject.train, subject.test
known = np.asarray(reconstructor.encode(subject, "train")["clip_text"])
mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
text = reconstructor.predict(test.patterns)["clip_text"]
text, known = (text - mean) / deviation, (known - mean) / deviation
nearest = np.corrcoef(text, known)[: len(text), len(text) :].argmax(axis=1)
null = brainrecon.Reconstructor("nearest-training-caption").fit(subject)
repeated = null.reconstruct(test.patterns, test.stimulus_ids)
said = {
    "decoded text embedding": [train.captions[row][1] for row in nearest],
    "nearest response": repeated[:, 0],
}
said["another's embedding"] = np.roll(said["decoded text embedding"], 1)

digits = "zero one two three four five six seven eight nine".split()
shown = [
    digits.index((set(digits) & set(own[1].split())).pop())
    for own in test.captions
]
for name, captions in said.items():
    right = [
        digits[digit] in caption.split()
        for digit, caption in zip(shown, captions)
    ]
    print(f"{name:24s} names the digit of {sum(right):2d} of {len(right)}")
print(
    f"{'always the most frequent':24s} names the digit of {np.bincount(shown).max():2d} of {len(shown)}"
)
for row in range(4):
    print(
        f"\nshown:   {test.captions[row][1]}\ndecoded: {said['decoded text embedding'][row]}"
    )

plt.show()
