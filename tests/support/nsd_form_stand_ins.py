"""Simulated subjects in further forms of NSD and in a BData file, for `stand_ins`."""

import io

import h5py
import nibabel
import numpy as np
import scipy.io
from kamitani_files import write_bdata
from packed_layouts import npy, write_tar
from PIL import Image

AFFINE = np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])
N_TRAIN, N_TEST, REPEATS = 150, 20, 3


def png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def algonauts(folder, study):
    """One response for each picture, z-scored; a part of the training split is tested."""
    responses = study.responses("train", N_TRAIN, REPEATS).mean(axis=1)
    responses = (responses - responses.mean(axis=0)) / responses.std(axis=0)
    n_left = study.n_voxels // 2
    root = folder / "subj01"
    for name in ("training_split/training_fmri", "training_split/training_images", "roi_masks"):
        (root / name).mkdir(parents=True)
    for half, columns in (("lh", slice(None, n_left)), ("rh", slice(n_left, None))):
        own = responses[:, columns].astype(np.float32)
        np.save(root / "training_split/training_fmri" / f"{half}_training_fmri.npy", own)
        np.save(root / "roi_masks" / f"{half}.all-vertices_fsaverage_space.npy", np.ones(own.shape[1], dtype=int))
    for row, picture in enumerate(study.pictures("train", N_TRAIN)):
        name = f"train-{row + 1:04d}_nsd-{7 * row + 5:05d}.png"
        Image.fromarray(picture).save(root / "training_split/training_images" / name)
    return folder


def mindeye(folder, study):
    """Three rows for each picture; of every third one the last is a copy of the first."""
    root = folder / "webdataset_avg_split"
    number = 0
    for part, split, rows in (
        ("train", "train", range(120)),
        ("val", "train", range(120, 150)),
        ("test", "test", range(N_TEST)),
    ):
        pictures = study.pictures(split, max(rows) + 1)
        responses = study.responses(split, max(rows) + 1, REPEATS)
        members = []
        for row in rows:
            own, count = responses[row].astype(np.float32), 3
            if row % 3 == 0:
                own, count = own[[0, 1, 0]], 2
            key = f"sample{number:09d}"
            members += [
                (f"{key}.coco73k.npy", npy(np.array([number + 11]))),
                (f"{key}.jpg", png(pictures[row])),
                (f"{key}.nsdgeneral.npy", npy(own)),
                (f"{key}.num_uniques.npy", npy(np.array([count]))),
                (f"{key}.trial.npy", npy(np.array([number]))),
            ]
            number += 1
        write_tar(root / part / f"{part}_subj01_0.tar", members)
    return folder


def own_bdata(folder, study):
    folder.mkdir(parents=True)
    (folder / "images").mkdir()
    voxels, part, picture = [], [], []
    for number, (split, n) in enumerate((("train", N_TRAIN), ("test", N_TEST))):
        for row, shown in enumerate(study.pictures(split, n)):
            Image.fromarray(shown).save(folder / "images" / f"stimulus_{1000 * number + row}.png")
        voxels.append(study.responses(split, n, REPEATS).reshape(-1, study.n_voxels))
        part += [number + 4] * (n * REPEATS)
        picture += np.repeat(1000 * number + np.arange(n), REPEATS).tolist()
    return write_bdata(folder / "mine.h5", np.concatenate(voxels), {}, {"half": part, "picture": picture})


def standard(folder, study):
    """Betas of every trial in MNI's files, voxels in a row of the volume; a mask of one's own is not needed."""
    train, test = study.responses("train", N_TRAIN, REPEATS), study.responses("test", N_TEST, REPEATS)
    both = np.concatenate([test, train])
    pictures = np.concatenate([study.pictures("test", N_TEST), study.pictures("train", N_TRAIN)])
    n_pictures, n_trials = len(both), N_TRAIN + N_TEST
    experiment = folder / "nsddata/experiments/nsd"
    experiment.mkdir(parents=True)
    order = np.tile(np.arange(1, n_pictures + 1), REPEATS)
    content = {
        "masterordering": order[None].astype(float),
        "subjectim": np.arange(1, n_pictures + 1)[None].astype(float),
        "sharedix": np.arange(1, N_TEST + 1)[None].astype(float),
        "stimpattern": np.ones((REPEATS, 1, n_trials), dtype=np.uint8),
    }
    scipy.io.savemat(experiment / "nsd_expdesign.mat", content)
    stimuli = folder / "nsddata_stimuli/stimuli/nsd"
    stimuli.mkdir(parents=True)
    with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = pictures
    betas = folder / "nsddata_betas/ppdata/subj01/MNI/betas_fithrf"
    betas.mkdir(parents=True)
    shape = (10, 5, -(-study.n_voxels // 50))
    scale = 300 * 5 / np.abs(both).max()
    for repeat in range(REPEATS):
        volume = np.zeros((int(np.prod(shape)), n_trials), dtype=np.int16)
        volume[: study.n_voxels] = np.rint(both[:, repeat].T * scale)
        image = nibabel.Nifti1Image(volume.reshape(*shape, n_trials), AFFINE)
        nibabel.save(image, betas / f"betas_session{repeat + 1:02d}.nii.gz")
        valid = (np.arange(int(np.prod(shape))) < study.n_voxels).reshape(shape).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(valid, AFFINE), betas / f"valid_session{repeat + 1:02d}.nii.gz")
    regions = folder / "nsddata/ppdata/subj01/MNI/roi"
    regions.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(valid.astype(np.int16), AFFINE), regions / "nsdgeneral.nii.gz")
    return folder
