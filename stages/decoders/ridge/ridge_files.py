"""Fitted ridge decoders, banded or not, on disk: config.json and model.safetensors, written whole and opened memory-mapped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from stages.checkpoints.mapped_tensors import create_tensors, map_tensors
from stages.ground.errors import InputError
from weights.whole_files import whole_file, write_text

MODEL, CONFIG = "model.safetensors", "config.json"
ENTRIES = frozenset(
    "parameters kept n_voxels n_stimuli single_output groups alpha error held_out_correlation sizes".split()
)


def save(decoder, folder):
    """Write a fitted decoder's tensors, then its configuration."""
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


def configuration(decoder):
    """What a fitted RidgeDecoder is besides its tensors, JSON-able; where it ran is left out."""
    return {
        "class": type(decoder).__name__,
        "parameters": plain(decoder.get_params(deep=False) | {"memory": None, "device": "cpu"}),
        "kept": decoder.kept_,
        "n_voxels": int(decoder.n_features_in_),
        "n_stimuli": int(decoder._n_stimuli),
        "single_output": decoder._single_output,
        "groups": decoder.groups_,
        "alpha": decoder.alpha_,
        "error": plain(decoder.error_),
        "held_out_correlation": plain(decoder.held_out_correlation_),
        "sizes": decoder.sizes_,
        "tensors": {name: list(values.shape) for name, values in sorted(decoder.tensors_.items())},
    }


def read(kind, folder, entries):
    """Open the files of a decoder of class `kind`.

    Parameters
    ----------
    kind : class
    folder : path
    entries : set of str
        What its configuration has to say something of.

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


def load(kind, folder):
    """Open a RidgeDecoder; raises what `read` raises."""
    config, tensors = read(kind, folder, ENTRIES)
    decoder = kind(**config["parameters"])
    decoder.tensors_, decoder.kept_ = tensors, config["kept"]
    decoder.groups_, decoder.alpha_, decoder.sizes_ = config["groups"], config["alpha"], config["sizes"]
    decoder.error_ = {name: [_number(error) for error in errors] for name, errors in config["error"].items()}
    decoder.held_out_correlation_ = {name: _number(value) for name, value in config["held_out_correlation"].items()}
    decoder.n_features_in_, decoder._n_stimuli = config["n_voxels"], config["n_stimuli"]
    decoder._single_output = config["single_output"]
    return decoder


def plain(value):
    """JSON's own types; null for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value


def _number(value):
    return float("nan") if value is None else value
