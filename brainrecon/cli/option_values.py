"""What the values of options stand for: a configuration, sizes, shares, names."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


def run_config(
    method,
    data,
    config=None,
    assignments=None,
    *,
    subject=None,
    roi=None,
    seed=None,
    samples=None,
    folds=None,
    split=None,
    beside=None,
    loader=None,
    captions=None,
    caption_choices=None,
    weights=None,
    mask=None,
    decoder=None,
    subjects=None,
    new_subject=None,
    sessions=None,
    hours=None,
    training_stimuli=None,
    pretrained=None,
):
    """Resolve a TOML file, `--set` assignments and options into a RunConfig; later ones win."""
    from brainrecon.runs.config import RunConfig, assign, read_toml, with_settings
    from brainrecon.runs.released_pretraining import is_checkpoint

    values = with_settings(copy.deepcopy(read_toml(config)) if config else {})
    for assignment in assignments or ():
        name = assignment.lstrip().partition("=")[0].partition(".")[0].strip()
        assign(values if name in (*values, "data", "splits") else values["settings"], assignment)
    if not isinstance(values.setdefault("data", {}), dict):
        raise InputError(f"data is {values['data']!r}; expected a table: write data.source = 'KIND:PATH'.")
    if None not in (subject, new_subject):
        raise InputError(f"Both --subject {subject} and --new-subject {new_subject} are given; leave one out.")
    options = {
        "source": data,
        "subject": subject if new_subject is None else new_subject,
        "subjects": parse_names(subjects),
        "roi": roi,
        "stimuli": training_stimuli,
        "folds": parse_folds(folds),
        "split": parse_split(split),
        "beside": parse_names(beside),
        "captions": str(captions.resolve()) if captions else None,
        "caption_choices": [choice.strip() for choice in caption_choices.split("|")] if caption_choices else None,
    }
    values["data"] |= {name: value for name, value in options.items() if value is not None}
    if more := loader_options(loader, mask):
        values["data"]["options"] = values["data"].get("options", {}) | more
    top = {"method": method, "seed": seed, "samples": samples, "decoder_from": decoder or None}
    top["pretrained"] = pretrained
    values |= {name: value for name, value in top.items() if value is not None}
    if "method" not in values or "source" not in values["data"]:
        raise InputError(
            "A method and data are needed; type for example `brainrecon run brain-diffuser nsd:DIR --out RUN`."
        )
    if (count := parse_sessions(sessions, hours, values["data"]["source"])) is not None:
        values["data"]["sessions"] = count
    config = RunConfig.from_dict(values, weights)
    if new_subject is not None and not (config.data.is_of_new_subject or is_checkpoint(config.pretrained)):
        known = ", ".join(config.data.subjects or ()) or "nobody"
        raise InputError(
            f"{new_subject} is to be new but --subjects names {known}; name the others that come before, or pass --subject "
            f"{new_subject} to learn from it alone."
        )
    return config


def loader_options(assignments, mask=None):
    """Dictionary of `--option NAME=VALUE`, values in TOML's notation or bare words, and of `--mask`, its path made absolute."""
    from brainrecon.runs.config import assign, with_absolute_mask

    values = {}
    for assignment in assignments or ():
        assign(values, assignment, "--option")
    return with_absolute_mask(values | ({"mask": str(mask)} if mask else {}))


def parse_split(split):
    """A split's rule from an option's value, the path of a file of ids made absolute; None if it is not given."""
    return f"ids:{Path(split[4:]).resolve()}" if split and split.startswith("ids:") and split[4:] else split


def with_beside(config, beside):
    """A run's configuration with what ``--beside`` names tested beside; as it is if it is not given."""
    from dataclasses import replace

    if beside is None:
        return config
    named = tuple(dict.fromkeys((*(config.data.beside or ()), *parse_names(beside))))
    return replace(config, data=replace(config.data, beside=named))


def torch_device(name):
    """Torch device for an option's value, see `stages.ground.devices.chosen_device`."""
    from stages.ground.devices import chosen_device

    return chosen_device(name)


def parse_memory(text):
    """Bytes of a size such as "4GB" or "500 MB", or None."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(MB|GB)\s*", text, re.IGNORECASE)
    if not found or not float(found[1]):
        raise InputError(f"--memory got {text!r}; expected a number with MB or GB, for example --memory 4GB.")
    return float(found[1]) * {"MB": 1e6, "GB": 1e9}[found[2].upper()]


def parse_shard(text):
    """(i, n) of "i/n"; this process's own part under `accelerate launch`, else everything, if it is not given."""
    if text is None:
        from accelerate import PartialState

        state = PartialState()
        return state.process_index, state.num_processes
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise InputError(f"--shard got {text!r}; expected I/N with I from 0 to N-1, for example --shard 0/4.")
    return int(part), int(parts)


def parse_conditions(text, default="none"):
    """Names of controls from an option's value."""
    from brainrecon.assembly.condition import CONTROLS, ESSENTIAL_CONTROLS

    text = text if text is not None else default
    groups = {"none": (), "essential": ESSENTIAL_CONTROLS, "all": CONTROLS}
    if text in groups:
        return groups[text]
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in CONTROLS]
    if unknown:
        raise InputError(
            f"There is no control {unknown[0]!r}; expected 'all', 'essential', 'none', or some of {', '.join(CONTROLS)}"
            f"{did_you_mean(unknown[0], CONTROLS)}."
        )
    return names


def parse_sessions(sessions, hours, source):
    """A number of sessions from ``--sessions`` or ``--hours``; None if neither is given."""
    if hours is None:
        return sessions
    if sessions is not None:
        raise InputError(f"Both --sessions {sessions} and --hours {hours} are given; leave one out.")
    from brainrecon.datasets import dataset_of, parse_source

    kind, _ = parse_source(source)
    length = dataset_of(kind).description.hours_of_session
    if not length:
        raise InputError(
            f"--hours {hours} is asked for but data of kind {kind} do not say how long a session is; pass --sessions N."
        )
    if (count := hours / length) < 1 or count != int(count):
        raise InputError(
            f"--hours {hours} is {count:g} sessions of {length:g} hours; expected whole sessions: pass --hours {length:g}."
        )
    return int(count)


def parse_folds(text):
    """Number of folds from an option's value, or the word as it is; None if it is not given."""
    return int(text) if text is not None and re.fullmatch(r"-?\d+", str(text)) else text


def parse_names(text):
    """List of names from a comma-separated option, or None."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(
            "An option that takes names got none; write them separated by commas, or leave the option out."
        )
    return names
