"""What files of one subject of NSD have to agree on: the grid, or the mesh, of betas, regions and noise ceiling."""

from brainrecon.datasets.noise_ceiling import noise_ceiling
from brainrecon.datasets.nsd import betas as nsd_betas
from brainrecon.datasets.nsd.hemispheres import HemisphereFiles, read_map
from brainrecon.datasets.nsd.volumes import read_volume
from stages.ground.errors import InputError


def check_volumes(files, regions):
    """Number of trials of each session, once all volumes are on one grid.

    Parameters
    ----------
    files : dict of int to pathlib.Path
        Session to file.
    regions : dict of str to brainrecon.datasets.nsd.rois.Region

    Returns
    -------
    trials_in_file : dict of int to (pathlib.Path, int)

    Raises
    ------
    InputError
        A session or a ROI volume has another shape than the first ROI volume.
    """
    first = next(iter(regions.values()))
    for region in regions.values():
        _check_shape(region.path, region.volume.shape, first)
    trials_in_file = {}
    for session, path in files.items():
        n_trials, shape = nsd_betas.session_shape(path)
        _check_shape(path, shape, first)
        trials_in_file[session] = (path, n_trials)
    return trials_in_file


def _check_shape(path, shape, region):
    if tuple(shape) != region.volume.shape:
        what = "volumes of {} (x, y, z)" if region.volume.ndim == 3 else "{} vertices"
        raise InputError(
            f"{path} has {what.format(tuple(shape))} but {region.path} has {region.volume.shape}; "
            "take both from the same subject and space."
        )


def read_noise_ceiling(path, mask, repeats):
    """Noise ceiling of patterns with the given repeats, (n_voxels,) percent; None without an ncsnr."""
    if isinstance(path, HemisphereFiles):
        ncsnr = read_map(path)
    else:
        ncsnr = read_volume(path) if path.is_file() else None
    if ncsnr is None:
        return None
    if ncsnr.shape != mask.shape:
        raise InputError(
            f"{path} has shape {ncsnr.shape} but the ROI volumes have {mask.shape}; "
            "take both from the same subject and space."
        )
    return noise_ceiling(ncsnr[mask], repeats)
