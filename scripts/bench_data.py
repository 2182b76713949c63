"""Time how one NSD session of real size becomes the voxels of nsdgeneral, the page cache dropped before each row.

    python scripts/bench_data.py [FOLDER] [--repeats 3] [--shape 81 104 83] [--trials 750] [--voxels 15724]

FOLDER (a temporary one by default) takes about 2 GB: the session as HDF5 in the original's chunks, a voxel's trials
each, and as NIfTI. Ways are timed in turn, each in a process of its own: the toolkit's, the file read whole and
masked, nibabel on the NIfTI, and, as the machine's own limit, plain reading of the voxels' bytes where they lie.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import nibabel
import numpy as np

from brainrecon.datasets.nsd.betas import read_session
from weights.whole_files import whole_file

WAYS = ("brainrecon, HDF5", "h5py, whole", "nibabel, whole", "brainrecon, NIfTI", "limit: bytes alone")


def make_mask(shape, n_voxels):
    """A folded ribbon, at the back and below in two hemispheres, (x, y, z) bool with `n_voxels` true: like nsdgeneral."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = np.sqrt(((np.abs(x) - 0.42) / 0.45) ** 2 + (y / 0.85) ** 2 + (z / 0.7) ** 2)
    folds = 0.12 * np.sin(17 * y + 7 * z) * np.cos(15 * z - 9 * x)
    # Cortex is a seventh of the volume at 1.8 mm: the voxels nearest to the folded surface.
    distance = np.abs(radius + folds - 0.85)
    ribbon = distance <= np.quantile(distance, 107_104 / (81 * 104 * 83))
    behind = np.argsort(np.where(ribbon, y + 0.6 * z, np.inf), axis=None, kind="stable")[:n_voxels]
    mask = np.zeros(shape, bool)
    mask.flat[behind] = True
    return mask


def write_session(folder, shape, n_trials):
    """Write the session twice, HDF5 and NIfTI, int16; what is there stays."""
    random = np.random.default_rng(0)
    hdf5, nifti = folder / "betas_session01.hdf5", folder / "betas_session01.nii.gz"
    if not hdf5.exists():
        with whole_file(hdf5) as partial, h5py.File(partial, "w") as file:
            betas = file.create_dataset("betas", (n_trials, *shape[::-1]), np.int16, chunks=(n_trials, 1, 1, 1))
            for z in range(shape[2]):
                betas[:, z] = random.normal(0, 600, (n_trials, *shape[1::-1])).astype(np.int16)
    if not nifti.exists():
        values = np.empty((*shape, n_trials), np.int16, order="F")
        with h5py.File(hdf5) as file:
            for z in range(shape[2]):
                values[:, :, z] = file["betas"][:, z].transpose(2, 1, 0)
        nibabel.openers.Opener.default_compresslevel = 1
        with whole_file(nifti) as partial:
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), partial)
    return hdf5, nifti


def read_as(way, hdf5, nifti, mask):
    """Read the voxels of `mask` in one of the WAYS: (n_trials, n_voxels)."""
    if way == "brainrecon, HDF5":
        return read_session(hdf5, mask)
    if way == "brainrecon, NIfTI":
        return read_session(nifti, mask)
    if way == "nibabel, whole":
        return np.asanyarray(nibabel.load(nifti).dataobj)[mask].T
    with h5py.File(hdf5) as file:
        if way == "h5py, whole":
            return file["betas"][()].transpose(3, 2, 1, 0)[mask].T
        raise ValueError(way)


def drop_cache(path):
    """Ask the kernel to forget a file's pages."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_read():
    """Bytes that this process had fetched from the disk so far."""
    return int(Path("/proc/self/io").read_text().split("read_bytes:")[1].split()[0])


def measure(way, hdf5, nifti, mask):
    """Time one way here and now: seconds, bytes from the disk, peak memory in bytes, a checksum of the voxels."""
    before, started = bytes_read(), time.perf_counter()
    if way == "limit: bytes alone":
        checksum = read_bytes_alone(json.loads(hdf5.with_suffix(".json").read_text()), hdf5)
    else:
        checksum = int(read_as(way, hdf5, nifti, mask).astype(np.int64).sum())
    return {
        "seconds": time.perf_counter() - started,
        "bytes": bytes_read() - before,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "checksum": checksum,
    }


def locate(hdf5, mask):
    """Write down where in the file each voxel's chunk lies, as [offset, size], sorted."""
    places = hdf5.with_suffix(".json")
    wanted = {tuple(place) for place in np.argwhere(mask)[:, ::-1].tolist()}
    found = []
    with h5py.File(hdf5) as file:
        file["betas"].id.chunk_iter(
            lambda chunk: found.append((chunk.byte_offset, chunk.size)) if chunk.chunk_offset[1:] in wanted else None
        )
    places.write_text(json.dumps(sorted(found)))


def read_bytes_alone(places, hdf5):
    """Fetch the chunks of the voxels and add up their values."""
    total = 0
    with open(hdf5, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for offset, size in places:
            total += int(np.frombuffer(os.pread(file.fileno(), size, offset), np.int16).astype(np.int64).sum())
    return total


def main():
    """Measure all ways, or, where this process was started for one of them, that one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=(81, 104, 83))
    parser.add_argument("--trials", type=int, default=750)
    parser.add_argument("--voxels", type=int, default=15_724)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is None:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), arguments)
    elif arguments.way:
        mask = make_mask(arguments.shape, arguments.voxels)
        files = (arguments.folder / "betas_session01.hdf5", arguments.folder / "betas_session01.nii.gz")
        print(json.dumps(measure(arguments.way, *files, mask)))
    else:
        compare(arguments.folder, arguments)


def compare(folder, arguments):
    """Measure every way `repeats` times in turn and print a table."""
    folder.mkdir(parents=True, exist_ok=True)
    mask = make_mask(arguments.shape, arguments.voxels)
    hdf5, nifti = write_session(folder, tuple(arguments.shape), arguments.trials)
    locate(hdf5, mask)
    print(
        f"{int(mask.sum()):,} voxels of {mask.size:,}, {arguments.trials} trials; HDF5 {hdf5.stat().st_size / 1e6:,.0f} MB, "
        f"NIfTI {nifti.stat().st_size / 1e6:,.0f} MB; {arguments.repeats} repeats, medians"
    )
    rows = {way: [] for way in WAYS}
    size = [*map(str, arguments.shape)]
    for _ in range(arguments.repeats):
        for way in WAYS:
            drop_cache(hdf5), drop_cache(nifti)
            line = [sys.executable, __file__, str(folder), "--way", way, "--shape", *size]
            line += ["--trials", str(arguments.trials), "--voxels", str(arguments.voxels)]
            rows[way].append(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))
    checksums = {row["checksum"] for measured in rows.values() for row in measured}
    if len(checksums) != 1:
        raise SystemExit(f"The ways disagree about the voxels: sums {sorted(checksums)}.")
    own = rows["brainrecon, HDF5"]
    print(f"{'way':20} {'seconds':>8} {'times ours':>10} {'read':>9} {'of file':>8} {'peak memory':>12}")
    for way, measured in rows.items():
        seconds, read, memory = (
            float(np.median([row[key] for row in measured])) for key in ("seconds", "bytes", "memory")
        )
        ratio = float(np.median([row["seconds"] / ours["seconds"] for row, ours in zip(measured, own)]))
        size = (nifti if "NIfTI" in way or "nibabel" in way else hdf5).stat().st_size
        print(
            f"{way:20} {seconds:8.2f} {ratio:10.1f} {read / 1e6:6,.0f} MB {100 * read / size:6.1f} % {memory / 1e6:9,.0f} MB"
        )


if __name__ == "__main__":
    main()
