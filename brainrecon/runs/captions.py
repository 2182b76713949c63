"""Where the captions of a run come from: the dataset, the user's file, or a choice the CLIP model makes."""

from __future__ import annotations

import json
from pathlib import Path

from brainrecon.datasets.captions import checked_captions
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights import store as checkpoint_store
from weights.whole_files import write_text


def captions(run, split_name, subject=None):
    """Captions of a split's stimuli, in the order of its stimulus ids, or None for the dataset's own.

    `subject` is the run's own unless another one is given.
    A file given by the user comes first, then the dataset's captions. Where it has none, and choices are known, the
    CLIP model picks the choice it finds closest to each picture; what it picked is kept in `captions.json`.
    """
    own = run.subject if subject is None else subject
    data, split = run.config.data, own.splits[split_name]
    if data.captions:
        return _from_file(data.captions, split.stimulus_ids)
    if split.captions is not None:
        return None
    choices = data.caption_choices
    if not choices:
        return None
    path = run.folder / "captions.json"
    known = read_json(path, dict, "remove it, and they are chosen again") if path.exists() else {}
    key = f"{split_name} stimuli" + (f" of {own.name}" if own.name != run.subject.name else "")
    if key not in known:
        from stages.targets.clip import CLIPImageTokens, choose_captions

        checkpoint = run.config.system.clip
        model = CLIPImageTokens.from_pretrained(checkpoint_store.path(checkpoint), device=run.machine.device)
        chosen = choose_captions(model, split.images[:], list(choices))
        known["source"] = f"chosen by {checkpoint} among: {'; '.join(choices)}"
        known[key] = {str(name): [caption] for name, caption in zip(split.stimulus_ids, chosen)}
        write_text(path, json.dumps(known, indent=1) + "\n")
    return [known[key][str(name)] for name in split.stimulus_ids]


def _from_file(path, stimulus_ids):
    if not Path(path).exists():
        raise InputError(f"There is no captions file {path}; name an existing JSON file after --captions.")
    table = read_json(path, dict, "give an object of stimulus id to list of captions")
    return checked_captions(table, stimulus_ids, path)
