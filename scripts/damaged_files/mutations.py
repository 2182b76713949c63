"""Ways to damage a file, each a function of its content and of a generator of random numbers.

A way gives the new content, or that and what exactly was done. Of HDF5 and MATLAB's files it gets the path. One kind of damage
alone, which a way may draw, is a function of its own.
"""

import gzip
import json
import struct
import zipfile
import zlib
from io import BytesIO

import h5py
import numpy as np
import scipy.io
import scipy.sparse

SMALL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
OTHER_FILES = {
    "a PNG": SMALL_PNG,
    "a web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n",
    "text": b"no such file\n" * 9,
}
VALUES = [None, True, -1, 0, 10**30, float("nan"), "x", "", [], {}, [[]], "../../escaped"]
CELLS = ["", "nan", "x", "-1", "1e400", "9" * 20, "../../escaped", "=1+1"]


# Any file


def empty(content, draw):
    """No byte at all."""
    return b""


def cut(content, draw):
    """The first part alone."""
    return content[: draw.integers(len(content))]


def flip(content, draw):
    """One, three or a hundred flipped bits."""
    damaged = bytearray(content)
    for place in draw.integers(len(content), size=draw.choice([1, 3, 100])):
        damaged[place] ^= 1 << draw.integers(8)
    return bytes(damaged)


def flip_head(content, draw):
    """Flipped bits among the first 256 bytes."""
    return flip(content[:256], draw) + content[256:]


def zero_block(content, draw):
    """Zeros in place of a block."""
    start, length = draw.integers(len(content)), draw.choice([64, 512, 4096])
    return (content[:start] + bytes(length) + content[start + length :])[: len(content)]


def zero_head(content, draw):
    """Zeros in place of the first 64 bytes."""
    return bytes(min(64, len(content))) + content[64:]


def junk_behind(content, draw):
    """A hundred bytes behind the end."""
    return content + draw.bytes(100)


def another_file(content, draw):
    """Another file of the same name."""
    return OTHER_FILES[draw.choice(list(OTHER_FILES))]


ANY = [empty, cut, flip, flip_head, zero_block, zero_head, junk_behind, another_file]


# Text


def other_encoding(content, draw):
    """UTF-16, or UTF-8 with a byte order mark."""
    return content.decode("utf-8", "replace").encode(draw.choice(["utf-16", "utf-8-sig"]))


def json_value(content, draw):
    """Another value, or none, somewhere in the tree."""
    whole = json.loads(content)
    holder = whole
    # Down to a random depth.
    while True:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[draw.integers(len(keys))] if len(keys) else None
        if key is None:
            break
        if not isinstance(holder[key], dict | list) or not len(holder[key]) or draw.random() < 0.4:
            if isinstance(holder, dict) and draw.random() < 0.2:
                del holder[key]
            else:
                holder[key] = VALUES[draw.integers(len(VALUES))]
            break
        holder = holder[key]
    return json.dumps(whole).encode(), f"{key}"


def json_outermost(content, draw):
    """Another outermost value."""
    return json.dumps(VALUES[draw.integers(len(VALUES))]).encode()


def nested(content, draw):
    """Lists in lists without end."""
    return b"[" * 100_000


def huge_number(content, draw):
    """A number of 5,000 digits."""
    return b'{"a": ' + b"1" * 5000 + b"}"


def toml_value(content, draw):
    """Another value of one key."""
    lines = content.decode().splitlines()
    places = [place for place, line in enumerate(lines) if " = " in line]
    if not places:
        return b"a = ["
    place = places[draw.integers(len(places))]
    value = draw.choice(["-1", "true", '""', "[]", "{}", "nan", "1e400", '"../../escaped"', "[" * 1000])
    lines[place] = f"{lines[place].split(' = ')[0]} = {value}"
    return "\n".join(lines).encode(), lines[place][:60]


def table_cell(content, draw):
    """Another cell."""
    lines = content.decode("utf-8").splitlines()
    mark = "\t" if "\t" in lines[0] else ","
    row = draw.integers(len(lines))
    cells = lines[row].split(mark)
    column = draw.integers(len(cells))
    before, cells[column] = cells[column], CELLS[draw.integers(len(CELLS))]
    lines[row] = mark.join(cells)
    return "\n".join(lines).encode(), f"{lines[0].split(mark)[column]}, {before!r} to {cells[column]!r}"


def table_rows(content, draw):
    """A row less, or one twice."""
    lines = content.decode("utf-8").splitlines()
    row = draw.integers(len(lines))
    less = draw.random() < 0.5
    lines[row : row + 1] = [] if less else [lines[row]] * 2
    return "\n".join(lines).encode(), "one less" if less else "one twice"


# Arrays


def npy_header(content, draw):
    """Another shape or type in the header."""
    shape = draw.choice(["(1000000000000,)", "(-1,)", "(3, -4)", "()", "(0,)", "(7, 7, 7)"])
    kinds = [
        (npy_shape(content, shape), f"shape {shape}"),
        (npy_header_of(content, lambda header: header.replace("<f", ">f")), "byte order"),
        (npy_brackets(content), "brackets"),
    ]
    return kinds[draw.integers(len(kinds))]


def npy_shape(content, shape):
    """Another shape in the header, as it is written there."""

    def change(header):
        start, stop = header.index("'shape':"), header.index(")", header.index("'shape':")) + 1
        return header[:start] + f"'shape': {shape}" + header[stop:]

    return npy_header_of(content, change)


def npy_brackets(content):
    """A header of opening brackets."""
    return npy_header_of(content, lambda header: "(" * len(header))


def npy_header_of(content, change):
    """The header passed through `change`, with its length kept."""
    length = struct.unpack("<H", content[8:10])[0]
    changed = change(content[10 : 10 + length].decode("latin1"))[:length].ljust(length)
    return content[:10] + changed.encode("latin1") + content[10 + length :]


def zip_member(content, draw):
    """A member less, or a damaged one in an archive that is whole."""
    done = []

    def change(members):
        name = draw.choice(sorted(members))
        if draw.random() < 0.3:
            del members[name]
            how = "absent"
        elif draw.random() < 0.5:
            members[name], how = npy_header(members[name], draw)
        else:
            members[name], how = flip(members[name], draw), "flipped"
        done.append(f"{name}, {how}")

    return zip_members(content, change), done[0]


def zip_members(content, change, compression=zipfile.ZIP_DEFLATED):
    """The archive written anew after `change(dict of name to content)`."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return out.getvalue()


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


def nifti_header(content, draw):
    """Another number in one field of the header."""
    field, offset, code, choices = [
        ("number of axes", 40, "<h", [0, 9, -1]),
        ("first length", 42, "<h", [-4, 0, 32000]),
        ("fourth length", 48, "<h", [-4, 0, 32000]),
        ("type", 70, "<h", [0, 2, 16, 64, 128, 256, 2304, 4096]),
        ("offset", 108, "<f", [float("nan"), -1, 1e9, 400]),
        ("slope", 112, "<f", [float("nan"), float("inf"), -1, 0]),
        ("mark", 344, "<i", [0]),
    ][draw.integers(7)]
    value = choices[draw.integers(len(choices))]
    return nifti_field(content, offset, code, value), f"{field} {value}"


def nifti_field(content, offset, code, value):
    """A number in the header, as `struct` writes it."""
    packed = content[:2] == b"\x1f\x8b"
    values = bytearray(gzip.decompress(content) if packed else content)
    struct.pack_into(code, values, offset, value)
    return gzip.compress(bytes(values)) if packed else bytes(values)


# Pictures


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture_bomb(content, draw):
    """A few bytes that claim to be a picture of 400 million pixels, or hold 100 MB of text."""
    return [huge_picture, picture_of_text][draw.integers(2)]()


def huge_picture():
    """A PNG that claims 20,000 x 20,000 pixels."""
    return _png(_picture_header(20_000), (b"IDAT", zlib.compress(b"")))


def picture_of_text():
    """A PNG of one pixel with 100 MB of text before it."""
    pixel = (b"IDAT", zlib.compress(bytes(4)))
    return _png(_picture_header(1), (b"zTXt", b"C\0\0" + zlib.compress(bytes(10**8))), pixel)


def grey_of_16_bit():
    """A PNG of one grey pixel of 16 bits."""
    return _png(_picture_header(1, bits=16, colour=0), (b"IDAT", zlib.compress(b"\0\x12\x34")))


def _picture_header(length, bits=8, colour=2):
    return b"IHDR", struct.pack(">IIBBBBB", length, length, bits, colour, 0, 0, 0)


def _png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in (*chunks, (b"IEND", b"")))


def picture_program(content, draw):
    """A program in PostScript."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"


# Tensors


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


OF_SUFFIX = {
    ".json": [other_encoding, json_value, json_value, json_value, json_outermost, nested, huge_number],
    ".jsonl": [other_encoding, nested],
    ".toml": [other_encoding, toml_value, toml_value, nested],
    ".csv": [other_encoding, table_cell, table_cell, table_rows],
    ".tsv": [other_encoding, table_cell, table_cell, table_rows],
    ".npy": [npy_header, npy_header],
    ".npz": [zip_member, zip_member],
    ".h5": [hdf5_content, hdf5_content, hdf5_content],
    ".hdf5": [hdf5_content, hdf5_content, hdf5_content],
    ".mat": [mat_content, mat_content],
    ".gz": [nifti_header, nifti_header, nifti_header],
    ".nii": [nifti_header, nifti_header, nifti_header],
    ".png": [picture_bomb, picture_program],
    ".safetensors": [tensors, tensors],
}
"""Ways for a kind of file, beside those for any; one that is named more often is taken more often."""

_IN_PLACE = (hdf5_content, mat_content)


def damage(path, draw):
    """Damage a file in a way that is drawn; its name.

    Parameters
    ----------
    path : pathlib.Path
        A copy, for it is written anew.
    draw : numpy.random.Generator

    Returns
    -------
    str
        The way's name, and what exactly it did if it says so; or "nothing" if it does not suit the file.
    """
    content = path.read_bytes()
    ways = ANY + OF_SUFFIX.get(path.suffix, [])
    way = ways[draw.integers(len(ways))]
    try:
        if way in _IN_PLACE:
            # Never through a link to the valid file.
            path.unlink()
            path.write_bytes(content)
            return f"{way.__name__}: {way(path, draw)}"
        damaged = way(content, draw)
    except Exception:
        damaged, way = flip(content, draw) if content else content, flip
    damaged, done = damaged if isinstance(damaged, tuple) else (damaged, "")
    path.unlink()
    path.write_bytes(damaged)
    return (f"{way.__name__}: {done}" if done else way.__name__) if damaged != content else "nothing"
