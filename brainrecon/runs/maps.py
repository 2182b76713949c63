"""Maps of a run in the subject's own space: what each voxel could tell, and what the decoder makes of it."""

from pathlib import Path

from brainrecon.assembly.weight_maps import weight_maps
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.whole_files import make_folder, whole_file


def write_maps(run, folder, columns=(), progress=SILENT):
    """Write maps, as a NIfTI file each; of data on a surface as a GIFTI file of each hemisphere, of sensors as a table.

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
    if subject.space is None:
        raise InputError(
            f"{subject.source or subject.name} does not say where its voxels are, so that no map can be drawn of them; use "
            "data that do, such as NSD or a BIDS folder."
        )
    maps = {"noise ceiling of the test patterns, percent": ("noise_ceiling", measured_noise_ceiling(subject))}
    for name, values in weight_maps(run.chain, columns, progress).items():
        what = "weights of" if name.endswith("]") else "size of the weights of"
        maps[f"{what} {name}"] = (f"weights_{name.replace('[', '_column').rstrip(']')}", values)
    make_folder(folder)
    files = {}
    for what, (name, values) in maps.items():
        if values is not None:
            for ending, (part, content) in subject.space.files(values).items():
                told = f"{what}, {part}" if part else what
                files[told] = folder / f"{name}{ending}"
                with whole_file(files[told]) as partial:
                    partial.write_bytes(content)
    return files


def parse_columns(text):
    """Columns from ``vdvae:0,clip_image:12``; none from None."""
    columns = []
    for part in (text or "").split(",") if text is not None else ():
        name, colon, column = part.strip().rpartition(":")
        if not (name and colon and column.isdecimal()):
            raise InputError(f"--columns got {part.strip()!r}; expected VALUE:COLUMN, for example clip_image:12.")
        columns.append((name, int(column)))
    return columns
