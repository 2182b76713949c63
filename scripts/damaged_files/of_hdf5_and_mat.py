"""Ways to damage HDF5 and MATLAB's files: each gets the path, and writes the file anew."""

import h5py
import numpy as np
import scipy.io
import scipy.sparse


def hdf5_content(path, draw):
    """A dataset that is absent, a link, a group, or of another shape, type or content."""
    names = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    kinds = ["absent", "group", "loop", "external", "many", "zeros", "text", "turned", "few", "nan"]
    name, kind = names[draw.integers(len(names))], draw.choice(kinds)
    return f"{name}, {hdf5_dataset(path, name, kind, draw)}"


def hdf5_dataset(path, name, kind, draw=None):
    """Another thing of the same name, of a kind of `hdf5_content`, 10^12 rows for "many"; the kind, "absent" if it has none."""
    with h5py.File(path, "a") as file:
        values, attributes = file[name], dict(file[name].attrs)
        shape, dtype = values.shape, values.dtype
        kept = values[()]
        del file[name]
        match kind:
            case "group":
                file.create_group(name)
            case "loop":
                file[name] = h5py.SoftLink(f"/{name}")
            case "external":
                file[name] = h5py.ExternalLink("/etc/hostname.hdf5", "/a")
            case "many":
                rows = (10**12, *shape[1:])
                file.create_dataset(name, rows, dtype, chunks=(1, *shape[1:]))
            case "zeros":
                file.create_dataset(name, shape, dtype)
            case "text":
                file[name] = np.full(shape or (1,), b"x")
            case "turned" if np.ndim(kept) > 1:
                file[name] = kept.T
            case "few" if np.ndim(kept):
                file[name] = kept[: len(kept) // 2]
            case "nan" if dtype.kind == "f":
                kept = np.array(kept)
                kept.flat[draw.integers(max(kept.size, 1))] = np.nan
                file[name] = kept
        if name in file and kind not in ("loop", "external"):
            for key, value in attributes.items():
                file[name].attrs[key] = value
        return kind if name in file or kind in ("absent", "loop", "external") else "absent"


def mat_content(path, draw):
    """A variable that is absent, or of another shape, type or content."""
    names = [name for name in scipy.io.loadmat(path) if not name.startswith("__")]
    kinds = ["absent", "text", "turned", "sparse", "complex", "few", "cell"]
    name, kind = draw.choice(sorted(names)), draw.choice(kinds)
    mat_variable(path, name, kind)
    return f"{name}, {kind}"


def mat_variable(path, name, kind):
    """Another variable of the same name: one of the kinds of `mat_content`."""
    content = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
    value = content[name]
    match kind:
        case "absent":
            del content[name]
        case "text":
            content[name] = "".join(chr(97 + int(code) % 26) for code in np.ravel(value)[:50] if np.isreal(code))
        case "turned":
            content[name] = value.T
        case "sparse" if value.dtype.kind in "biuf" and value.ndim == 2:
            content[name] = scipy.sparse.csc_matrix(value.astype(float))
        case "complex" if value.dtype.kind in "biuf":
            content[name] = value + 1j
        case "few":
            content[name] = value[..., : value.shape[-1] // 2]
        case "cell":
            content[name] = np.array([value, {}], dtype=object)
    scipy.io.savemat(path, content)
