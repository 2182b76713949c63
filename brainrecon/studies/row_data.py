"""The data of a row of a benchmark: voxels of its own, fewer sessions of the tested subject, and other subjects to learn from.

``roi``, ``sessions`` and ``others`` stand beside a row's method. ``others`` is "pretrained" (the method is fitted on the other
subjects first, and then on the tested one) or "together" (all are learned from in one training); without it, the tested subject
is learned from alone.
"""

from __future__ import annotations

from brainrecon.assembly.registry import system_class
from brainrecon.runs.config import OF_A_ROW
from stages.ground.errors import InputError

PRETRAINED, TOGETHER, NONE = "pretrained", "together", "none"
OTHERS = (PRETRAINED, TOGETHER)


def without_data(values):
    """A row without what it says of its data: its method and settings.

    >>> without_data({"method": "noise", "sessions": 2, "settings": {}})
    {'method': 'noise', 'settings': {}}
    """
    return {name: value for name, value in values.items() if name not in OF_A_ROW}


def way_of(values):
    """How a row learns from others: "pretrained", on a run or by a released checkpoint, "together", or "" for alone.

    >>> way_of({"method": "noise"}), way_of({"method": "noise", "pretrained": "a-checkpoint"})
    ('', 'pretrained')
    """
    return values.get("others") or (PRETRAINED if values.get("pretrained") else "")


def check_row(name, values):
    """Raise an InputError for data that a row of a benchmark cannot have.

    Parameters
    ----------
    name : str
        Of the row.
    values : dict
        Its method, settings and data.
    """
    sessions, others, kind = values.get("sessions"), values.get("others"), system_class(values["method"])
    if others and values.get("pretrained"):
        raise InputError(
            f"Row {name} has others = {others!r} and pretrained = {values['pretrained']!r}, which holds what was learned from "
            "others; leave one out."
        )
    if sessions is not None and (not isinstance(sessions, int) or isinstance(sessions, bool) or sessions < 1):
        raise InputError(
            f"Row {name} has sessions = {sessions!r}; expected how many are learned from, 1 or more: write sessions = 1."
        )
    if others is None:
        return
    if others not in OTHERS:
        raise InputError(
            f"Row {name} has others = {others!r}; expected {' or '.join(map(repr, OTHERS))}, or no such line: others come "
            "before, are learned from together, or not at all."
        )
    if not kind.many_subjects or (others == TOGETHER and kind.many_subjects != TOGETHER):
        can = (
            f"has one of them before a new one: write others = {PRETRAINED!r}"
            if kind.many_subjects
            else "learns from one"
        )
        raise InputError(f"Row {name} has others = {others!r} but {kind.name} {can}, or take that line out.")


def with_others(methods, default):
    """Rows of which those of methods of several subjects have others, unless a row says so itself.

    Parameters
    ----------
    methods : dict of str to dict
        As `brainrecon.studies.plan.read_methods` reads them; ``others = "none"`` of a row is to learn from one alone.
    default : {"pretrained", "together"}, optional
        Of rows that do not say it; None: each subject alone.

    Returns
    -------
    rows : dict of str to dict
    """
    rows = {}
    for name, values in methods.items():
        # What was learned from others may be released, and named by the row.
        several = system_class(values["method"]).many_subjects and not values.get("pretrained")
        others = values.get("others", default if several else None)
        own = {key: value for key, value in values.items() if key != "others"}
        rows[name] = own | ({} if others in (None, NONE) else {"others": others})
    return rows


def by_sessions(methods, sessions):
    """Each method as rows of a growing number of sessions, with the others before and alone, or alone if it learns from one.

    >>> list(by_sessions({"noise": {"method": "noise", "settings": {}}}, [1, 2]))
    ['noise, 1 session, alone', 'noise, 2 sessions, alone']

    Parameters
    ----------
    methods : dict of str to dict
        As `with_others` returns them.
    sessions : sequence of int

    Returns
    -------
    rows : dict of str to dict
    """
    rows = {}
    for name, values in methods.items():
        own = {key: value for key, value in values.items() if key not in ("others", "pretrained")}
        for count in sessions:
            label = f"{name}, {count} session{'s' if count > 1 else ''}"
            if others := way_of(values):
                how = "first" if others == PRETRAINED else others
                rows[f"{label}, others {how}"] = values | {"sessions": count}
            rows[f"{label}, alone"] = own | {"sessions": count}
    return rows


def data_of_row(values, subject, cohort):
    """What a row says of the data of one cell, as `brainrecon.runs.config.DataSettings` has it.

    >>> data_of_row({"method": "noise", "roi": "V1", "sessions": 2}, "subj01", ("subj01", "subj02"))
    {'roi': 'V1', 'sessions': 2}

    Parameters
    ----------
    values : dict
        Of the row.
    subject : str
        Who is tested.
    cohort : sequence of str
        Who is learned from, the tested subject aside.

    Raises
    ------
    InputError
        There is no other.
    """
    found = {name: values[name] for name in ("roi", "sessions") if name in values}
    if (asked := values.get("others")) is None:
        return found
    others = [name for name in cohort if name != subject]
    if not others:
        raise InputError(
            f"Others are to be learned from beside {subject} but there are none; name some with --others, or pass --others none."
        )
    if asked == TOGETHER:
        return found | {"subjects": [subject, *others]}
    return found | {"subjects": others[:1] if system_class(values["method"]).many_subjects == "reference" else others}
