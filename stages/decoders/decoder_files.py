"""Fitted decoders on disk: config.json and model.safetensors, each written whole and opened memory-mapped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from stages.checkpoints.mapped_tensors import create_tensors, map_tensors
from stages.ground.errors import InputError
from weights.whole_files import whole_file, write_text

MODEL, CONFIG = "model.safetensors", "config.json"


def save(decoder, folder):
    """Write a fitted decoder's tensors, then its configuration.

    Parameters
    ----------
    decoder : object
        With ``tensors_``, a dict of str to array, and ``describe()``, everything else as JSON-able data with its class
        as "class" and the shapes of the tensors as "tensors".
    folder : path
    """
    folder = Path(folder)
    with whole_file(folder / MODEL) as partial:
        layout = {name: (values.shape, values.dtype) for name, values in decoder.tensors_.items()}
        for name, mapped in create_tensors(partial, layout).items():
            mapped[...] = decoder.tensors_[name]
            mapped.flush()
    write_config(decoder, folder)


def write_config(decoder, folder):
    """Write what is not a tensor. The configuration comes last: where it stands, the decoder is whole."""
    write_text(Path(folder) / CONFIG, json.dumps(decoder.describe(), indent=1, allow_nan=False) + "\n")


def read(kind, folder, entries, renamed=None):
    """Open the files of a decoder of class `kind`.

    Parameters
    ----------
    kind : class
    folder : path
    entries : set of str
        What its configuration has to say something of.
    renamed : callable, optional
        Gives a configuration today's names, in place.

    Returns
    -------
    config : dict
    tensors : dict of str to numpy.memmap

    Raises
    ------
    InputError
        Files that are missing, or do not belong together, or are another version's.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors, _ = map_tensors(folder / MODEL)
    except FileNotFoundError as error:
        raise InputError(
            f"No decoder in {folder}: {Path(error.filename).name} is missing; run `brainrecon fit`."
        ) from None
    except Exception as error:
        raise InputError(
            f"The decoder in {folder} cannot be read ({error}); fit it again with `brainrecon fit`."
        ) from None
    found = config.get("class") if isinstance(config, dict) else config
    if found != kind.__name__:
        raise InputError(f"{folder} holds a {found!r}, expected a {kind.__name__!r}; name another folder.")
    if renamed is not None:
        renamed(config)
    if absent := sorted({"tensors", *entries} - config.keys()):
        raise InputError(
            f"{folder / CONFIG} says nothing of {', '.join(absent)}, as that of another version; "
            "delete the folder and fit again with `brainrecon fit`."
        )
    shapes = {name: list(values.shape) for name, values in tensors.items()}
    if shapes != config["tensors"]:
        wrong = sorted(n for n in shapes.keys() | config["tensors"].keys() if shapes.get(n) != config["tensors"].get(n))
        raise InputError(
            f"{MODEL} in {folder} does not fit its {CONFIG} at {', '.join(wrong)}; "
            "fit the decoder again with `brainrecon fit`."
        )
    return config, tensors


def shapes_of(tensors):
    """Shape of each tensor by name, as `read` compares them."""
    return {name: list(values.shape) for name, values in sorted(tensors.items())}


def plain(value):
    """JSON's own types; null for NaN, which JSON does not know.

    >>> plain({"alphas": np.logspace(0, 2, 3), "error": [float("nan")]})
    {'alphas': [1.0, 10.0, 100.0], 'error': [None]}
    """
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value


def from_plain(value):
    """NaN for null, in numbers, lists and dicts of them: `plain` the other way round.

    >>> from_plain({"error": [0.5, None]})
    {'error': [0.5, nan]}
    """
    if isinstance(value, dict):
        return {name: from_plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [from_plain(entry) for entry in value]
    return float("nan") if value is None else value
