"""The pictures of a copy of some data, changed where they lie, in whatever file they are."""

import io
import tarfile

import h5py
import numpy as np
import scipy.io
from PIL import Image

PICTURES = (".png", ".jpeg", ".jpg")
GREY = ("stimTrn", "stimVal", "stimuli", "stimuli_test")


def binary(values):
    """0 and 1 where white is 255; where white is 1, as in files of floats, 0 to 255."""
    if values.dtype.kind == "f" and values.max() <= 1:
        return (255 * values).astype(values.dtype)
    return (values > 127).astype(values.dtype)


def constant(values):
    """One grey level for all pixels of all pictures."""
    grey = 0.3 if values.dtype.kind == "f" and values.max() <= 1 else 77
    return np.full_like(values, grey)


def sixteen_bits(values):
    return (100 * values.astype(float)).astype(np.uint16)


WAYS = {"binary": binary, "constant": constant, "of 16 bits": sixteen_bits}


def spoil(path, change):
    """Change the pictures of a file, or of all files of a folder; how many arrays and pictures were changed."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return sum(_spoil(file, change) for file in files)


def _are_pictures(name, values):
    """Of four axes, or grey ones of three that say by their name that they were shown."""
    return np.ndim(values) == 4 or (np.ndim(values) == 3 and name in GREY)


def _spoil(path, change):
    kind = path.suffix.lower()
    if kind in PICTURES:
        path.write_bytes(_changed_picture(path.read_bytes(), change))
        return 1
    if kind == ".tar":
        return _spoil_members(path, change)
    if kind == ".npy":
        try:
            values = np.load(path)
        except ValueError:
            # Pickled objects, among which no copy keeps pictures.
            return 0
        return _saved(lambda changed: np.save(path, changed), values, change)
    if kind == ".npz":
        arrays = dict(np.load(path))
        changed = {name: change(values) for name, values in arrays.items() if _are_pictures(name, values)}
        np.savez(path, **(arrays | changed))
        return len(changed)
    if h5py.is_hdf5(path):
        with h5py.File(path, "r+") as file:
            packed = [
                name
                for name, values in file.items()
                if isinstance(values, h5py.Dataset) and h5py.check_vlen_dtype(values.dtype) == np.uint8
            ]
            for name in packed:
                for row, content in enumerate(file[name][()]):
                    file[name][row] = np.frombuffer(_changed_picture(content.tobytes(), change), dtype=np.uint8)
            names = [
                name
                for name, values in file.items()
                if isinstance(values, h5py.Dataset) and _are_pictures(name, values)
            ]
            for name in names:
                changed = change(file[name][()])
                attributes = dict(file[name].attrs)
                del file[name]
                file[name] = changed
                file[name].attrs.update(attributes)
        return len(names) + len(packed)
    if kind == ".mat":
        arrays = {name: values for name, values in scipy.io.loadmat(path).items() if not name.startswith("__")}
        changed = {name: change(values) for name, values in arrays.items() if _are_pictures(name, values)}
        scipy.io.savemat(path, arrays | changed)
        return len(changed)
    return 0


def _changed_picture(content, change):
    with Image.open(io.BytesIO(content)) as picture:
        values = change(np.asarray(picture.convert("RGB")))
    # PNG has one channel of 16 bits, or several of 8.
    values = values[..., 0] if values.dtype == np.uint16 else values
    written = io.BytesIO()
    Image.fromarray(values).save(written, format="PNG")
    return written.getvalue()


def _spoil_members(path, change):
    with tarfile.open(path) as archive:
        members = [(entry.name, archive.extractfile(entry).read()) for entry in archive]
    n_changed = 0
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            if name.endswith(PICTURES):
                content, n_changed = _changed_picture(content, change), n_changed + 1
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return n_changed


def _saved(save, values, change):
    if values.ndim != 4:
        return 0
    save(change(values))
    return 1
