"""Simulated responses as epochs of EEG: each of 200 values is a channel at a time."""

import numpy as np
from eeg_files import EegVoa, ThingsEeg2
from PIL import Image

N_CHANNELS = 10
N_REPEATS = {"train": 2, "test": 3}


def things_eeg2(folder, study, n_train=150, n_test=20):
    """Samples from -0.2 s on at 25 Hz; what is before the onset is noise."""
    root = folder / "things-eeg2"
    written = ThingsEeg2(root, names=(), pictures=False)
    written.CHANNELS = ["P7", "P3", "Pz", "P4", "P8", "PO7", "PO8", "O1", "Oz", "O2"]
    shown = {"train": n_train, "test": n_test}
    written.shown = {
        split: [(f"{row // 5 + 1:05d}_{split}_{row // 5}", f"{split}_{row:03d}.jpg") for row in range(n)]
        for split, n in shown.items()
    }
    written.save_metadata()
    for split, n in shown.items():
        values = study.responses(split, n, N_REPEATS[split])
        after = values.reshape(*values.shape[:2], N_CHANNELS, -1)
        before = written.rng.normal(scale=values.std(), size=(*after.shape[:3], 5))
        written.times = -0.2 + np.arange(5 + after.shape[3]) / 25
        written.epochs["sub-01", split] = np.concatenate([before, after], axis=3)
        written.save_epochs("sub-01", split)
        for (concept, file), picture in zip(written.shown[split], study.pictures(split, n)):
            place = root / written.folders[split] / concept / file
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place, quality=95)
    return root


def eeg_voa(folder, study, n_train=150, n_test=20, n_channels=5):
    """Each value of the study holds for 11 samples of a channel, between samples 20 and 459, with noise of its own."""
    root = folder / "eeg-voa"
    written = EegVoa(root, people=(), splits=(), pictures=False)
    written.people, written.classes = (1,), [f"n{number:08d}" for number in range(2_000_000, 2_000_010)]
    written.segments, written.images, parts = [], [], {"train": [], "val": [], "test": []}
    for split, n in (("train", n_train), ("test", n_test)):
        responses = study.responses(split, n, 1)[:, 0]
        for row, (values, picture) in enumerate(zip(responses, study.pictures(split, n))):
            stem = f"{written.classes[row % 10]}_{'12'[split == 'test']}{row:03d}"
            held = np.repeat(values.reshape(n_channels, -1), 11, axis=1)
            eeg = written.rng.normal(scale=0.1, size=(n_channels, 500))
            eeg[:, 20:460] += held
            parts["val" if split == "train" and row % 15 == 0 else split].append(len(written.segments))
            written.images.append(stem)
            written.add(1, len(written.images) - 1, eeg.astype(np.float32))
            written.draw(stem, picture)
    written.save()
    written.save_splits("all", [parts] * 6)
    return root
