"""Making a run folder: what is asked for is settled, compared with what is there, and written before anything is computed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.settings import differences
from brainrecon.features.store import FeatureStore
from brainrecon.runs import beside
from brainrecon.runs.config import MASK_FILE, RunConfig
from brainrecon.runs.decoder_from import check_decoder, named
from brainrecon.runs.layout import Layout
from brainrecon.runs.record import (
    check_checkpoint_names,
    check_checkpoints,
    check_cohort,
    check_data,
    cohort_digests,
    environment,
    resolved,
    response_digest,
    split_checkpoint,
)
from stages.ground.errors import InputError
from weights.partial_files import is_partial, sweep
from weights.whole_files import write_text


def made_folder(folder, config, features, device):
    """Write what a run folder begins with, or check that what is there was asked for; as `brainrecon.runs.run.Run.create` says.

    Returns
    -------
    config : RunConfig
        Settled.
    cohort : mapping of str to brainrecon.datasets.subject.Subject
    """
    layout = Layout(folder := Path(folder), config.shared_decoder)
    check_checkpoint_names(config.system)
    config, cohort = resolved(config, FeatureStore(features), device)
    subject = cohort[config.data.subject]
    there = RunConfig.read(layout.config) if layout.config.exists() else None
    # What a run recorded stands, also if a manifest or a folder is no longer there.
    if not config.shared_decoder and (there is None or config.decoder_from != there.decoder_from):
        config = replace(config, decoder_from=named(config.decoder_from, config.system, subject.name))
    if there is not None:
        if there.data.split and there.data.split_checkpoint is None:
            there = replace(there, data=replace(there.data, split_checkpoint=split_checkpoint(there)))
        config = beside.with_those_there(config, there)
        # More samples, and more splits beside, are more of the same run.
        known = beside.as_if_asked(replace(there, samples=config.samples), config)
        found = differences(known.to_dict(), config.to_dict())
        # Data and a mask may have moved: whether they are the same is checked below.
        moved = [one for one in found if one[0] == "data.source" or (one[0] == MASK_FILE and None not in one)]
        # As the run before may with the whole folder; whose it is is checked when it is read.
        moved += [one for one in found if one[0] == "pretrained" and None not in one and _is_gone(one[1])]
        if found := [one for one in found if one not in moved]:
            name, before, after = found[0]
            raise InputError(
                f"{folder} is a run with {name} = {before!r} but {after!r} was asked for; "
                "name another folder with --out, or repeat the settings of that run to continue it."
            )
    elif folder.exists() and (not folder.is_dir() or _holds_something(folder)):
        raise InputError(f"{folder} exists and is no run folder; name a new or empty folder with --out.")
    chain = Chain(config.system)
    for one in cohort.values():
        chain.check_pictures(one)
    if not config.shared_decoder and not chain.is_fitted(layout.decoder):
        check_decoder(config, subject)
    now = environment(config) | {"data": subject.fingerprint, "details": subject.details}
    now["responses"] = response_digest(subject)
    now |= {"cohort": cohort_digests(cohort)} if config.data.is_of_several else {}
    if layout.environment.exists():
        check_checkpoints(folder, now["checkpoints"])
        check_data(folder, subject, now["responses"])
        check_cohort(folder, cohort)
    sweep(folder)
    config.write(layout.config)
    if not layout.environment.exists():
        write_text(layout.environment, json.dumps(now, indent=1) + "\n")
    return config, cohort


def _is_gone(pretrained):
    """Whether the run before a run, and not a checkpoint, is no longer where it was."""
    return Path(pretrained).is_absolute() and not Path(pretrained).exists()


def _holds_something(folder):
    """Whether a folder has more than a run leaves that could not begin: locks, what is half written, and folders of such."""
    return any(not is_partial(path) and (not path.is_dir() or _holds_something(path)) for path in folder.iterdir())
