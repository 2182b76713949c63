"""The pickled dictionaries of THINGS-EEG2: which picture each condition is, and the epochs of one subject."""

from pathlib import PurePosixPath

import numpy as np

from brainrecon.datasets.eeg.things_eeg2_download import METADATA, PARTS
from stages.ground.errors import InputError
from stages.ground.reading.pickled_values import read_pickle
from weights.names import trouble_with_part

EPOCHS, CHANNELS, TIMES = "preprocessed_eeg_data", "ch_names", "times"
_MEND = "fetch it from OSF 3jk45 again"


def read_metadata(path):
    """Which concept and file each condition is: split -> list of (concept, file), as ``image_metadata.npy`` has them."""
    found = read_pickle(path, _MEND)
    shown = {}
    for split, (_, word, _) in PARTS.items():
        lists = []
        for key in (f"{word}_img_concepts", f"{word}_img_files"):
            values = found.get(key) if isinstance(found, dict) else None
            values = values.tolist() if isinstance(values, np.ndarray) else values
            if not isinstance(values, list | tuple) or not values or not all(isinstance(one, str) for one in values):
                raise InputError(f"{path} has no list of texts {key}; {_MEND}.")
            lists.append(values)
        concepts, files = lists
        stems = [PurePosixPath(file).stem for file in files]
        if len(concepts) != len(files) or len(set(stems)) != len(stems):
            raise InputError(
                f"{path} has {len(concepts):,} concepts and {len(set(stems)):,} different files for {len(files):,} {split} "
                f"pictures; expected one of each: {_MEND}."
            )
        for part in (*concepts, *files):
            if trouble := trouble_with_part(part):
                raise InputError(f"{path} names a picture {part[:80]!r}, and {trouble}; {_MEND}.")
        shown[split] = list(zip(concepts, files))
    return shown


def read_epochs(path, split, shown):
    """Epochs (n_pictures, n_repeats, n_channels, n_times), mapped; names of the channels; and times in seconds."""
    found = read_pickle(path, _MEND)
    parts = {key: found.get(key) if isinstance(found, dict) else None for key in (EPOCHS, CHANNELS, TIMES)}
    epochs, channels, times = parts.values()
    if not isinstance(epochs, np.ndarray) or epochs.ndim != 4 or epochs.dtype.kind != "f" or 0 in epochs.shape:
        raise InputError(
            f"{path} has no {EPOCHS} of numbers (pictures, repeats, channels, times) but {_in_words(epochs)}; {_MEND}."
        )
    channels = channels.tolist() if isinstance(channels, np.ndarray) else channels
    is_named = isinstance(channels, list | tuple) and all(
        isinstance(one, str) and one.isprintable() for one in channels
    )
    if not is_named or len(channels) != epochs.shape[2] or len(set(channels)) != len(channels):
        raise InputError(f"{path} has epochs of {epochs.shape[2]} channels but no {CHANNELS} that name each; {_MEND}.")
    times = np.asarray(times if isinstance(times, list | tuple | np.ndarray) else [])
    if times.dtype.kind != "f" or times.shape != epochs.shape[3:] or not (np.diff(times) > 0).all():
        raise InputError(
            f"{path} has epochs of {epochs.shape[3]} samples but {TIMES} {times.dtype} {times.shape}; expected as many seconds, "
            f"increasing: {_MEND}."
        )
    if len(epochs) != len(shown[split]):
        raise InputError(
            f"{path} has epochs of {len(epochs):,} pictures but {METADATA} names {len(shown[split]):,} {split} pictures; take "
            "both from the same source."
        )
    return epochs, list(channels), times


def _in_words(value):
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
