"""The encoding models behind brain correlation: fitted on a subject's training stimuli, kept beside the scores."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from brainrecon.evaluation.encoding_model import EncodingModel
from brainrecon.evaluation.networks import load_network
from brainrecon.evaluation.pattern_ceiling import pattern_ceiling
from brainrecon.evaluation.scoring import Brain
from brainrecon.evaluation.views import Pictures
from stages.whole_files import alone, write_text
from weights import store

# A correlation over fewer voxels says nothing.
VOXELS_OF_A_REGION = 30


def brain(subject, protocol, folder, device="cpu", progress=None):
    """What brain correlation needs for one subject, or None where the protocol does not score it.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    protocol : brainrecon.evaluation.protocol.Protocol
    folder : path
        Where fitted models are kept; read from there where they are of the same protocol, network and data.
    device : str
    progress : callable, optional

    Returns
    -------
    brainrecon.evaluation.scoring.Brain or None
    """
    wanted = {spec.features for spec in protocol.metrics.values() if spec.metric.takes == "brain"}
    if not wanted or subject.train.images is None:
        return None
    models = {}
    for done, name in enumerate(sorted(wanted)):
        models[name] = _model(subject, protocol, protocol.networks[name], Path(folder), device)
        if progress:
            progress("encoding model", done + 1, len(wanted))
    model = next(iter(models.values()))
    test = subject.test
    ceiling = pattern_ceiling(test.betas, test.trial_stimulus_ids, test.stimulus_ids, model.mean_, model.std_)
    regions = {name: mask for name, mask in subject.rois.items() if mask.sum() >= VOXELS_OF_A_REGION}
    return Brain(model.standardise(test.patterns), models, ceiling, regions)


def _model(subject, protocol, spec, folder, device):
    identity = [protocol.sha256, spec.name, store.fingerprint(spec.checkpoint), subject.fingerprint]
    identity += [subject.name, subject.roi, [str(name) for name in subject.train.stimulus_ids]]
    patterns = subject.train.patterns
    digest = hashlib.sha256(json.dumps(identity).encode() + patterns.tobytes()).hexdigest()
    own = folder / f"{protocol.name}-{spec.name}"
    with alone(own):
        note = own / "identity.json"
        if note.exists() and json.loads(note.read_text())["sha256"] == digest:
            return EncodingModel.from_pretrained(own)
        note.unlink(missing_ok=True)
        features = Pictures(subject.train.images, protocol).features(spec, load_network(spec, device))
        model = EncodingModel(device=device).fit(features, patterns)
        model.save_pretrained(own)
        write_text(note, json.dumps({"sha256": digest}) + "\n")
    return model
