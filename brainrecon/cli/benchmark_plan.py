"""The plan that a line of ``brainrecon benchmark`` asks for: the one on disk with what is new, or a first one."""

from brainrecon.cli import option_values
from brainrecon.cli.console import say


def planned_benchmark(out, data, *, methods, preset, weights, others, sessions, hours, write=True, **rest):
    """The plan on disk, with what is asked for added; written when it has changed. Says what the data settled.

    Parameters
    ----------
    out : pathlib.Path
    data : str or None
    methods : list of str or None
        As `brainrecon.studies.plan.read_methods` takes them.
    preset : str or None
    weights : {"published", "tiny"} or None
    others : list of str or None
        Who is learned from beside a tested subject: names, ["all"] or ["none"].
    sessions, hours : list of str or None
        Of rows by sessions.
    write : bool
    **rest
        As `brainrecon.studies.plan.make_plan` takes it; None for what is not asked.

    Returns
    -------
    brainrecon.studies.plan.Plan
    """
    from brainrecon.studies.benchmark import only_from_elsewhere
    from brainrecon.studies.plan import PLAN, Plan, make_plan, read_methods
    from brainrecon.studies.preset import with_preset
    from stages.ground.errors import InputError
    from weights.whole_files import locked

    there = Plan.read(out) if (out / PLAN).exists() else None
    # On with the data that the plan has: rows may have voxels of their own there.
    source = data or (None if there is None else there.data)
    if methods is not None:
        methods = _with_others(read_methods(methods, weights), source, others, rest.get("cohort"))
    elif weights is not None and preset is None:
        raise InputError("--weights says which checkpoints methods are to have; name them with --methods or --preset.")
    elif others is not None:
        raise InputError("--others says whom methods learn from; name them with --methods.")
    counts = _counts(sessions, hours, source)
    if preset is not None:
        methods, rest = with_preset(preset, source, methods, rest, there, weights, counts)
    elif counts is not None:
        raise InputError(
            "--sessions and --hours are of a preset with rows by sessions; pass --preset few-hours with them."
        )
    if there is None and (data is None or methods is None):
        raise InputError(
            f"{out} holds no plan yet; type for example `brainrecon benchmark nsd:DIR --methods brain-diffuser --out {out}`."
        )
    asked = any(value is not None for value in (data, methods, *rest.values()))
    if there is None:
        # Hidden files are another process's plan on its way.
        is_new = not out.exists() or (out.is_dir() and all(path.name.startswith(".") for path in out.iterdir()))
        if not (is_new or only_from_elsewhere(out)):
            raise InputError(f"{out} exists and is no benchmark; name a new or empty folder with --out.")
        plan = make_plan(data, methods, told=say, **rest)
    elif asked:
        plan = there.extended(data, methods, f"The benchmark in {out}", **rest)
    else:
        plan = there
    if plan == there or not write:
        return plan
    with locked(out / ".plan"):
        # Another process may have written a plan while this one was made.
        now = Plan.read(out) if (out / PLAN).exists() else None
        if now != there and now is not None:
            plan = now.extended(data, methods, f"The benchmark in {out}", **rest)
        plan.write(out)
    return plan


def _with_others(methods, source, others, cohort):
    """Rows that say whom they learn from, which is told."""
    from brainrecon.datasets import subjects as subjects_of
    from brainrecon.studies.row_data import PRETRAINED, with_others

    there = cohort or (subjects_of(source) if source else [])
    alone = others == ["none"] or (not cohort and len(there) < 2)
    rows = with_others(methods, None if alone else PRETRAINED)
    named = [name for name, values in methods.items() if rows[name].get("others") == PRETRAINED != values.get("others")]
    if named:
        say(
            f"{', '.join(named)}: others ({', '.join(there)}, the tested one aside) are learned from first; --others none "
            "learns from each subject alone."
        )
    return rows


def _counts(sessions, hours, source):
    """Numbers of sessions from ``--sessions`` or ``--hours``; None if neither is given."""
    from stages.ground.errors import InputError

    if sessions is None and hours is None:
        return None
    if None not in (sessions, hours):
        raise InputError(
            f"Both --sessions {','.join(sessions)} and --hours {','.join(hours)} are given; leave one out."
        )
    option, texts, kind = ("--sessions", sessions, int) if hours is None else ("--hours", hours, float)
    try:
        numbers = [kind(text) for text in texts]
    except ValueError:
        raise InputError(f"{option} got {','.join(texts)!r}; expected numbers, for example {option} 1,2,4.") from None
    if hours is not None and source is None:
        raise InputError("--hours needs data that say how long a session is; name them, or pass --sessions.")
    counts = numbers if hours is None else [option_values.parse_sessions(None, number, source) for number in numbers]
    return list(dict.fromkeys(counts))
