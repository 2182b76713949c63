"""Miyawaki 2008 as a MATLAB file: a matrix of voxels x trials and a matrix of 100 x trials.

Names differ from copy to copy, so variables are told by their shape: patterns are the matrix with 100 rows of 0
and 1 (-1 where there is rest), responses the other matrix with as many columns. Matrices that all lie the other
way, trials x 100 and trials x voxels, are turned. Fields of structs count as variables, ``D.data``. Files of
version 7.3 (HDF5) and earlier ones are read alike.
"""

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.miyawaki.recording import N_CELLS, Recording, read_patterns
from stages.ground.errors import InputError
from stages.ground.reading.matlab_matrices import read_matrices

PARTS = {"train": ("train", "random"), "test": ("test", "figure")}
"""Split -> words, one of which its variables have in their name."""

BOTH = "pass test_trials, the numbers of the test trials from 1"
"""What to do where a split has no trial."""


def read(path, responses=None, patterns=None, test_trials=None):
    """Read the file.

    Parameters
    ----------
    path : pathlib.Path
    responses, patterns : str or pair of str, optional
        Names of variables; two are those of train and test, in this order ("x_train,x_test" does too). By default
        they are told by shape, and two pairs by "train" or "random" and "test" or "figure" in their names.
    test_trials : sequence of int or str, optional
        Columns, from 1, such as ``[3, 4, 5]`` or "3-5", that belong to the test split. By default two pairs of
        variables tell; else a variable with "type" in its name that has a number per trial (1 train, above 1 test,
        below 0 rest); else one with "test" in its name (1 test, 0 train).

    Returns
    -------
    recording : brainrecon.datasets.miyawaki.recording.Recording
        Trials in the order of the file, those of train before those of test where they are apart. ``runs`` and
        ``sessions`` are variables so named that have a number per trial.

    Raises
    ------
    InputError
        The file cannot be read, or does not tell one of these things; the sentence says what to pass.
    """
    content = read_matrices(path)
    responses, patterns = _names(responses, "responses"), _names(patterns, "patterns")
    candidates = [content[name] for name in patterns or content if name in content]
    upright, turned = (any(_holds_patterns(value) for value in way) for way in (candidates, [v.T for v in candidates]))
    if turned and not upright:
        content = {name: value.T for name, value in content.items()}
    pairs = _pairs(path, content, responses, patterns)
    cells = np.concatenate([content[pattern] for _, pattern in pairs], axis=1).T.astype(float)
    values = [content[response] for response, _ in pairs]
    if len({len(value) for value in values}) > 1:
        raise InputError(
            f"{path} has {len(values[0]):,} voxels in {pairs[0][0]} but {len(values[1]):,} in {pairs[1][0]}; "
            "pass responses of the same voxels."
        )
    n_trials = len(cells)
    types = _per_trial(content, "type", n_trials)
    # Cells of a trial that the file calls rest may hold anything.
    calm = np.zeros(n_trials, bool) if types is None else types < 0
    where = f"{path} ({', '.join(name for _, name in pairs)})"
    shown_patterns, shown = read_patterns(np.where(calm[:, None], -1, cells), where)
    if len(pairs) == 2 and test_trials is None:
        test = np.repeat([False, True], [content[name].shape[1] for _, name in pairs])
    else:
        test = _test_trials(path, content, n_trials, types, test_trials)
    runs, sessions = (_per_trial(content, word, n_trials) for word in ("run", "session"))
    return Recording(
        responses=np.concatenate(values, axis=1).T[shown].astype(np.float32),
        patterns=shown_patterns[shown],
        test=test[shown],
        runs=None if runs is None else runs[shown].astype(int),
        sessions=None if sessions is None else sessions[shown].astype(int),
        notes=["responses are as the file has them", "no regions are named in the file", "no categories in the file"],
        details={"variables": {"responses": [name for name, _ in pairs], "patterns": [name for _, name in pairs]}},
    )


def files(path):
    """The one file."""
    return [ExpectedFile(path, "responses (voxels x trials) and patterns (100 x trials) as a MATLAB file")]


def _names(given, option):
    """One name or two of an option, or None."""
    if given is None:
        return None
    names = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else ()
    if not 1 <= len(names) <= 2 or not all(isinstance(name, str) for name in names):
        raise InputError(f"{option} is {given!r}; pass the name of one variable, or of two as train,test.")
    return tuple(name.strip() for name in names)


def _holds_patterns(matrix):
    return matrix.shape[0] == N_CELLS and matrix.shape[1] > 1 and bool(np.isin(matrix, (-1, 0, 1)).all())


def _pairs(path, content, responses, patterns):
    """Names of (responses, patterns), one pair, or that of train and that of test."""
    for name in (*(responses or ()), *(patterns or ())):
        if name not in content:
            raise InputError(f"{path} has no variable '{name}' of two axes; it has {_listed(content)}.")
    if patterns is None:
        patterns = _by_part([name for name, value in content.items() if _holds_patterns(value)])
        if not patterns:
            raise InputError(
                f"{path} holds {_listed(content)}; expected one matrix of 100 x trials with 0 and 1, or one of train and "
                "one of test by their names: pass patterns=NAME, or patterns=TRAIN,TEST."
            )
    if responses is None:
        responses = [_response(path, content, name, patterns) for name in patterns]
    if len(responses) != len(patterns):
        raise InputError(
            f"{len(responses)} responses ({', '.join(responses)}) go with {len(patterns)} patterns "
            f"({', '.join(patterns)}) of {path}; pass as many of both."
        )
    for response, pattern in zip(responses, patterns):
        if content[pattern].shape[0] != N_CELLS:
            raise InputError(
                f"{path} has {content[pattern].shape[0]:,} rows in {pattern}; expected {N_CELLS}, the cells of 10 x 10: "
                "pass patterns=NAME of another variable."
            )
        sizes = content[response].shape[1], content[pattern].shape[1]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{path} has {sizes[0]:,} trials in {response} but {sizes[1]:,} in {pattern}; "
                "pass responses and patterns that have one column per trial each."
            )
    return list(zip(responses, patterns))


def _response(path, content, pattern, patterns):
    """The one other matrix with as many columns as a matrix of patterns."""
    n_trials = content[pattern].shape[1]
    fitting = [
        name
        for name, value in content.items()
        if name not in patterns and value.shape[1] == n_trials and min(value.shape) > 1
    ]
    if len(patterns) == 2 and len(fitting) > 1:
        fitting = [name for name in fitting if _part(name) == _part(pattern)]
    if len(fitting) != 1:
        raise InputError(
            f"{path} holds {', '.join(fitting) or 'no matrix'} with the {n_trials:,} trials of {pattern}, of {_listed(content)}; "
            "expected one matrix of voxels x trials: pass responses=NAME, or responses=TRAIN,TEST."
        )
    return fitting[0]


def _by_part(names):
    """One name, or that of train and that of test; None if neither can be told."""
    if len(names) == 1:
        return names
    parts = {part: [name for name in names if _part(name) == part] for part in PARTS}
    if len(names) == 2 and all(len(own) == 1 for own in parts.values()):
        return [parts["train"][0], parts["test"][0]]
    return None


def _part(name):
    found = [part for part, words in PARTS.items() if any(word in name.lower() for word in words)]
    return found[0] if len(found) == 1 else None


def _per_trial(content, word, n_trials):
    """The one variable with a word in its name that has a whole number per trial, (n_trials,), or None."""
    found = [
        value.reshape(-1)
        for name, value in content.items()
        if word in name.lower() and sorted(value.shape) == sorted((1, n_trials)) and (value == np.rint(value)).all()
    ]
    return found[0] if len(found) == 1 else None


def _test_trials(path, content, n_trials, types, chosen):
    """Whether each trial tests, (n_trials,) bool."""
    if chosen is not None:
        first, dash, last = chosen.partition("-") if isinstance(chosen, str) else ("", "", "")
        if dash and first.isdecimal() and last.isdecimal():
            chosen = range(int(first), min(int(last), n_trials + 1) + 1)
        numbers = np.atleast_1d(chosen)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not ((numbers >= 1) & (numbers <= n_trials)).all():
            raise InputError(f"test_trials does not fit {path}; pass numbers from 1 to {n_trials:,}, or FIRST-LAST.")
        return np.isin(np.arange(1, n_trials + 1), numbers)
    if types is not None and (types == 1).any() and (types > 1).any() and not (types == 0).any():
        return types > 1
    flags = _per_trial(content, "test", n_trials)
    if flags is not None and set(np.unique(flags)) == {0, 1}:
        return flags == 1
    raise InputError(
        f"{path} holds {_listed(content)}, and nothing tells which of its {n_trials:,} trials test; {BOTH}."
    )


def _listed(content):
    return ", ".join(f"{name} {value.shape}" for name, value in content.items()) or "no matrix of numbers"
