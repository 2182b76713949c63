"""The three copies of Miyawaki's recording, by an independent writer; what is checked of each."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import scipy.signal

from brainrecon.datasets.miyawaki import reader as miyawaki
from stages.ground.errors import InputError

AFFINE = np.diag([3.0, 3, 3, 1])
SEEDS = (0, 1, 2)


def draw_patterns(rng, n):
    """Upright binary patterns, no two of them equal (bar a miracle)."""
    return rng.integers(0, 2, (n, 10, 10))


def fortran(pattern):
    return pattern.flatten(order="F")


@dataclass
class Nilearn:
    root: Path
    mask: np.ndarray = None
    regions: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)  # (part, number) -> (volumes (x, y, z, t), pattern or None of each)

    def func(self, part="random", number=1):
        return self.root / f"func/data_{part}_run{number:02d}.nii.gz"

    def label(self, part="random", number=1):
        return self.root / f"label/data_{part}_run{number:02d}_label.csv"

    def mask_file(self, name="mask"):
        return self.root / f"mask/{name}.nii.gz"


def write_nifti(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_labels(path, shown):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[-1] * 100 if pattern is None else fortran(pattern).tolist() for pattern in shown]
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def write_nilearn(root, seed=0, n_random=3, n_figure=2):
    rng = np.random.default_rng(seed)
    written = Nilearn(root)
    shape = (5, 4, 3)
    written.mask = rng.random(shape) < 0.6
    write_nifti(written.mask_file(), written.mask.astype(np.uint8))
    for name in ("LHV1d", "LHV1v", "RHV1d", "RHV1v", "LHV2d", "RHV3A"):
        written.regions[name] = rng.random(shape) < 0.4
    written.regions["LHVP"] = ~written.mask
    for name, region in written.regions.items():
        write_nifti(written.mask_file(name), region.astype(np.int16))
    figures = draw_patterns(rng, 3)
    for part, n_runs in (("random", n_random), ("figure", n_figure)):
        for number in range(1, n_runs + 1):
            blocks = draw_patterns(rng, 3) if part == "random" else figures[rng.permutation(3)]
            shown = [None] * int(rng.integers(1, 4))
            for pattern in blocks:
                shown += [pattern] * 3 + [None] * 2
            volumes = rng.normal(100, 10, (*shape, len(shown))) + np.arange(len(shown))
            volumes = volumes.astype(np.int16 if seed % 2 else np.float32)
            write_nifti(written.func(part, number), volumes)
            write_labels(written.label(part, number), shown)
            written.runs[part, number] = (volumes, shown)
    return written


def check_split(split, trials):
    """A split's trials and pictures against (run, pattern, response) of each."""
    trials = list(trials)
    assert split.n_trials == len(trials) > 0
    place = {str(name): k for k, name in enumerate(split.stimulus_ids)}
    for k, (run, pattern, response) in enumerate(trials):
        np.testing.assert_allclose(split.betas[k], np.asarray(response, np.float32), rtol=1e-5, atol=1e-4)
        picture = split.images[place[split.trial_stimulus_ids[k]]]
        np.testing.assert_array_equal(picture, np.repeat(pattern[..., None] * 255, 3, axis=2))
        assert run is None or split.runs[k] == run
    assert split.n_stimuli == len({pattern.tobytes() for _, pattern, _ in trials})
    assert split.images.dtype == np.uint8 and split.images.shape == (split.n_stimuli, 10, 10, 3)
    assert split.betas.dtype == np.float32


# MATLAB files


def write_mat(path, content, version=5):
    if version == 5:
        scipy.io.savemat(path, content)
        return
    # Version 7.3 is HDF5 behind 512 bytes of MATLAB's own, with axes the other way round.
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in content.items():
            file[name] = np.asarray(value).T


def draw_mat(seed=0, n_train=12, n_test=9, n_voxels=7):
    rng = np.random.default_rng(seed)
    shown = np.concatenate([draw_patterns(rng, n_train), np.tile(draw_patterns(rng, 3), (n_test // 3, 1, 1))])
    responses = rng.normal(size=(n_voxels, n_train + n_test))
    cells = np.stack([fortran(pattern) for pattern in shown], axis=1).astype(float)
    types = np.repeat([1, 3], [n_train, n_test])[None]
    return shown, {"fmri": responses, "stim": cells, "trial_type": types}


# BData


def write_bdata(path, columns, regions=(), extra=()):
    """Write columns (key -> (n_samples, n)) side by side; regions mark voxels with 1, extra with other numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys, rows, start = list(columns), [], 0
    n_columns = sum(value.shape[1] for value in columns.values())
    for value in columns.values():
        rows.append(np.full(n_columns, np.nan))
        rows[-1][start : start + value.shape[1]] = 1
        start += value.shape[1]
    voxels = rows[keys.index("VoxelData")] == 1 if "VoxelData" in keys else np.zeros(n_columns, bool)
    for key, values in (*dict(regions).items(), *dict(extra).items()):
        rows.append(np.full(n_columns, np.nan))
        values = np.asarray(values)
        rows[-1][voxels] = np.where(values, 1, np.nan) if values.dtype == bool else values
        keys.append(key)
    matrix = np.concatenate(list(columns.values()), axis=1).astype(float)
    with h5py.File(path, "w") as file:
        if path.suffix == ".mat":
            # MATLAB stores columns first, and texts as cells that refer to codes of characters.
            file["dataSet"], file["metaData/value"] = matrix.T, np.array(rows).T
            file["dataSet"].attrs["MATLAB_class"] = file["metaData/value"].attrs["MATLAB_class"] = np.bytes_("double")
            cells = file.create_dataset("metaData/key", (len(keys), 1), dtype=h5py.ref_dtype)
            for k, key in enumerate(keys):
                file[f"#refs#/{k}"] = np.frombuffer(key.encode("utf-16-le"), np.uint16)[:, None]
                cells[k, 0] = file[f"#refs#/{k}"].ref
            return
        file["dataset"], file["metadata/value"] = matrix, np.array(rows)
        file["metadata/key"] = np.array([key.encode() for key in keys])
        file["metadata/description"] = np.array([b"" for _ in keys])
        file.create_group("header")
        file.create_group("vmap")


def draw_bdata(seed=0, n_voxels=8):
    """Rows of a session: rest, random patterns and figures in a random order."""
    rng = np.random.default_rng(seed)
    types = rng.permutation([-1] * 6 + [1] * 9 + [2, 3, 4, 5] * 3)
    figures = dict(zip((2, 3, 4, 5), draw_patterns(rng, 4)))
    shown = np.array([figures.get(kind, pattern) for kind, pattern in zip(types, draw_patterns(rng, len(types)))])
    cells = np.array([fortran(pattern) for pattern in shown], float)
    cells[types < 0] = -1
    columns = {
        "VoxelData": rng.normal(size=(len(types), n_voxels)),
        "Run": np.arange(len(types))[:, None] // 9 + 1,
        "StimulusType": types[:, None],
        "Image": cells,
    }
    regions = {name: rng.random(n_voxels) < 0.5 for name in ("ROI_V1", "ROI_V2", "L_V3A", "R_V3A")}
    regions["ROI_V1"][0], regions["ROI_V2"][1] = True, True
    return shown, columns, regions, {"voxel_x": np.arange(n_voxels) * 3.0}


# Whatever is wrong with the files


def check_one_sentence(told, path, **asked):
    with pytest.raises(InputError, match=told) as caught:
        miyawaki.load(path, **asked)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
