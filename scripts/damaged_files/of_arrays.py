"""Ways to damage arrays with a header: .npy, .npz and NIfTI."""

import gzip
import struct
import zipfile
from io import BytesIO

from damaged_files.of_any_file import flip


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
