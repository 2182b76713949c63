"""
Maps of a decoder in the brain
==============================

Each voxel has a noise ceiling, and a weight for everything that the decoder
predicts. Both become volumes in the subject's own grid, as NIfTI files that
any viewer reads. Weights say what a decoder uses, which is not where the
information is.

The brain and its responses are **simulated**.
"""

import matplotlib.pyplot as plt
import nibabel
import numpy as np

import brainrecon
from brainrecon.runs.maps import write_maps

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)

# %%
# Fit, and write
# --------------
#
# ``write_maps`` is ``brainrecon map`` on the command line. A map of weights
# has the size of a voxel's weights over all columns of a value; that of one
# column, here the first latent of the VDVAE, has signs.

config = {"method": "brain-diffuser", "data": {"source": "nsd:scenes"}}
run = brainrecon.Run.create(
    "runs/maps", config, features="features", weights="tiny"
).fit()
files, _ = write_maps(run, "maps", columns=[("vdvae", 0)])
for what, path in files.items():
    print(f"{path.name:28s} {nibabel.load(path).shape}  {what}")

# %%
# In the volume
# -------------
#
# Three slices of the ceiling and of two maps of weights. Voxels outside of the
# region are empty.

volumes = {
    "noise ceiling (%)": "noise_ceiling.nii.gz",
    "weights, VDVAE latents": "weights_vdvae.nii.gz",
    "weights, CLIP text": "weights_clip_text.nii.gz",
}
volumes = {
    name: np.asarray(nibabel.load(f"maps/{path}").dataobj)
    for name, path in volumes.items()
}
filled = np.isfinite(volumes["noise ceiling (%)"])
rows = np.flatnonzero(filled.any(axis=(0, 2)))
slices = np.argsort(-filled.sum(axis=(0, 1)), kind="stable")[[0, 4, 8]]

figure, axes = plt.subplots(
    3,
    3,
    figsize=(7, 4.2),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, volume) in zip(axes, volumes.items()):
    line[0].set_ylabel(name.replace(", ", ",\n"), fontsize=10)
    top = np.nanpercentile(volume, 98)
    for axis, z in zip(line, sorted(slices)):
        drawn = axis.imshow(
            volume[:, :, z].T, origin="lower", cmap="inferno", vmin=0, vmax=top
        )
        axis.set_facecolor("gainsboro")
        axis.set_ylim(rows[0] - 1.5, rows[-1] + 1.5)
        axis.set_title(f"slice {z}" if axis in axes[0] else "", fontsize=10)
    figure.colorbar(drawn, ax=line, shrink=0.8)
figure.suptitle("A simulated subject")

# %%
# Weights are no map of information
# ---------------------------------
#
# A decoder that learned from responses dealt to other stimuli has weights as
# large, and they say nothing at all. Only predictions of held-out stimuli tell
# whether there was anything to use.

subject = run.subject
reconstructor = brainrecon.Reconstructor(
    "brain-diffuser", weights="tiny", features="features"
)
values = np.asarray(reconstructor.encode(subject, "train")["clip_text"])
groups = {"clip_text": values.shape[1]}
fits = {
    "as measured": subject.train.patterns,
    "dealt to others": np.random.default_rng(0).permutation(
        subject.train.patterns
    ),
}
sizes = {}
for name, patterns in fits.items():
    decoder = brainrecon.Decoder(
        alphas=1000.0, rescale="none", held_out="all"
    ).fit(patterns, values, groups=groups)
    weights = decoder.predict(np.eye(subject.n_voxels)) - decoder.predict(
        np.zeros((1, subject.n_voxels))
    )
    sizes[name] = np.linalg.norm(weights, axis=1)
    correlation = decoder.held_out_correlation_["clip_text"]
    print(
        f"{name:16s} mean weight {sizes[name].mean():.3f}, held-out correlation {correlation:+.3f}"
    )

regions = ["V1", "V2", "V3", "hV4", "ventral", "lateral", "parietal"]
figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for shift, (name, colour) in zip(
    (-0.2, 0.2), zip(sizes, ("tab:blue", "tab:red"))
):
    means = [sizes[name][subject.rois[region]].mean() for region in regions]
    axis.bar(
        np.arange(len(regions)) + shift,
        means,
        0.38,
        color=colour,
        alpha=0.75,
        label=name,
    )
axis.set_xticks(range(len(regions)), regions)
axis.set(
    ylabel="mean size of weights",
    ylim=(0, 0.03),
    title="CLIP text, by region (simulated)",
)
axis.legend(frameon=False, title="responses", ncols=2, loc="upper left")

plt.show()
