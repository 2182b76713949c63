"""One's own arrays as one file of every kind, written without the toolkit."""

import h5py
import numpy as np
import scipy.io


def content(seed):
    """Arrays of a subject: trials of both splits mixed, pictures in an order of their own."""
    rng = np.random.default_rng(seed)
    n_train, n_test, n_voxels = rng.integers(5, 12), rng.integers(2, 5), rng.integers(6, 20)
    names = np.array([f"stim{number:02d}" for number in rng.permutation(n_train + n_test)])
    test = names[:n_test]
    ids = rng.permutation(np.concatenate([np.repeat(test, 3), np.repeat(names[n_test:], 2)]))
    return {
        "betas": rng.normal(size=(len(ids), n_voxels)).astype(np.float32),
        "stimulus_ids": ids,
        "split": np.where(np.isin(ids, test), "test", "train"),
        "sessions": np.arange(len(ids)) // 8 + 1,
        "runs": np.arange(len(ids)) // 4 + 1,
        "images": rng.integers(0, 256, size=(len(names), 6, 5, 3), dtype=np.uint8),
        "image_ids": names,
        "captions": np.array([[f"{name} one", f"{name} two"] for name in names]),
        "noise_ceiling": rng.uniform(0, 90, n_voxels),
        "rois/V1": np.arange(n_voxels) < 4,
        "roi_V2": np.arange(n_voxels) >= 4,
    }


def write_npz(path, arrays):
    np.savez_compressed(path, **arrays)


def write_hdf5(path, arrays, **options):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values.dtype.kind == "U":
                file.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=values, **options)


def write_big_endian(path, arrays):
    turned = {key: v.astype(v.dtype.newbyteorder(">")) if v.dtype.kind in "if" else v for key, v in arrays.items()}
    chunks = {"compression": "gzip", "chunks": True, "shuffle": True}
    write_hdf5(path, turned, **chunks)


def write_fixed_text(path, arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values


def write_matlab_73(path, arrays):
    """As MATLAB does: axes in reverse, vectors as rows, texts as cells of char codes behind references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        for name, values in arrays.items():
            values = values[None] if values.ndim == 1 else values
            if values.dtype.kind == "U":
                cells = np.empty(values.shape, dtype=h5py.ref_dtype)
                for place in np.ndindex(values.shape):
                    codes = np.array([ord(letter) for letter in values[place]], dtype=np.uint16)[:, None]
                    entry = references.create_dataset(
                        f"{name.replace('/', '_')}_{'_'.join(map(str, place))}", data=codes
                    )
                    entry.attrs["MATLAB_class"] = np.bytes_("char")
                    cells[place] = entry.ref
                dataset, kind = file.create_dataset(name, data=cells.T, dtype=h5py.ref_dtype), "cell"
            else:
                logical = values.dtype == bool
                dataset = file.create_dataset(name, data=(values.astype(np.uint8) if logical else values).T)
                kind = "logical" if logical else "double"
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)


def write_matlab_5(path, arrays):
    saved, rois = {}, {}
    for name, values in arrays.items():
        values = values.astype(object) if values.dtype.kind == "U" else values
        if name.startswith("rois/"):
            rois[name[5:]] = values
        else:
            saved[name] = values
    scipy.io.savemat(path, saved | ({"rois": rois} if rois else {}), do_compression=True)


def write_prefixed(path, arrays):
    """The splits side by side, without array split."""
    saved = {name: values for name, values in arrays.items() if name.startswith(("roi", "noise"))}
    for split in ("train", "test"):
        rows = arrays["split"] == split
        for name in ("betas", "stimulus_ids", "sessions", "runs"):
            saved[f"{split}_{name}"] = arrays[name][rows]
        shown = np.flatnonzero(np.isin(arrays["image_ids"], arrays["stimulus_ids"][rows]))
        for name in ("images", "image_ids", "captions"):
            saved[f"{split}_{name}"] = arrays[name][shown]
    write_npz(path, saved)


WRITERS = {
    "npz": (write_npz, "mine.npz"),
    "prefixed": (write_prefixed, "mine.npz"),
    "hdf5": (write_hdf5, "mine.h5"),
    "big endian": (write_big_endian, "mine.hdf5"),
    "fixed text": (write_fixed_text, "mine.H5"),
    "MATLAB 7.3": (write_matlab_73, "mine.mat"),
    "MATLAB 5": (write_matlab_5, "mine.mat"),
}
