"""A trained network on disk: what all subjects share in one file, and what belongs to a subject alone in a file of its own.

model.safetensors             the whole network of one subject; of several, what they share
subjects/<name>.safetensors   of several: a subject's inputs, and the mean and the scale of its voxels
config.json                   written last
"""

from __future__ import annotations

import json
from pathlib import Path

from stages.checkpoints.named_networks import name_of
from stages.checkpoints.pretrained import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    fill_network,
    read_network_tensors,
    save_network,
    save_tensors,
)
from stages.checkpoints.strict_loading import check_tensors, read_json_object
from stages.decoders.standardised import Standardised
from stages.ground.errors import InputError
from weights.hashes import hash_file
from weights.manifest import CheckpointError
from weights.names import trouble_with_part
from weights.whole_files import write_text


def write_network(network, folder, config):
    """Write a network's tensors, and then its configuration.

    Parameters
    ----------
    network : stages.decoders.standardised.Standardised or StandardisedSubjects
    folder : path
    config : dict
        Content of ``config.json``; `n_voxels` are by subject if there are several.
    """
    if isinstance(network, Standardised):
        return save_network(network, folder, config)
    tensors = network.state_dict()
    for subject in network.subjects:
        own = {name: tensors.pop(place) for name, place in network.subject_tensors(subject).items()}
        save_tensors(own, Path(folder) / file_of(subject))
    save_tensors(tensors, Path(folder) / WEIGHTS_FILE)
    write_text(Path(folder) / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def read_network(network, folder):
    """Put what `write_network` wrote into a network.

    Returns
    -------
    network
        The same, in evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or tensors are missing, unexpected or misshapen.
    """
    tensors = read_network_tensors(folder)
    if not isinstance(network, Standardised):
        for subject in network.subjects:
            tensors |= _tensors_of(subject, network, folder)
    return fill_network(network, tensors, folder)


def start_from(network, folder, make):
    """Put into a new network what a decoder of other subjects has learnt: all that it shares, and subjects that both know.

    Parameters
    ----------
    network : stages.decoders.standardised.StandardisedSubjects
        Its tensors are changed, those of subjects that the other does not know stay as they are.
    folder : path
        What `write_network` wrote.
    make : type
        Class of the network.

    Returns
    -------
    identity : str
        Hashes of what was read.

    Raises
    ------
    InputError
        There is no decoder of this network in the folder, or a subject has another number of voxels there.
    """
    if isinstance(network, Standardised):
        raise InputError(
            f"{make.__name__} is a network of one subject, of which nothing can be gone on with on another; fit it anew, without "
            "a pretrained decoder."
        )
    folder, files = Path(folder), [WEIGHTS_FILE]
    try:
        config = read_json_object(folder / CONFIG_FILE, make.__name__)
        if config.get("network") != name_of(make):
            raise CheckpointError(f"it is of the network {config.get('network')}, but {name_of(make)} is trained")
        known = config.get("n_voxels")
        known = known if isinstance(known, dict) else {}
        tensors = read_network_tensors(folder)
        for subject, n_voxels in network.n_voxels.items():
            if subject not in known:
                tensors |= {place: network.state_dict()[place] for place in network.subject_tensors(subject).values()}
                continue
            if known[subject] != n_voxels:
                raise CheckpointError(f"it knows {known[subject]} voxels of {subject}, but there are {n_voxels}")
            tensors |= _tensors_of(subject, network, folder)
            files.append(file_of(subject))
        check_tensors(make.__name__, folder, tensors, network.state_dict())
    except CheckpointError as error:
        raise InputError(
            f"The training cannot go on from the decoder in {folder} ({error}); give the folder of one that was fitted with the "
            "same settings."
        ) from None
    # Not assigned: what layers share stays shared.
    network.load_state_dict(tensors)
    return " ".join(hash_file(folder / file) for file in files)


def subjects_in(folder):
    """Names of the subjects that the decoder in a folder knows, a tuple; empty of a network that reads none."""
    known = read_json_object(Path(folder) / CONFIG_FILE, "decoder").get("n_voxels")
    return tuple(known) if isinstance(known, dict) else ()


def file_of(subject):
    """Path of a subject's file below the folder of a decoder.

    >>> file_of("subj01")
    'subjects/subj01.safetensors'
    """
    if trouble := trouble_with_part(subject):
        raise CheckpointError(f"a subject is called {subject[:60]!r}, which cannot be the name of a file: {trouble}")
    return f"subjects/{subject}.safetensors"


def _tensors_of(subject, network, folder):
    """A subject's tensors by their names in the network."""
    stored, places = read_network_tensors(folder, file=file_of(subject)), network.subject_tensors(subject)
    check_tensors(
        f"file of {subject}", folder, stored, {name: network.state_dict()[place] for name, place in places.items()}
    )
    return {place: stored[name] for name, place in places.items()}
