"""The pictures that the embedded networks learn from, drawn once and kept on disk."""

import json
import multiprocessing
from pathlib import Path

import numpy as np

from weights.whole_files import whole_file, write_text

TRAIN_SEED, HELD_OUT_SEED = 1, 2
TRAIN_PICTURES, HELD_OUT_PICTURES = 40_000, 2_000
PICTURE_SIZE = 64
LABELS = ("kind", "category", "colour", "background", "digit", "place", "layout")
LIGHTS = ("images", "relit")
_SHARD = 1000


class Pool:
    """Drawn pictures with what they show, in the order of their index.

    Attributes
    ----------
    images, relit : memory map of shape (n_pictures, 64, 64, 3), uint8
        The pictures, and the same ones under another light and shade.
    captions : list of list of str
        Five captions per picture.
    labels : dict of str to list
        One entry per picture for each of ``LABELS``.
    """

    def __init__(self, folder):
        folder = Path(folder)
        self.images, self.relit = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in LIGHTS
        )
        self.captions = json.loads((folder / "captions.json").read_text())
        self.labels = json.loads((folder / "labels.json").read_text())

    def __len__(self):
        return len(self.images)

    def batch_indices(self, step, batch_size, seed=0):
        """Indices of one training batch: a shuffled pass over the pool after the other.

        Parameters
        ----------
        step : int
            Number of the batch.
        batch_size : int
            Pictures in it; at most the size of the pool.
        seed : int
            Of the shuffling.

        Returns
        -------
        array of shape (batch_size,), int64
            Without repetition; the same for the same arguments. The remainder of a pass is dropped.
        """
        per_pass = len(self) // batch_size
        passed, position = divmod(step, per_pass)
        if getattr(self, "_shuffled", (None,))[0] != (seed, passed):
            order = np.random.default_rng([seed, passed]).permutation(len(self))
            self._shuffled = ((seed, passed), order)
        return self._shuffled[1][position * batch_size : (position + 1) * batch_size]


def load_pool(workspace, *, held_out=False, pictures=None, processes=2):
    """Open the pool of a workspace, drawing what is missing of it.

    Parameters
    ----------
    workspace : path-like
        Folder of all unfinished networks; the pools are ``pool/train`` and ``pool/held_out`` in it.
    held_out : bool
        The pictures for judging instead of those for training. They come from another seed.
    pictures : int, optional
        How many; a pool of another size is drawn anew. Unless given, whatever is there, or 40,000 and 2,000.
    processes : int
        Processes that draw.

    Returns
    -------
    Pool
    """
    folder = Path(workspace) / "pool" / ("held_out" if held_out else "train")
    seed = HELD_OUT_SEED if held_out else TRAIN_SEED
    complete = (folder / "labels.json").exists()
    if not complete or pictures not in (None, len(Pool(folder))):
        _draw(folder, seed, pictures or (HELD_OUT_PICTURES if held_out else TRAIN_PICTURES), processes)
    return Pool(folder)


def _draw(folder, seed, pictures, processes):
    shards = folder / "shards"
    shards.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").unlink(missing_ok=True)
    parts = [(start, min(start + _SHARD, pictures)) for start in range(0, pictures, _SHARD)]
    missing = [(shards, seed, *part) for part in parts if not _shard(shards, *part).exists()]
    # Spawned: forking a process that already runs torch's threads can hang.
    with multiprocessing.get_context("spawn").Pool(processes) as workers:
        done = pictures - sum(stop - start for *_, start, stop in missing)
        for drawn in workers.imap_unordered(_draw_shard, missing):
            done += drawn
            print(f"pool/{folder.name}: {done:,} of {pictures:,} pictures", flush=True)

    captions, labels = [], {label: [] for label in LABELS}
    for light, name in enumerate(LIGHTS):
        with whole_file(folder / f"{name}.npy") as partial:
            images = np.lib.format.open_memmap(
                partial, mode="w+", dtype=np.uint8, shape=(pictures, PICTURE_SIZE, PICTURE_SIZE, 3)
            )
            for start, stop in parts:
                drawn = np.load(_shard(shards, start, stop).with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
                images[start:stop] = drawn[light]
            images.flush()
    for start, stop in parts:
        facts = json.loads(_shard(shards, start, stop).read_text())
        captions += facts["captions"]
        for label in LABELS:
            labels[label] += facts["labels"][label]
    write_text(folder / "captions.json", json.dumps(captions))
    # Last, because its presence says that the pool is complete.
    write_text(folder / "labels.json", json.dumps(labels))
    for start, stop in parts:
        _shard(shards, start, stop).with_suffix(".npy").unlink()
        _shard(shards, start, stop).unlink()
    shards.rmdir()


def _shard(shards, start, stop):
    return shards / f"{start:06d}-{stop:06d}.json"


def _draw_shard(task):
    shards, seed, start, stop = task
    from brainrecon.simulation.world.pictures import draw_pictures

    lights = [draw_pictures(seed, range(start, stop), size=PICTURE_SIZE, light=light) for light in range(len(LIGHTS))]
    drawn = lights[0]
    path = _shard(shards, start, stop)
    with whole_file(path.with_suffix(".npy")) as partial:
        np.save(partial, np.stack([[picture.image for picture in pictures] for pictures in lights]))
    labels = {label: [getattr(picture, label) for picture in drawn] for label in LABELS}
    write_text(path, json.dumps({"captions": [list(picture.captions) for picture in drawn], "labels": labels}))
    return stop - start
