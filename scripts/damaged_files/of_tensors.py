"""Ways to damage files of tensors, as safetensors writes them."""

import json
import struct


def tensors(content, draw):
    """Another shape, place or content of one tensor, or other stimuli."""
    header, values = tensor_header(content)
    names = [name for name in header if name != "__metadata__"]
    kind = draw.choice(["shape", "swap", "zeros", "ids", "offsets"])
    name = names[draw.integers(len(names))]
    if kind == "shape":
        header[name]["shape"] = [10**12]
    elif kind == "swap" and len(names) > 1:
        other = names[draw.integers(len(names))]
        header[name], header[other] = header[other], header[name]
    elif kind == "zeros":
        return zeros_in_tensor(content, name), f"{name}, zeros"
    elif kind == "ids" and "__metadata__" in header:
        header["__metadata__"] = {"stimulus_ids": draw.choice(["null", "[1, 2]", '["../../escaped"]', "{}"])}
    else:
        header[name]["data_offsets"] = [0, 10**12]
    return tensor_file(header, values), f"{name}, {kind}"


def zeros_in_tensor(content, name):
    """Zeros for the values of one tensor."""
    header, values = tensor_header(content)
    start, stop = header[name]["data_offsets"]
    return tensor_file(header, values[:start] + bytes(stop - start) + values[stop:])


def tensor_header(content):
    """A file of tensors as its header, a dict, and the bytes behind it."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def tensor_file(header, values):
    """The bytes of such a file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values
