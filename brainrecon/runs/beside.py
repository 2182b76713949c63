"""Further splits of a dataset, such as imagery or shapes, tested beside the run's own: one decoder, a run folder for each.

``data.beside`` of a configuration names them. Each lies in ``splits/<name>/`` of the run's folder and is a run like any other,
but for its decoder, which is that of the run: fitted once and not copied. It may be drawn with other settings, see
`brainrecon.runs.split_settings`.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

from brainrecon.datasets import load
from brainrecon.runs import split_settings
from stages.ground.errors import InputError
from weights.remark import Remark
from weights.suggestions import did_you_mean

ALL = "all"
"""The word for every further split that there is."""
OWN = "test"


def tested(config):
    """What a run itself tests, beside what else is tested by its decoder: a split by name or rule; or one of several subjects.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
    """
    return config.data.subject if config.data.is_of_several else config.data.split or OWN


def settled(config, subject):
    """A configuration in which the splits that are tested beside the run's own are named, each once.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
    subject : brainrecon.datasets.subject.Subject
        As the configuration says.

    Raises
    ------
    InputError
        There is no such split, or it is tested already; or settings are given for a split that is not tested.
    """
    data = config.data
    if data.beside:
        whole = subject
        if data.split is not None:
            whole = load(data.source, subject=data.subject, roi=data.roi, **data.options)
        config = replace(config, data=replace(data, beside=_named(data.beside, tested(config), whole) or None))
    beside = config.data.beside or ()
    if strangers := [name for name in config.splits if name not in beside]:
        there = f" ({', '.join(beside)} is)" if beside else ""
        raise InputError(
            f"There are settings for split {strangers[0]!r}, which is not tested beside {tested(config)}{there}; pass --beside "
            f"{','.join((*beside, strangers[0]))}, or take [splits.{strangers[0]}.settings] out."
        )
    return config


def _named(names, own, whole):
    """The splits that some words stand for, of those that a subject has."""
    # The dataset's own test split first, where another stands in its place.
    there = sorted((name for name in whole.splits if name not in ("train", own)), key=lambda name: name != OWN)
    if own not in whole.splits:
        raise InputError(
            f"--split {own} trains on stimuli that {', '.join(names)} may show; leave --split or --beside out."
        )
    if tuple(names) == (ALL,) and not there:
        warnings.warn(
            f"{whole.source} has no split but train and {own}; nothing is tested beside.", Remark, stacklevel=2
        )
        return ()
    if not there:
        raise InputError(f"{whole.source} has no split to test beside {own}; leave --beside out.")
    found = []
    for name in names:
        if name != ALL and name not in there:
            why = "is what is tested already" if name == own else "is what is learned from" if name == "train" else ""
            told = f"{name} {why}" if why else f"There is no split {name!r} to test beside {own}"
            raise InputError(
                f"{told}; {whole.source} has {', '.join(there)}{did_you_mean(name, there)}: pass --beside {','.join(there)}, or "
                "all."
            )
        found += there if name == ALL else [name]
    return tuple(dict.fromkeys(found))


def with_those_there(config, there):
    """What was asked for now, and beside it what a run already tests beside its own split.

    Parameters
    ----------
    config, there : brainrecon.runs.config.RunConfig
        Asked for, and recorded.
    """
    beside = tuple(dict.fromkeys((*(there.data.beside or ()), *(config.data.beside or ()))))
    return replace(config, data=replace(config.data, beside=beside or None))


def as_if_asked(there, config):
    """A recorded configuration with the splits, and their settings, that are new in one that adds some."""
    new = {name: values for name, values in config.splits.items() if name not in (there.data.beside or ())}
    return replace(there, data=replace(there.data, beside=config.data.beside), splits=there.splits | new)


def of_split(config, name):
    """The configuration of the run of a split that is tested beside.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
        Of the run that it lies in.
    name : str

    Returns
    -------
    brainrecon.runs.config.RunConfig
    """
    values, settings = config.splits.get(name, {}), config.settings
    if values:
        settings = split_settings.of_split(settings, values, type(config.system), name)
    data = replace(config.data, split=name, split_checkpoint=None, beside=None)
    return replace(config, data=data, settings=settings, splits={}, shared_decoder=True)


def shared_out(stimuli, runs):
    """Stimuli that are asked for, those of each run: a list of lists, or of None if none are named.

    Parameters
    ----------
    stimuli : sequence of str, optional
    runs : sequence of brainrecon.runs.run.Run

    Raises
    ------
    InputError
        One is tested by no run.
    """
    if stimuli is None or len(runs) == 1:
        return [stimuli] * len(runs)
    shown = [set(run.stimulus_ids) for run in runs]
    if absent := [name for name in map(str, stimuli) if not any(name in one for one in shown)]:
        raise InputError(
            f"Stimulus {absent[0]!r} is in none of {', '.join(tested(run.config) for run in runs)}; see `brainrecon data info`."
        )
    return [[name for name in map(str, stimuli) if name in one] for one in shown]
