"""Runs of several subjects: who is learned from together, who is new, and the runs that belong to them.

``data.subjects`` of a configuration names those that are learned from together. Each of them is tested: the first by the run
itself, the others in ``subjects/<name>/`` of its folder, by the same decoder. A subject that is none of them is a new one: the
method is fitted on the others first, in a run of its own, ``pretraining/`` of the folder or one that stands elsewhere, and then
on the new subject.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainrecon.assembly.settings import differences, to_dict
from brainrecon.datasets.cohort import there_of
from brainrecon.datasets.subject import subject_name
from brainrecon.runs.released_pretraining import check_checkpoint, is_checkpoint
from stages.ground.errors import InputError


def with_tested_subject(data):
    """Settings of data that say who is tested: the first of several, unless somebody is named; one alone is no cohort.

    >>> from brainrecon.runs.config import DataSettings
    >>> with_tested_subject(DataSettings("nsd:/data/nsd", subjects=("2", "subj03"))).subject
    'subj02'

    Parameters
    ----------
    data : brainrecon.runs.config.DataSettings
    """
    if not data.subjects:
        return replace(data, subjects=None)
    names = tuple(map(subject_name, data.subjects))
    tested = names[0] if data.subject is None else subject_name(data.subject)
    return replace(data, subject=tested, subjects=None if names == (tested,) else names)


def check_subjects(config):
    """Refuse subjects with which a method can do nothing, and what several subjects do not go together with.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig

    Raises
    ------
    InputError
    """
    data, kind = config.data, config.system
    if data.sessions is not None and data.sessions < 1:
        raise InputError(f"sessions is {data.sessions}; expected 1 or more: pass --sessions 1.")
    if is_checkpoint(config.pretrained):
        if data.subjects:
            raise InputError(
                f"{config.pretrained} holds what was learned from others, but --subjects names {', '.join(data.subjects)}; leave "
                "one of them out."
            )
        return check_checkpoint(config.pretrained, config.system)
    if config.pretrained and not data.is_of_new_subject:
        raise InputError(
            f"pretrained is {config.pretrained} but there is no new subject; pass --subjects with those that were learned from "
            "and --new-subject, or leave --pretrained out."
        )
    if not data.subjects:
        return
    named = ", ".join(data.subjects)
    if not kind.many_subjects:
        raise InputError(
            f"{kind.name} learns from one subject but --subjects names {named}; test it on each with `brainrecon benchmark "
            "--subjects`, or choose a method of several with `brainrecon methods`."
        )
    if kind.many_subjects == "reference" and (len(data.subjects) > 1 or not data.is_of_new_subject):
        raise InputError(
            f"{kind.name} brings a new subject into the space of one other, but --subjects names {named} and the run is of "
            f"{data.subject}; pass --subjects {data.subjects[0]} --new-subject with another one."
        )
    if data.beside and len(data.subjects) > 1:
        raise InputError(
            f"Both subjects ({named}) and beside ({', '.join(data.beside)}) are given; test further splits in a run of one "
            "subject, or leave --beside out."
        )
    if config.decoder_from:
        raise InputError(
            f"A decoder of one subject is to be taken ({', '.join(config.decoder_from)}) but subjects are {named}; leave "
            "--decoder or --subjects out."
        )


def settled(config):
    """A configuration in which subjects are named as the data name them.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig

    Raises
    ------
    InputError
        One of them is not there.
    """
    data = config.data
    if not data.subjects:
        return config
    names = there_of(data.source, data.subjects)
    (subject,) = there_of(data.source, [data.subject])
    if len(set(names)) < len(names):
        raise InputError(
            f"--subjects names {max(names, key=names.count)} twice, in {', '.join(names)}; name each subject once."
        )
    return replace(config, data=replace(data, subjects=names, subject=subject))


def of_pretraining(config):
    """The configuration of the run in which a method is fitted on the subjects before a new one.

    They are split by the same rule as the new one, so that a category that is tested is learned from in nobody; alignment to
    shared stimuli, and a further split of the dataset, concern the new subject alone.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
        Of the new subject's run.

    Returns
    -------
    brainrecon.runs.config.RunConfig
    """
    data = config.data
    first, *others = data.subjects
    rule = data.split if data.split and data.split.partition(":")[0] in ("category", "clusters", "ids") else None
    own = replace(
        data,
        subject=first,
        subjects=data.subjects if others else None,
        sessions=None,
        stimuli=None,
        apart_from=data.subject,
        split=rule,
        split_checkpoint=data.split_checkpoint if rule else None,
        beside=None,
        captions=None,
        caption_choices=None,
    )
    return replace(config, data=own, settings=config.system.for_pretraining(), samples=1, splits={}, pretrained=None)


def of_subject(config, name):
    """The configuration of the run of another subject that was learned from together with a run's own.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
        Of the run that it lies in.
    name : str
    """
    return replace(config, data=replace(config.data, subject=name), shared_decoder=True)


def check_pretrained(config, subject, run):
    """Refuse a pretraining of other subjects or settings, or one that has learned from what the new subject is tested on.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
        Of the new subject's run.
    subject : brainrecon.datasets.subject.Subject
        The new one.
    run : brainrecon.runs.run.Run
        The pretraining.

    Raises
    ------
    InputError
    """
    wanted, there = of_pretraining(config), run.config
    known, asked = (one.data.subjects or (one.data.subject,) for one in (there, wanted))
    if there.method != config.method or set(known) != set(asked):
        raise InputError(
            f"{run.folder} is a run of {there.method} on {', '.join(known)} but {config.method} on {', '.join(asked)} is to come "
            "before; name the run of these, or leave --pretrained out."
        )
    free = (*config.system.of_drawing, *config.system.of_new_subject)
    for name, before, after in differences(to_dict(there.settings), to_dict(wanted.settings)):
        # What is left open follows from the data.
        if after is not None and not any(name == one or name.startswith(f"{one}.") for one in free):
            raise InputError(
                f"{run.folder} was fitted with settings.{name} = {before!r} but {after!r} is asked for; repeat the settings of "
                "that run, or leave --pretrained out."
            )
    for name, one in run.cohort.items():
        if (both := np.intersect1d(one.train.stimulus_ids, subject.test.stimulus_ids)).size:
            raise InputError(
                f"{run.folder} has learned from {both.size:,} stimuli of {name} that {subject.name} is tested on (the first is "
                f"{both[0]}); leave --pretrained out, so that a run is made without them."
            )
