"""Who sees what when: the order of trials, runs and sessions, the picture numbers, and the button presses."""

import numpy as np
import pandas as pd

REPEATS = 3
"""Presentations of every picture."""

RUNS = 12
"""Runs of a session."""

_DAYS_BETWEEN_SESSIONS = 7
_TRIAL_SECONDS = 4.0


def master_ordering(n_stimuli: int, generator: np.random.Generator) -> np.ndarray:
    """Mix three presentations of every stimulus over all trials.

    Returns
    -------
    array of shape (3 * n_stimuli,), int
        Stimulus of each trial, 1-based; numbers up to the count of shared pictures stand for those.
    """
    return generator.permutation(np.repeat(np.arange(1, n_stimuli + 1), REPEATS))


def run_lengths(trials_per_session: int) -> np.ndarray:
    """Trials of each of the 12 runs; what does not divide goes to the odd runs first (63 and 62 in NSD)."""
    spare = trials_per_session % RUNS
    lengths = np.full(RUNS, trials_per_session // RUNS)
    lengths[[*range(0, RUNS, 2), *range(1, RUNS, 2)][:spare]] += 1
    return lengths


def stimulus_pattern(sessions: int, trials_per_session: int, generator: np.random.Generator) -> np.ndarray:
    """Which of a run's slots hold a picture and which are blank.

    Returns
    -------
    array of shape (sessions, 12, n_slots), int
        1 where a picture is shown. 75 slots as in NSD, more when longer runs need them; the first three and
        last four are blank wherever that leaves room.
    """
    lengths = run_lengths(trials_per_session)
    n_slots = max(75, int(lengths.max()) + 12)
    pattern = np.zeros((sessions, RUNS, n_slots), int)
    for session in pattern:
        for run, length in zip(session, lengths, strict=True):
            run[3 + generator.permutation(n_slots - 7)[:length]] = 1
    return pattern


def presentation_counts(ordering: np.ndarray, trials_per_session: int) -> np.ndarray:
    """Count the trials that are a first, second or third presentation: (3, sessions), int."""
    presentation = pd.Series(ordering).groupby(ordering).cumcount().to_numpy()
    sessions = np.arange(len(ordering)) // trials_per_session
    counts = np.zeros((REPEATS, len(ordering) // trials_per_session), int)
    np.add.at(counts, (presentation, sessions), 1)
    return counts


def picture_numbers(subjects: int, shared: int, own: int, generator_of) -> tuple[np.ndarray, np.ndarray]:
    """Scatter the pictures over the numbers of the stimulus file.

    Shared pictures and the first subject's own fill the first numbers in random order; each further subject's
    own follow, so that another subject changes nobody's numbers.

    Parameters
    ----------
    subjects, shared, own : int
        Subjects, shared pictures, pictures that only one subject sees.
    generator_of : callable (subject: int) -> numpy.random.Generator
        Source of each subject's random order; subjects count from 1.

    Returns
    -------
    shared_numbers : array of shape (shared,), int
        0-based numbers of the shared pictures.
    own_numbers : array of shape (subjects, own), int
        0-based numbers of each subject's own pictures.
    """
    first = generator_of(1).permutation(shared + own)
    later = [shared + k * own + generator_of(k + 1).permutation(own) for k in range(1, subjects)]
    return first[:shared], np.stack([first[shared:], *later])


def behaviour(
    subject: int, ordering: np.ndarray, numbers: np.ndarray, trials_per_session: int, generator
) -> pd.DataFrame:
    """Button presses of a subject who mostly remembers, in the columns of NSD's responses.tsv.

    Parameters
    ----------
    subject : int
        Counts from 1.
    ordering : array of shape (n_trials,), int
        1-based stimulus of each trial.
    numbers : array of shape (n_stimuli,), int
        1-based picture number of each stimulus.
    trials_per_session : int
        Trials of a session.
    generator : numpy.random.Generator
        Source of errors and reaction times.
    """
    n_trials = len(ordering)
    trial = np.arange(n_trials)
    session, within = trial // trials_per_session, trial % trials_per_session
    starts = np.concatenate([[0], np.cumsum(run_lengths(trials_per_session))])
    run = np.searchsorted(starts, within, side="right") - 1
    shown = pd.Series(trial).groupby(ordering)
    recent = trial - shown.shift(1).to_numpy() - 1
    first = trial - shown.transform("first").to_numpy() - 1.0
    first[np.isnan(recent)] = np.nan
    old = ~np.isnan(recent)
    old_current = pd.DataFrame({"stimulus": ordering, "session": session}).duplicated().to_numpy()
    answered = generator.random(n_trials) > 0.01
    changed = answered & (generator.random(n_trials) < 0.03)
    says_old = np.where(old, generator.random(n_trials) < 0.85, generator.random(n_trials) < 0.15)
    reaction = np.clip(generator.normal(1000, 250, n_trials), 250, 3900)

    def known(values):
        return np.where(answered, values, np.nan)

    minutes = run * 5.0 + (within - starts[run]) * _TRIAL_SECONDS / 60
    return pd.DataFrame({
        "SUBJECT": subject,
        "SESSION": session + 1,
        "RUN": run + 1,
        "TRIAL": within - starts[run] + 1,
        "73KID": numbers[ordering - 1],
        "10KID": ordering,
        "TIME": session * _DAYS_BETWEEN_SESSIONS + 0.5 + minutes / 1440,
        "ISOLD": old.astype(int),
        "ISCORRECT": known(says_old == old),
        "RT": known(reaction),
        "CHANGEMIND": known(changed),
        "MEMORYRECENT": recent,
        "MEMORYFIRST": first,
        "ISOLDCURRENT": old_current.astype(int),
        "ISCORRECTCURRENT": known(says_old == old_current),
        "TOTAL1": (answered & (~says_old | changed)).astype(int),
        "TOTAL2": (answered & (says_old | changed)).astype(int),
        "BUTTON": known(1 + says_old),
        "MISSINGDATA": 0,
    })  # fmt: skip
