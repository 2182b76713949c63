"""The encoding models behind brain correlation: fitted on a subject's training stimuli and kept beside features, or published."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from brainrecon.evaluation.brain.encoding_model import EncodingModel
from brainrecon.evaluation.brain.pattern_ceiling import FEWEST_TRAINING, error_of_mean, pattern_reliability
from brainrecon.evaluation.brain.published_encoding import measured as measured_for_published
from brainrecon.evaluation.brain.published_encoding import number_of
from brainrecon.evaluation.tasks.reconstruction import Brain, Measured
from brainrecon.evaluation.views.networks import KINDS, load_encoding, load_network
from brainrecon.evaluation.views.read_pictures import blocks_of, features_of
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.read_only import told_if_read_only
from weights import store
from weights.seals import broken, complete_seal, seal
from weights.whole_files import locked

# A correlation over fewer voxels says nothing.
VOXELS_OF_A_REGION = 30


def brain(subject, protocol, folder, device="cpu", memory=None, progress=SILENT):
    """What brain correlation needs for one subject, or None if the protocol does not score it.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    folder : path
        A folder of the user's, such as the feature store's, in whose `encoding` fitted models are kept: all methods of a
        subject and region share them.
    device : str
    memory : float, optional
        Bytes that fitting may take.
    progress : callable, optional

    Returns
    -------
    brainrecon.evaluation.tasks.reconstruction.Brain or None
    """
    wanted = {spec.features for spec in protocol.metrics.values() if spec.metric.takes == "brain"}
    if not wanted or subject.train.images is None or not subject.train.has_responses:
        return None
    models, measured, notes = {}, {}, []
    for done, name in enumerate(sorted(wanted)):
        spec = protocol.networks[name]
        if KINDS[spec.kind].encoding:
            found = _published(subject, spec, device)
            if isinstance(found, str):
                notes.append(found)
            else:
                models[name], measured[name] = found
        else:
            models[name] = _model(subject, protocol, spec, Path(folder) / "encoding", device, memory)
        progress("encoding model", done + 1, len(wanted))
    fitted = next((model for name, model in models.items() if name not in measured), None)
    own = Measured(np.empty((0, 0))) if fitted is None else _measured(subject, fitted)
    return Brain(own.patterns, models, own.reliability, own.regions, measured, tuple(notes))


def _measured(subject, model):
    """Test responses of a subject in the units of a fitted encoding model."""
    test, reliability = subject.test, None
    if len(subject.train.patterns) >= FEWEST_TRAINING:
        shared = error_of_mean(subject.train.patterns, model.mean_, model.std_)
        reliability = pattern_reliability(
            test.betas, test.trial_stimulus_ids, test.stimulus_ids, model.mean_, model.std_, shared=shared
        )
    regions = {name: mask for name, mask in subject.rois.items() if mask.sum() >= VOXELS_OF_A_REGION}
    return Measured(model.standardise(test.patterns), reliability, regions)


def _published(subject, spec, device):
    """A published encoding model of a subject, and the responses it is compared with; or a sentence why there is none."""
    if (number := number_of(subject.name)) is None:
        return f"{spec.label} knows subjects of NSD alone, and {subject.name} is none, so that nothing is scored by it."
    try:
        model = load_encoding(spec, number, device)
    except InputError as error:
        return f"Nothing is scored by {spec.label}: {error}"
    if model.n_voxels != subject.n_voxels:
        return (
            f"{spec.label} predicts {model.n_voxels:,} voxels, those of nsdgeneral of NSD's {subject.name}, but "
            f"{subject.n_voxels:,} of {subject.region} were loaded, so that nothing is scored by it."
        )
    return model, measured_for_published(subject)


def _model(subject, protocol, spec, folder, device, memory):
    model, patterns = EncodingModel(device=device, memory=memory), subject.train.patterns
    identity = [protocol.sha256, spec.name, store.fingerprint(spec.checkpoint), model.describe()]
    identity += [
        subject.train_fingerprint or subject.fingerprint,
        subject.name,
        subject.roi,
        [str(name) for name in subject.train.stimulus_ids],
    ]
    digest = hashlib.sha256(json.dumps(identity).encode())
    for block in blocks_of(np.arange(len(patterns)), 1024):
        digest.update(np.ascontiguousarray(patterns[block]))
    own = folder / digest.hexdigest()[:20]
    if (own / "config.json").exists():
        return _opened(own, device)
    with told_if_read_only("Encoding models", folder), locked(own):
        # Another process may have fitted it in the meantime.
        if (own / "config.json").exists():
            return _opened(own, device)
        _fit(model, subject, patterns, protocol, spec, device).save_pretrained(own)
        seal(own)
        return model
    return _fit(model, subject, patterns, protocol, spec, device)


def _fit(model, subject, patterns, protocol, spec, device):
    features = features_of(subject.train.images, protocol, spec, load_network(spec, device))
    return model.fit(features, patterns)


def _opened(folder, device):
    complete_seal(folder, "config.json")
    if damage := broken(folder):
        raise InputError(f"In {folder}, {damage}; delete that folder and run the same command again.")
    return EncodingModel.from_pretrained(folder, device)
