"""One rule for captions of one's own: every stimulus has one, or nobody goes on."""

import json

from stages.ground.errors import InputError


def checked_captions(said, ids, where):
    """Captions of stimuli, as a file says them, in the order of the stimuli.

    A caption is lacking in many ways: there is no entry, or it is null, an empty list, an empty text, or blanks. All of them
    are refused alike. Blank texts beside others are left out.

    >>> checked_captions({"a": "a cat", "b": ["a dog", ""]}, ["b", "a"], "captions.json")
    [['a dog'], ['a cat']]

    Parameters
    ----------
    said : dict of str to str, list of str, or None
        Stimulus id to what the file has for it.
    ids : sequence of str, length n_stimuli
    where : str or path
        The file, for messages.

    Returns
    -------
    captions : list of list of str, length n_stimuli
        One caption or more for each stimulus.

    Raises
    ------
    InputError
        A stimulus has no caption, or something that is none.
    """
    captions = {name: _texts(said.get(name), name, where) for name in map(str, ids)}
    lacking = [name for name, texts in captions.items() if not texts]
    if lacking:
        first = lacking[0]
        found = f" ({json.dumps(said[first])[:40]} stands there)" if first in said else ""
        raise InputError(
            f"{where} has captions for {len(captions) - len(lacking):,} of {len(captions):,} stimuli, and none for "
            f"{first}{found}; add what is lacking, or remove all captions."
        )
    return [captions[str(name)] for name in ids]


def _texts(own, name, where):
    texts = [own] if isinstance(own, str) or own is None else own
    if not isinstance(texts, list) or not all(text is None or isinstance(text, str) for text in texts):
        raise InputError(
            f"{where} has {json.dumps(own)[:100]} for stimulus {name}; expected a caption, or a list of captions."
        )
    return [text for text in texts if text and text.strip()]
