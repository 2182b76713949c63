"""A file of handwritten sixes and nines in the layout of digits69, drawn here."""

import numpy as np
import scipy.io


def draw_digit(name, size=28):
    """A ring low with a stroke up to the right is a six; turned about, a nine."""
    rows, columns = np.mgrid[:size, :size]
    ring = np.abs(np.hypot(rows - 18, columns - 13) - 5) < 1.5
    stroke = (np.abs(columns - 8 - (18 - rows) * 0.3) < 1.3) & (rows > 3) & (rows < 19)
    picture = (ring | stroke).astype(np.float32)
    return picture if name == "six" else picture[::-1, ::-1]


def write_digits(path):
    """12 + 4 digits, sideways, with 5 voxels: the content of the file and the name of each digit."""
    rng = np.random.default_rng(0)
    names = np.array(["six", "nine"] * 8)
    pictures = np.stack([draw_digit(name) for name in names]).transpose(0, 2, 1)[..., None]
    responses = rng.normal(size=(16, 5)).astype(np.float32)
    content = {
        "x_train": pictures[:12],
        "x_test": pictures[12:],
        "y_train": responses[:12],
        "y_test": responses[12:],
    }
    scipy.io.savemat(path, content)
    return content, names
