"""What is damaged, cut, or claims more than it holds is refused in one sentence that names the file, at once."""

import io
import json
import os
import resource
import struct
import zipfile
import zlib

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from nibabel.gifti import GiftiDataArray, GiftiImage
from PIL import Image

from stages.ground.errors import InputError
from stages.ground.reading.flat_files import read_flat
from stages.ground.reading.hdf5_files import dataset, hdf5_file
from stages.ground.reading.json_files import read_json, read_toml
from stages.ground.reading.matlab_files import read_mat
from stages.ground.reading.nifti_files import nifti_values, open_nifti, read_nifti
from stages.ground.reading.numpy_files import npz_file, read_npy
from stages.ground.reading.picture_files import picture_file
from stages.ground.reading.wall import reading
from weights.contents import what_it_is


def read_hdf5(path):
    with hdf5_file(path) as file:
        return dataset(file, "betas")[()]


def read_npz(path):
    with npz_file(path) as archive:
        return {name: archive.read(name) for name in archive.names}


def read_picture(path):
    with picture_file(path) as picture:
        return np.asarray(picture)


def write_flat(path):
    arrays = [
        GiftiDataArray(np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]), intent="NIFTI_INTENT_POINTSET"),
        GiftiDataArray(np.int32([[0, 1, 2]]), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    GiftiImage(darrays=arrays).to_filename(path)


def valid(path):
    """Write a valid file of the kind that its name says."""
    values = np.arange(240).reshape(4, 5, 4, 3)
    match path.suffix:
        case ".json":
            path.write_text(json.dumps({"n_trials": 3, "nested": [[1, 2], {"a": "é"}]}))
        case ".toml":
            path.write_text('method = "ridge"\n[settings]\nalpha = [1.0, 2.0]\n')
        case ".npy":
            np.save(path, values)
        case ".npz":
            np.savez_compressed(path, betas=values, names=np.array(["a", "bc"]))
        case ".hdf5":
            with h5py.File(path, "w") as file:
                file.create_dataset("betas", data=values, compression="gzip")
        case ".mgh" | ".mgz":
            nibabel.MGHImage(values.astype(np.float32), np.eye(4)).to_filename(path)
        case ".gii":
            write_flat(path)
        case ".flat":
            corners = np.zeros(6, dtype=[("vertex", ">i4"), ("place", ">f4", 3)])
            corners["vertex"], corners["place"][:, 0] = np.arange(1, 7), np.arange(6)
            path.write_bytes(np.array([-1, 6], dtype=">i4").tobytes() + corners.tobytes())
        case ".nii" | ".gz":
            nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)).to_filename(path)
        case ".mat":
            scipy.io.savemat(path, {"betas": values}, do_compression=True)
        case ".png":
            Image.fromarray(values.reshape(20, 12).astype(np.uint8)).save(path)
    return path


READERS = {
    "a.json": lambda path: read_json(path, dict),
    "a.toml": read_toml,
    "a.npy": read_npy,
    "a.npz": read_npz,
    "a.hdf5": read_hdf5,
    "a.nii": read_nifti,
    "a.nii.gz": read_nifti,
    "a.mgh": read_nifti,
    "a.mgz": read_nifti,
    "a.gii": read_flat,
    "a.flat": read_flat,
    "a.mat": read_mat,
    "a.png": read_picture,
}
EVERY_KIND = pytest.mark.parametrize("name", READERS)


def refusal(read, path):
    with pytest.raises(InputError) as told:
        read(path)
    message = str(told.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message and len(message) < 700
    return message


@EVERY_KIND
def test_a_valid_file_is_read(tmp_path, name):
    READERS[name](valid(tmp_path / name))


@EVERY_KIND
def test_a_damaged_file_is_refused_or_read_and_nothing_else(tmp_path, name):
    path = valid(tmp_path / name)
    whole, draw = path.read_bytes(), np.random.default_rng(len(name))
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        match draw.integers(4):
            case 0:
                content = content[: draw.integers(len(content))]
            case 1:
                for place in draw.integers(len(content), size=draw.integers(1, 12)):
                    content[place] = draw.integers(256)
            case 2:
                start, end = np.sort(draw.integers(len(content), size=2))
                content[start:end] = bytes(end - start)
            case 3:
                content[: draw.integers(1, 64)] = draw.bytes(draw.integers(1, 64))
        path.write_bytes(content)
        try:
            READERS[name](path)
        except InputError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 20


@EVERY_KIND
@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "empty"),
        (bytes(500), "zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 4", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
    ],
)
def test_what_is_no_such_file_at_all_is_told(tmp_path, name, content, words):
    if name == "a.toml" and not content:
        pytest.skip("an empty file is TOML")
    (tmp_path / name).write_bytes(content)
    assert words in refusal(READERS[name], tmp_path / name)


@EVERY_KIND
def test_absent_files_folders_and_dead_links_are_told(tmp_path, name):
    assert "There is no file" in refusal(READERS[name], tmp_path / name)
    (tmp_path / "folder").mkdir()
    refusal(READERS[name], tmp_path / "folder")
    (tmp_path / f"link-{name}").symlink_to(tmp_path / "nowhere")
    assert "a link to a file that is not there" in refusal(READERS[name], tmp_path / f"link-{name}")


@EVERY_KIND
def test_a_byte_order_mark_hurts_no_text(tmp_path, name):
    if name not in ("a.json", "a.toml"):
        pytest.skip("no text")
    path = valid(tmp_path / name)
    expected = READERS[name](path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert READERS[name](path) == expected


@pytest.mark.parametrize(
    "content, words",
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' + "1" * 5000 + "}", "digits"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ("[1, 2]", "holds list where an object"),
        ("null", "holds NoneType"),
    ],
)
def test_json_of_another_type_or_nested_without_end(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    assert words in refusal(READERS["a.json"], tmp_path / "a.json")


def test_toml_nested_without_end(tmp_path):
    (tmp_path / "a.toml").write_text("a = " + "[" * 100_000)
    refusal(read_toml, tmp_path / "a.toml")


# Headers that claim more than there is

BIG = 10**12


@pytest.fixture
def little_memory():
    """No more than a gigabyte above what is used: what takes memory before it looks at the file fails."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def _npy_header(shape, dtype="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(BIG,), (-1, 3), (3, -4), (2**62, 8)])
@pytest.mark.parametrize("mapped", [False, True])
def test_npy(tmp_path, little_memory, shape, mapped):
    (tmp_path / "a.npy").write_bytes(_npy_header(shape) + bytes(64))
    refusal(lambda path: read_npy(path, mapped), tmp_path / "a.npy")


def test_npy_with_objects_or_a_header_without_end(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "Python objects" in refusal(read_npy, tmp_path / "objects.npy")
    (tmp_path / "deep.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 60_000) + b"(" * 60_000)
    refusal(read_npy, tmp_path / "deep.npy")
    (tmp_path / "long.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{}")
    refusal(read_npy, tmp_path / "long.npy")


def test_npz(tmp_path, little_memory):
    for name, content in (("many", _npy_header((BIG,))), ("short", _npy_header((9,)) + bytes(64)), ("none", b"")):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("betas.npy", content)
        refusal(read_npz, tmp_path / f"{name}.npz")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("code", [0xDC00, 0x110000, 0xFFFFFFFF])
def test_text_of_letters_that_do_not_exist(tmp_path, order, mapped, code):
    texts = np.array([["stim", "é"], ["\U0010ffff", ""]], dtype=f"{order}U4")
    np.save(tmp_path / "a.npy", texts)
    assert np.array_equal(read_npy(tmp_path / "a.npy", mapped), texts)
    texts.view(f"{order}u4")[0, 2] = code
    np.save(tmp_path / "a.npy", texts)
    np.savez(tmp_path / "a.npz", names=texts)
    for read, name in ((lambda path: read_npy(path, mapped), "a.npy"), (read_npz, "a.npz")):
        assert f"number {code:,}, which Unicode does not have" in refusal(read, tmp_path / name)


def test_a_flipped_byte_of_an_npz_is_found(tmp_path):
    np.savez(tmp_path / "a.npz", betas=np.arange(1000.0))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[4000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "CRC" in refusal(read_npz, tmp_path / "a.npz")


def _hdf5(path, kind):
    other = path.with_name("other.hdf5")
    with h5py.File(other, "w") as file:
        file["betas"] = np.zeros(9)
    with h5py.File(path, "w") as file:
        match kind:
            case "many":
                file.create_dataset("betas", (BIG,), "f8", chunks=(1000,))
            case "never written":
                file.create_dataset("betas", (10**6,), "f8", chunks=(1000,))
            case "group":
                file.create_group("betas")
            case "loop":
                file["betas"] = h5py.SoftLink("/betas")
            case "external link":
                file["betas"] = h5py.ExternalLink(other.name, "betas")
            case "external link to nothing":
                file["betas"] = h5py.ExternalLink("nowhere.hdf5", "betas")
            case "external link behind another link":
                file["away"] = h5py.ExternalLink(other.name, "/")
                file["betas"] = h5py.SoftLink("/away/betas")
            case "external storage":
                file.create_dataset("betas", (8,), "u1", external=[(str(other), 0, 8)])
            case "virtual":
                layout = h5py.VirtualLayout((9,), "f8")
                layout[:] = h5py.VirtualSource(str(other), "betas", (9,))
                file.create_virtual_dataset("betas", layout)
            case "nothing":
                file["betas"] = h5py.Empty("f8")
            case "another name":
                file["beta"] = [1]


OUTSIDE = ["external link", "external link to nothing", "external link behind another link", "external storage"]
HDF5 = ["many", "never written", "group", "loop", *OUTSIDE]


@pytest.mark.parametrize("kind", [*HDF5, "virtual", "nothing", "another name"])
def test_hdf5(tmp_path, little_memory, kind):
    _hdf5(tmp_path / "a.hdf5", kind)
    message = refusal(read_hdf5, tmp_path / "a.hdf5")
    assert "Unexpected" not in message and ("external" not in kind or "another file" in message or "outside" in message)


def test_hdf5_that_another_program_writes_is_not_called_damaged(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with open(valid(tmp_path / "a.hdf5")) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        message = refusal(read_hdf5, tmp_path / "a.hdf5")
    assert "another program" in message and "copy" not in message


def test_compressed_hdf5_of_equal_values_is_read(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("betas", data=np.zeros(2**21), compression="gzip", shuffle=True)
    assert read_hdf5(tmp_path / "a.hdf5").sum() == 0


@pytest.mark.parametrize(
    "offset, code, values",
    [
        (40, "<8h", (9, 4, 5, 4, 3, 1, 1, 1)),  # more axes than there are
        (42, "<h", (-4,)),
        (42, "<4h", (32000, 32000, 32000, 1)),
        (70, "<h", (0,)),
        (70, "<h", (128,)),  # colours
        (70, "<h", (2304,)),
        (70, "<h", (4096,)),
        (108, "<f", (float("nan"),)),
        (108, "<f", (-1,)),
        (108, "<f", (1e9,)),
    ],
)
def test_nifti(tmp_path, little_memory, offset, code, values):
    path = valid(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into(code, content, offset, *values)
    for name, written in (("a.nii", bytes(content)), ("a.nii.gz", zlib.compress(bytes(content), wbits=31))):
        (tmp_path / name).write_bytes(written)
        refusal(read_nifti, tmp_path / name)


def test_mat_with_a_sparse_matrix(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"masterordering": scipy.sparse.eye(3)})
    assert "sparse" in refusal(read_mat, tmp_path / "a.mat")


def _png(*chunks):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def test_pictures(tmp_path, little_memory):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    (tmp_path / "large.png").write_bytes(_png((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")))
    refusal(read_picture, tmp_path / "large.png")
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    text = b"Comment\0\0" + zlib.compress(bytes(10**8))
    (tmp_path / "text.png").write_bytes(_png((b"IHDR", header), (b"zTXt", text), (b"IEND", b"")))
    refusal(read_picture, tmp_path / "text.png")


def test_a_picture_starts_no_program(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
    )
    assert "PostScript" in refusal(read_picture, tmp_path / "a.png")
    assert not (tmp_path / "called").exists()


# The wall itself


def test_sentences_pass_and_interruptions_too(tmp_path):
    with pytest.raises(InputError, match="^mine$"), reading(tmp_path / "a", "JSON"):
        raise InputError("mine")
    with pytest.raises(KeyboardInterrupt), reading(tmp_path / "a", "JSON"):
        raise KeyboardInterrupt


def test_a_disk_that_fails_is_not_a_damaged_file(tmp_path):
    with pytest.raises(InputError, match="The disk of"), reading(tmp_path / "a", "JSON"):
        raise OSError(5, "Input/output error")
    with pytest.raises(InputError, match="more memory"), reading(tmp_path / "a", "JSON"):
        raise MemoryError("Unable to allocate")


def test_long_and_many_lines_become_one(tmp_path):
    with pytest.raises(InputError) as told, reading(tmp_path / "a", "JSON"):
        raise ValueError("one\ntwo\x1b[31m" + "x" * 5000)
    assert "one two?[31mxxx" in str(told.value) and len(str(told.value)) < 400


def test_what_is_not_known_has_no_name(tmp_path):
    (tmp_path / "a").write_bytes(b"\x01\x02\x03 something")
    assert what_it_is(tmp_path / "a") is None and what_it_is(tmp_path / "absent") is None


def test_open_nifti_reads_no_values(tmp_path):
    path = valid(tmp_path / "a.nii.gz")
    assert open_nifti(path).shape == (4, 5, 4, 3)


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_the_checksum_of_a_packed_volume_is_read(tmp_path, suffix):
    path = tmp_path / f"mask.nii{suffix}"
    values = np.random.default_rng(0).integers(0, 999, (9, 9, 9, 4)).astype(np.int16)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(path)
    assert np.array_equal(read_nifti(path), values)
    with nifti_values(path) as volumes:
        assert np.array_equal(volumes[..., :2], values[..., :2]) and np.array_equal(volumes[..., 2:], values[..., 2:])
    content = bytearray(path.read_bytes())
    # Of gzip the four bytes before the last four; of bzip2 the last ones, but for its bits beyond the end.
    content[-7 if suffix == ".gz" else -4] ^= 16
    path.write_bytes(content)
    assert "mask.nii" in refusal(read_nifti, path)
    with pytest.raises(InputError, match="mask.nii"), nifti_values(path) as volumes:
        volumes[..., :]
