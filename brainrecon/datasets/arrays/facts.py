"""What `subject.json` says of a folder of arrays, and the files of the layout that are absent."""

import json

from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading import json_files
from stages.ground.reading.numpy_files import read_npy

UNFINISHED = "subject.partial.json"
"""Stands in a folder for as long as `brainrecon.datasets.arrays.writing` writes it."""


def _is_text(value):
    return isinstance(value, str)


def _are_texts(value):
    return isinstance(value, list) and all(map(_is_text, value))


_KINDS_OF_FACTS = {
    **dict.fromkeys(("name", "dataset", "roi", "pictures", "fingerprint", "content"), (_is_text, "a text")),
    **dict.fromkeys(("notes", "caption_choices"), (_are_texts, "a list of texts")),
    "simulated": (lambda value: isinstance(value, bool), "true or false"),
    "details": (lambda value: isinstance(value, dict), "an object, {...}"),
}
"""Entry of `subject.json` -> what tells whether its value is one, and how to say it."""


def read_facts(path):
    """The entries of `subject.json`, none without the file; an InputError where the folder is not of this layout at all."""
    if not (path / "subject.json").exists():
        if (path / UNFINISHED).exists():
            raise InputError(
                f"{path} is an unfinished writing of arrays; run the same `brainrecon data prepare` again, which goes on with it."
            )
        if not visible(path, "*/betas.npy") and not visible(path, "*/patterns.npy"):
            raise _of_another_layout(path)
        return {}
    facts = read_json(path / "subject.json")
    if not isinstance(facts, dict):
        raise InputError(f"{path / 'subject.json'} holds a {type(facts).__name__}; expected an object, {{}} at least.")
    for name, (is_one, expected) in _KINDS_OF_FACTS.items():
        if name in facts and not is_one(facts[name]):
            raise InputError(
                f"{path / 'subject.json'} has {json.dumps(facts[name])[:100]} as {name}; expected {expected}, or no such entry."
            )
    return facts


def read_array(path, mapped=False):
    """An array of a .npy file, in memory or mapped read-only; an InputError when it is absent or no plain array."""
    if not path.exists():
        raise absent_file(path)
    return read_npy(path, mapped)


def read_json(path):
    """What a JSON file holds; an InputError when it is absent or no JSON."""
    if not path.exists():
        raise absent_file(path)
    return json_files.read_json(path)


def _of_another_layout(path):
    names = [f"{one.name}/" if one.is_dir() else one.name for one in visible(path)]
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return InputError(
        f"{path} holds {', '.join(names[:5]) or 'nothing'}{more}; expected train/ and test/, each with betas.npy and trials.csv, "
        "or sub-<label>/ of BIDS: `brainrecon data template FOLDER` writes an example and explains each form."
    )


def absent_file(path):
    """The error for a file of the layout that is missing."""
    return InputError(f"{path} is missing; `brainrecon data template FOLDER` writes an example of the layout.")
