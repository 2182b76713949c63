"""Maps of a run in the subject's own space: what a voxel could tell, what a decoder makes of it, how well it is predicted."""

from pathlib import Path

import numpy as np

from brainrecon.assembly.weight_maps import weight_maps
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from brainrecon.runs.predicted_responses import predicted_responses
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.numpy_files import read_npy
from weights.whole_files import make_folder, whole_file


def write_maps(run, folder, columns=(), progress=SILENT, values=None):
    """Write maps as files of the subject's own space: NIfTI of a volume, GIFTI of a surface, a table of sensors.

    Of a run that decodes, the weights of each voxel, if the decoder is linear; of one that encodes, the correlation of predicted
    with measured responses of each voxel over the tested stimuli. Of either the noise ceiling, where it is known.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        A fitted one, without folds, of data that say where voxels are.
    folder : path
    columns : sequence of (str, int)
        As of `brainrecon.assembly.weight_maps.weight_maps`.
    progress : callable, optional
    values : dict of str to array, optional
        Maps of one's own: name of the file -> (n_voxels,) or (n_maps, n_voxels).

    Returns
    -------
    files : dict of str to pathlib.Path
        What each map shows, and its file.
    missing : list of str
        Why a kind of map is not among them, a sentence each.

    Raises
    ------
    InputError
        The data do not say where voxels are, columns are wanted that are not there, or values are of another number of voxels.
    """
    subject, folder, missing = run.subject, Path(folder), []
    if subject.space is None:
        raise InputError(
            f"{subject.source or subject.name} does not say where its voxels are, so that no map can be drawn of them; use "
            "data that do, such as NSD or a BIDS folder."
        )
    maps = {name: (name, own) for name, own in (values or {}).items()}
    ceiling = measured_noise_ceiling(subject)
    if ceiling is not None:
        maps["noise ceiling of the test patterns, percent"] = ("noise_ceiling", ceiling)
    try:
        maps |= _of_voxels(run, columns, progress)
    except InputError as error:
        # A network has no weight of a voxel, and all else can be drawn; who asks for a column asks for weights.
        if columns or not maps:
            raise
        missing.append(str(error))
    contents = {
        (f"{what}, {part}" if part else what, f"{name}{ending}"): content
        for what, (name, own) in maps.items()
        for ending, (part, content) in subject.space.files(own).items()
    }
    make_folder(folder)
    for (_, file), content in contents.items():
        with whole_file(folder / file) as partial:
            partial.write_bytes(content)
    return {what: folder / file for what, file in contents}, missing


def _of_voxels(run, columns, progress):
    """What the method has of each voxel: what a map shows -> (name of the file, values)."""
    if run.chain.encodes:
        if columns:
            raise InputError(f"{run.chain.name} predicts responses and has no weights of voxels; leave --columns out.")
        return {
            "correlation of predicted with measured test responses": (
                "correlation",
                voxel_correlations(*predicted_responses(run)),
            )
        }
    maps = {}
    for name, values in weight_maps(run.chain, columns, progress).items():
        what = "weights of" if name.endswith("]") else "size of the weights of"
        maps[f"{what} {name}"] = (f"weights_{name.replace('[', '_column').rstrip(']')}", values)
    return maps


def voxel_correlations(measured, predicted):
    """Pearson correlation of each voxel over stimuli; NaN where it does not vary.

    >>> from brainrecon.evaluation.tasks.responses import MeasuredResponses
    >>> measured = np.array([[0.0, 1, 5], [1, 2, 5], [2, 0, 5]])
    >>> voxel_correlations(MeasuredResponses(measured, measured.mean(axis=0)), measured * [2, -1, 1]).round(6).tolist()
    [1.0, -1.0, nan]

    Parameters
    ----------
    measured : brainrecon.evaluation.tasks.responses.MeasuredResponses
    predicted : array of shape (n_stimuli, n_voxels)

    Returns
    -------
    correlations : array of shape (n_voxels,), float64
    """
    centred = []
    for side in (measured.patterns, predicted):
        values = np.asarray(side, dtype=np.float64)
        constant = values.max(axis=0) == values.min(axis=0)
        values = values - values.mean(axis=0)
        values[:, constant] = np.nan
        centred.append(values / np.sqrt((values**2).sum(axis=0)))
    return (centred[0] * centred[1]).sum(axis=0)


def own_values(paths):
    """Maps of one's own from .npy files, name -> values; an InputError if a file holds no numbers or two have one name."""
    values = {}
    for path in paths:
        name, read = path.stem, read_npy(path)
        if read.dtype.kind not in "biuf":
            raise InputError(f"{path} holds {read.dtype}; expected numbers, one for each voxel or (n_maps, n_voxels).")
        if name in values:
            raise InputError(
                f"Two of the files with values are named {name}; rename one, as the maps are named after them."
            )
        values[name] = read
    return values


def parse_columns(text):
    """Columns from ``vdvae:0,clip_image:12``; none from None."""
    columns = []
    for part in (text or "").split(",") if text is not None else ():
        name, colon, column = part.strip().rpartition(":")
        if not (name and colon and column.isdecimal()):
            raise InputError(f"--columns got {part.strip()!r}; expected VALUE:COLUMN, for example clip_image:12.")
        columns.append((name, int(column)))
    return columns
