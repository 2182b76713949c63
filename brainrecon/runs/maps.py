"""Maps of a run in the subject's own space: what each voxel could tell, and what the decoder makes of it."""

import gzip
from pathlib import Path

from brainrecon.assembly.weight_maps import weight_maps
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.whole_files import make_folder, whole_file

HEMISPHERES = {"lh": "left hemisphere", "rh": "right hemisphere"}


def write_maps(run, folder, columns=(), progress=SILENT):
    """Write maps, as a NIfTI file each, or, of data on a surface, as a GIFTI file of each hemisphere.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        A fitted one, without folds, of data that say where voxels are.
    folder : path
    columns : sequence of (str, int)
        As of `brainrecon.assembly.weight_maps.weight_maps`.
    progress : callable, optional

    Returns
    -------
    files : dict of str to pathlib.Path
        What each map shows, and its file.

    Raises
    ------
    InputError
        The data do not say where voxels are.
    """
    subject, folder = run.subject, Path(folder)
    if subject.grid is None and subject.surface is None:
        subject.to_nifti([])
    maps = {"noise ceiling of the test patterns, percent": ("noise_ceiling", measured_noise_ceiling(subject))}
    for name, values in weight_maps(run.chain, columns, progress).items():
        what = "weights of" if name.endswith("]") else "size of the weights of"
        maps[f"{what} {name}"] = (f"weights_{name.replace('[', '_column').rstrip(']')}", values)
    make_folder(folder)
    files = {}
    for what, (name, values) in maps.items():
        if values is not None:
            for told, file, content in _images(subject, what, name, values):
                files[told] = folder / file
                with whole_file(files[told]) as partial:
                    partial.write_bytes(content)
    return files


def _images(subject, what, name, values):
    """What each image of a map shows, the name of its file, and its bytes."""
    if subject.grid is not None:
        # Packed without the time of day, so that equal maps are equal files.
        yield what, f"{name}.nii.gz", gzip.compress(subject.to_nifti(values).to_bytes(), mtime=0)
        return
    for side, image in subject.to_gifti(values).items():
        yield f"{what}, {HEMISPHERES[side]}", f"{name}.{side}.func.gii", image.to_bytes()


def parse_columns(text):
    """Columns from ``vdvae:0,clip_image:12``; none from None."""
    columns = []
    for part in (text or "").split(",") if text is not None else ():
        name, colon, column = part.strip().rpartition(":")
        if not (name and colon and column.isdecimal()):
            raise InputError(f"--columns got {part.strip()!r}; expected VALUE:COLUMN, for example clip_image:12.")
        columns.append((name, int(column)))
    return columns
