"""
Which regions tell what?
========================

Early visual areas tell where light, colour and contours are; higher areas
tell what is shown. Decoding each target from one region at a time makes that
visible, if every region has as many voxels.

The responses are **simulated**, with early areas that pool pixels and higher
areas that are told what the picture shows; so this page shows how to ask the
question, and nothing about a brain.
"""

import matplotlib.pyplot as plt
import numpy as np

import brainrecon

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)
subject = brainrecon.load("nsd:scenes")
regions = ["V1", "V2", "V3", "hV4", "ventral", "lateral", "parietal"]
print({region: int(subject.rois[region].sum()) for region in regions})

# %%
# Three targets: latents of the VDVAE (layout and colour), CLIP image tokens,
# and CLIP text tokens of the captions.

reconstructor = brainrecon.Reconstructor(
    "brain-diffuser", weights="tiny", features="features"
)
targets = {
    name: np.asarray(table)
    for name, table in reconstructor.encode(subject, "train").items()
}
print({name: values.shape for name, values in targets.items()})

# %%
# Regions of one size
# -------------------
#
# More voxels tell more, whatever they are. So each region gives as many as the
# smallest has, drawn at random three times. The same number of voxels from
# anywhere is a control, and so are responses that were dealt to other stimuli.
#
# ``held_out_correlation_`` comes from training stimuli that were left out: the
# test set is not touched.

n_voxels = min(int(subject.rois[region].sum()) for region in regions)
masks = {region: subject.rois[region] for region in regions} | {
    "anywhere": np.ones(subject.n_voxels, bool)
}
values = np.concatenate(list(targets.values()), axis=1)
groups = {name: array.shape[1] for name, array in targets.items()}


def held_out(mask, seed, patterns):
    """Held-out correlation of each target, from `n_voxels` voxels of a mask."""
    chosen = np.random.default_rng(seed).choice(
        np.flatnonzero(mask), n_voxels, replace=False
    )
    decoder = brainrecon.Decoder(held_out="all").fit(
        patterns[:, chosen], values, groups=groups
    )
    return decoder.held_out_correlation_


patterns = subject.train.patterns
found = {
    region: [held_out(mask, seed, patterns) for seed in range(3)]
    for region, mask in masks.items()
}
dealt = np.random.default_rng(0).permutation(patterns)
found["shuffled"] = [
    held_out(masks["anywhere"], seed, dealt) for seed in range(3)
]

print(f"{n_voxels} voxels" + "".join(f"{name:>12s}" for name in groups))
for region, drawn in found.items():
    print(
        f"{region:9s}"
        + "".join(
            f"{np.mean([one[name] for one in drawn]):12.3f}" for name in groups
        )
    )

# %%
# Bars are means over the three draws, dots the draws themselves.

labels = {
    "vdvae": "VDVAE latents",
    "clip_image": "CLIP image",
    "clip_text": "CLIP text",
}
figure, axes = plt.subplots(
    3, 1, figsize=(6.4, 6), sharex=True, layout="constrained"
)
for axis, (name, label), colour in zip(
    axes, labels.items(), ("tab:blue", "tab:orange", "tab:green")
):
    scores = np.array(
        [[one[name] for one in drawn] for drawn in found.values()]
    )
    colours = [colour] * len(regions) + ["grey"] * 2
    axis.bar(range(len(scores)), scores.mean(axis=1), color=colours, alpha=0.6)
    axis.plot(
        np.arange(len(scores)).repeat(3),
        scores.ravel(),
        ".",
        color="black",
        markersize=4,
    )
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_ylabel("correlation")
    axis.set_title(label, fontsize=11, loc="left")
axes[-1].set_xticks(range(len(found)), found, rotation=30, ha="right")
figure.suptitle(f"Held-out correlation from {n_voxels} voxels (simulated)")

plt.show()
