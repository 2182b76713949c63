"""Ways to damage one file that are named, each ``damage(path)``; those of several files are ``lay(sandbox, source)``."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile

import h5py
import numpy as np
import scipy.io
import torch
from PIL import Image

from damaged_files import of_arrays, of_hdf5_and_mat, of_tensors
from damaged_files.places import VDVAE


def content(change, *others, **named):
    """A damage that makes other bytes of a file's."""
    return lambda path: path.write_bytes(change(path.read_bytes(), *others, **named))


def text(written):
    """A damage that writes something else."""
    return lambda path: path.write_bytes(written if isinstance(written, bytes) else written.encode())


def at(key, value):
    """Another value of a key of a JSON file."""
    return content(lambda whole: json.dumps(json.loads(whole) | {key: value}).encode())


def cell(column, value, row=1):
    """Another cell in a table."""

    def apply(path):
        lines = path.read_text().splitlines()
        mark = "\t" if "\t" in lines[0] else ","
        cells = lines[row].split(mark)
        cells[lines[0].split(mark).index(column)] = value
        path.write_text("\n".join([*lines[:row], mark.join(cells), *lines[row + 1 :]]) + "\n")

    return apply


def flipped(number, first=0, last=None, seed=0):
    """A damage of flipped bits between two places."""

    def change(whole):
        damaged, draw = bytearray(whole), np.random.default_rng(seed)
        for place in draw.integers(first, last or len(whole), size=number):
            damaged[place] ^= 1 << draw.integers(8)
        return bytes(damaged)

    return content(change)


def zeros(first, length):
    """A damage of zeros from a share of the file on."""

    def change(whole):
        start = int(len(whole) * first)
        return (whole[:start] + bytes(length) + whole[start + length :])[: len(whole)]

    return content(change)


def hdf5(name, kind):
    """Another thing in the place of a dataset."""
    return lambda path: of_hdf5_and_mat.hdf5_dataset(path, name, kind)


def mat(name, kind):
    """Another variable in a MATLAB file."""
    return lambda path: of_hdf5_and_mat.mat_variable(path, name, kind)


def mat_packed_and_flipped(path):
    """A MATLAB file whose variables are compressed, with a flipped bit."""
    scipy.io.savemat(path, {k: v for k, v in scipy.io.loadmat(path).items() if k[0] != "_"}, do_compression=True)
    flipped(1, path.stat().st_size // 2)(path)


def nifti(offset, code, value):
    """Another number in a header."""
    return content(of_arrays.nifti_field, offset, code, value)


def dimensions(value):
    """Another number of axes."""
    return nifti(40, "<h", value)


def datatype(value):
    """Another code of the type of values."""
    return nifti(70, "<h", value)


def offset(value):
    """Another place of the first value."""
    return nifti(108, "<f", value)


def member(name, change):
    """Another content of a member of an archive."""

    def of_members(members):
        members[name] = change(members[name])

    return content(of_arrays.zip_members, of_members)


def tensors(change):
    """Another header or values of a file of tensors: ``change(header, values)`` returns both."""
    return content(lambda whole: of_tensors.tensor_file(*change(*of_tensors.tensor_header(whole))))


def stimuli(change):
    """Other stimuli in the header of embeddings."""

    def apply(header, values):
        named = header["__metadata__"]
        named["stimulus_ids"] = json.dumps(change(json.loads(named["stimulus_ids"])))
        return header, values

    return tensors(apply)


def swapped(first, second):
    """Two tensors under each other's names."""

    def apply(header, values):
        header[first], header[second] = header[second], header[first]
        return header, values

    return tensors(apply)


def nan_in(name):
    """One value of a tensor that is no number."""

    def apply(header, values):
        start = header[name]["data_offsets"][0]
        return header, values[:start] + np.float32("nan").tobytes() + values[start + 4 :]

    return tensors(apply)


def array_in(**arrays):
    """Other arrays in a .npz."""

    def apply(path):
        held = dict(np.load(path))
        np.savez(path, **held | {name: change(held.get(name)) for name, change in arrays.items()})

    return apply


def another_picture(path):
    """A picture of noise."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path, "PNG")


def one_pixel(path):
    """A picture of one pixel."""
    Image.new("RGB", (1, 1)).save(path, "PNG")


def saved(state):
    """What `torch.save` makes of ``state()``."""
    return lambda path: torch.save(state(), path)


def torch_members(change, compression=zipfile.ZIP_STORED):
    """An archive after ``change(dict of name to content)``, stored or compressed."""
    return content(of_arrays.zip_members, change, compression)


def turned_order(members):
    """The other order of bytes in the words of an archive, though not in its values."""
    for name in members:
        if name.endswith("/byteorder"):
            members[name] = b"big"


def member_twice(path):
    """An archive of a checkpoint in which the file stands twice, the second time empty."""
    with tarfile.open(path) as archive:
        held = {one.name: archive.extractfile(one).read() for one in archive.getmembers() if one.isfile()}
    with tarfile.open(path, "w:gz") as archive:
        for name, whole in held.items():
            for one in (whole, b"x"):
                entry = tarfile.TarInfo(name)
                entry.size = len(one)
                archive.addfile(entry, io.BytesIO(one))


def crafted_source(path):
    """A TorchScript archive whose code makes a search by a regular expression go on for ever."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), path)

    def fill(members):
        for name in members:
            if name.endswith(".py"):
                members[name] = members[name].replace(b"(Module):\n", b"(Module):\n" + b"\n" * 400_000)

    torch_members(fill)(path)


def outside_values(kind):
    """An HDF5 file whose pictures are the bytes of another file."""

    def apply(path):
        other = path.parent / "secret.bin"
        with h5py.File(path) as file:
            shape, dtype = file["imgBrick"].shape, file["imgBrick"].dtype
        other.write_bytes(b"secret " * (int(np.prod(shape)) // 7 + 1))
        path.unlink()
        with h5py.File(path, "w") as file:
            if kind == "storage":
                stored = [(str(other), 0, int(np.prod(shape)))]
                file.create_dataset("imgBrick", shape, dtype, external=stored)
                return
            with h5py.File(path.parent / "other.h5", "w") as holder:
                holder["imgBrick"] = np.frombuffer(other.read_bytes()[: int(np.prod(shape))], dtype).reshape(shape)
            if kind == "link":
                file["imgBrick"] = h5py.ExternalLink(str(path.parent / "other.h5"), "/imgBrick")
            else:
                layout = h5py.VirtualLayout(shape, dtype)
                layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "imgBrick", shape)
                file.create_virtual_dataset("imgBrick", layout)

    return apply


# More than one file


def _unpacked(source, folder, make):
    if source:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="fully_trusted")
    else:
        make(folder)


def lay_lock(box, source):
    """A lock that is a link to a file of the user's."""

    def make(folder):
        (folder / "bench" / ".plan").mkdir(parents=True)
        (folder / "bench" / ".plan" / ".lock").symlink_to("../../precious2")

    (box.here / "precious2").write_text("precious\n")
    _unpacked(source, box.here, make)


def lay_bundle(box, source):
    """A folder of weights whose record names a file of the user's."""

    def make(folder):
        weights = folder / "bundle/a/b/c/d/weights"
        weights.mkdir(parents=True)
        (folder / "bundle/a/.bashrc").write_text("echo hello\n")
        torch.save({"a": torch.zeros(3)}, weights / VDVAE)

        def described(path):
            return {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

        record = {
            "origin": "https://openaipublic.blob.core.windows.net/very-deep-vaes-assets/vdvae-assets-2/",
            "commit": None,
            "files": {VDVAE: described(weights / VDVAE)},
            "made": {"../../../../.bashrc": described(folder / "bundle/a/.bashrc") | {"source": VDVAE}},
        }
        (weights / ".pulled.json").write_text(json.dumps(record))

    shutil.rmtree(box.here / "bundle")
    _unpacked(source, box.here, make)


def lay_summary(box, source):
    """The record of a decoder that two processes wrote at once: penalties of 0."""

    def make(folder):
        config = folder / "run/decoder/config.json"
        whole = json.loads(config.read_text())
        whole["alpha"] = dict.fromkeys(whole["alpha"], 0.0)
        whole["held_out_correlation"] = dict.fromkeys(whole["held_out_correlation"], 0.0)
        config.unlink()
        config.write_text(json.dumps(whole))

    if source:
        (box.here / "run/decoder/config.json").unlink()
    _unpacked(source, box.here, make)
