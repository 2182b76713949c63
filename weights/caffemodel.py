"""Weights of Caffe's models: a `.caffemodel` is a protocol buffer, of which the layers' names and numbers are read.

Layers are messages of field 100, or of field 2 as they were until 2014. A layer has its name in field 1 (4) and its weights
and biases in field 7 (6). Those have their values, floats, in field 5, and their shape in field 7, or in fields 1 to 4.
"""

from pathlib import Path

import numpy as np

from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.protocol_buffers import fields, whole_numbers

# Field of a layer in the model -> fields of its name and of its blobs.
_LAYERS = {100: (1, 7), 2: (4, 6)}


def read_caffemodel(path):
    """Read a model's weights onto the CPU.

    Parameters
    ----------
    path : path

    Returns
    -------
    tensors : dict of str to tensor
        ``<layer>.weight`` and ``<layer>.bias``, float32, in the shapes that torch's layers have.

    Raises
    ------
    CheckpointError
        The file is cut off, or is no such model.
    """
    import torch

    path = Path(path)
    data = memoryview(path.read_bytes())
    tensors = {}
    try:
        for field, layer in fields(data):
            if field not in _LAYERS or isinstance(layer, int):
                continue
            name_field, blob_field = _LAYERS[field]
            inside = list(fields(layer))
            (name,) = [bytes(value).decode() for number, value in inside if number == name_field]
            blobs = [_blob(value) for number, value in inside if number == blob_field]
            for kind, values in zip(("weight", "bias"), blobs):
                tensors[f"{name}.{kind}"] = torch.from_numpy(values)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        told = why_no_tensors(path, error)
        raise CheckpointError(f"{path} cannot be read as a .caffemodel ({told}); fetch it again.") from None
    if not tensors:
        raise CheckpointError(f"{path} holds no layers with weights; give a .caffemodel as it was published.")
    return tensors


def _blob(message):
    """Values of a blob in its shape; leading ones, with which older files fill up to four axes, are dropped."""
    shape, values = {}, []
    for field, value in fields(message):
        if field == 5:
            values.append(np.frombuffer(value, dtype="<f4"))
        elif field == 7:
            sizes = [size for number, packed in fields(value) if number == 1 for size in whole_numbers(packed)]
            shape = dict(enumerate(sizes))
        elif field in (1, 2, 3, 4):
            shape[field - 1] = value
    sizes = [shape[axis] for axis in sorted(shape)]
    while len(sizes) > 1 and sizes[0] == 1:
        sizes.pop(0)
    return np.concatenate(values).reshape(sizes).copy()
