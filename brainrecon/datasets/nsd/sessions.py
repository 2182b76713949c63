"""Which of NSD's sessions: all there are, or some of them, as in ``1-37``."""

import re

from stages.ground.errors import InputError

PUBLISHED = {
    "subj01": 40,
    "subj02": 40,
    "subj03": 32,
    "subj04": 30,
    "subj05": 40,
    "subj06": 32,
    "subj07": 40,
    "subj08": 30,
}
"""How many sessions of each subject were released (NSD data manual); only for what is not on disk."""

EXAMPLE = "write sessions=1-37, or sessions=1,2,5-8"


def read_sessions(wanted):
    """Numbers of sessions from what was asked for.

    >>> read_sessions("1-3,7"), read_sessions(4), read_sessions([2, 1]), read_sessions(None)
    ([1, 2, 3, 7], [4], [1, 2], None)

    Parameters
    ----------
    wanted : str, int, list of int, or None
        Numbers count from 1; a range includes its last.

    Returns
    -------
    sessions : list of int, increasing, or None for all

    Raises
    ------
    InputError
        It names no session, or cannot be read.
    """
    if wanted is None:
        return None
    parts = wanted if isinstance(wanted, list | tuple) else str(wanted).split(",")
    sessions = set()
    for part in parts:
        found = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", str(part))
        first, last = (int(found[1]), int(found[2] or found[1])) if found and not isinstance(part, bool) else (0, 0)
        if not 1 <= first <= last:
            raise InputError(f"sessions is {wanted!r}; expected numbers from 1 on: {EXAMPLE}.")
        sessions |= set(range(first, last + 1))
    if not sessions:
        raise InputError(f"sessions is {wanted!r}, which names none; {EXAMPLE}, or leave it out for all.")
    return sorted(sessions)


def chosen_sessions(files, wanted, where):
    """Those session files that were asked for.

    Parameters
    ----------
    files : dict of int to pathlib.Path
        What is there, by session.
    wanted : str, int, list of int, or None
        As `read_sessions` takes it.
    where : str or path
        For messages.

    Raises
    ------
    InputError
        A session is asked for that is not there.
    """
    sessions = read_sessions(wanted)
    if sessions is None:
        return files
    absent = [session for session in sessions if session not in files]
    if absent:
        raise InputError(
            f"{where} lacks session {in_words(absent)} of those asked for ({in_words(sessions)}); it has {in_words(files)}: "
            "ask for some of these, or add the others."
        )
    return {session: files[session] for session in sessions}


def in_words(sessions):
    """``1-3, 7`` for 1, 2, 3 and 7."""
    spans = []
    for session in sorted(sessions):
        if spans and session == spans[-1][1] + 1:
            spans[-1][1] = session
        else:
            spans.append([session, session])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def session_note(files, design):
    """Which sessions were found, and which of those before the last, or of the design's, were not."""
    n_sessions = max(files) if design.trials_per_run is None else len(design.trials_per_run)
    missing = [str(session) for session in range(1, n_sessions + 1) if session not in files]
    return f"{len(files)} of {n_sessions} sessions found" + (f"; missing: {', '.join(missing)}" if missing else "")
