"""Write BData, the Kamitani laboratory's file format, as `brainrecon.datasets.kamitani.bdata` describes it.

The same content gives the same bytes: whatever would record the time of writing is left out.
"""

import numpy as np

from brainrecon.simulation.files.new_hdf5 import new_hdf5

MARK = "simulated"
"""Attribute of a file whose responses nobody's brain gave."""


def write_bdata(path, columns, on_voxels, labels, source):
    """Write one file.

    Parameters
    ----------
    path : pathlib.Path
    columns : dict of str to array of shape (n_samples, n)
        Key -> its columns; `VoxelData` and sample metadata, side by side in this order.
    on_voxels : dict of str to array of shape (n_voxels,)
        Key -> a value for each voxel: bool for regions, else numbers, such as coordinates in mm.
    labels : dict of str to dict of int to str
        Key of one column -> what its numbers stand for.
    source : str
        Who made the responses.
    """
    widths = [values.shape[1] for values in columns.values()]
    starts = np.cumsum([0, *widths])
    places = {key: slice(start, start + width) for key, start, width in zip(columns, starts, widths)}
    described = np.full((len(columns) + len(on_voxels), starts[-1]), np.nan)
    for row, key in enumerate(columns):
        described[row, places[key]] = 1
    for row, values in enumerate(on_voxels.values(), start=len(columns)):
        # As everywhere in this format, 1 says that a column belongs to the key, NaN that it does not.
        described[row, places["VoxelData"]] = np.where(values, 1, np.nan) if values.dtype == bool else values
    keys = [*columns, *on_voxels]
    with new_hdf5(path) as file:
        file.attrs[MARK] = source

        def put(name, values):
            file.create_dataset(name, data=values, track_times=False)

        put("dataset", np.concatenate([np.asarray(values, float) for values in columns.values()], axis=1))
        put("metadata/key", np.array(keys, dtype=bytes))
        put("metadata/description", np.array([f"{source}: {key}" for key in keys], dtype=bytes))
        put("metadata/value", described)
        for key, names in labels.items():
            for number, name in names.items():
                put(f"vmap/{key}/{float(number)}", np.bytes_(name))
