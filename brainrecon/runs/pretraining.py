"""Pretraining of an encoder on responses of any data, in a folder that is then a checkpoint.

pretraining.json    what was asked: data and settings
config.json         of the autoencoder, with its course; written last
model.safetensors   its weights
"""

from __future__ import annotations

import json
from pathlib import Path

from brainrecon.assembly.pretraining import MaskedBrainSettings
from brainrecon.assembly.settings import differences, from_dict, to_dict
from brainrecon.assembly.surface_pretraining import SurfaceAutoencoderSettings
from brainrecon.assembly.training_cost import describe_training
from brainrecon.datasets import kinds
from brainrecon.datasets.cohort import Cohort
from brainrecon.datasets.unpaired import read_unpaired
from brainrecon.runs.config import assign
from brainrecon.runs.estimate import OPERATIONS_WORTH_SAYING, taking
from brainrecon.runs.layout import FIT_LOCK
from stages.checkpoints.pretrained import CONFIG_FILE
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.json_files import read_json
from stages.training.trouble import CannotTrain
from weights import store
from weights.whole_files import locked, write_text

ASKED = "pretraining.json"
WAYS = "--set {name}={value}"
KINDS = {"masked": MaskedBrainSettings, "surface": SurfaceAutoencoderSettings}
"""Kinds of encoders: of voxels in their order, most of them masked; of pictures of the cortex, through a bottleneck."""


def settings_of(assignments, kind="masked"):
    """Settings of a pretraining of a kind from `NAME=VALUE` texts.

    >>> settings_of(["epochs=100", "width=256"]).width
    256
    >>> settings_of([], "surface").bottleneck
    2048
    """
    check("kind", kind, OneOf(*KINDS))
    values: dict = {}
    for assignment in assignments or ():
        assign(values, assignment)
    return from_dict(KINDS[kind], values)


class BrainPretraining:
    """A pretraining on some data.

    >>> import numpy as np
    >>> folder = getfixture("tmp_path")
    >>> np.save(folder / "anna.npy", np.random.default_rng(0).standard_normal((20, 100)))
    >>> small = ["width=32", "depth=1", "n_heads=2", "decoder_width=16", "decoder_depth=1", "decoder_heads=2"]
    >>> settings = settings_of([*small, "epochs=2", "warmup_epochs=1", "batch_size=8"])
    >>> made = BrainPretraining([str(folder)], settings)
    >>> {name: rows.shape for name, rows in made.responses.items()}
    {'anna': (20, 100)}
    >>> row, = made.fit(folder / "encoder")
    >>> row["steps"], sorted(path.name for path in (folder / "encoder").glob("[!.]*"))
    (6, ['config.json', 'model.safetensors', 'pretraining.json'])

    Parameters
    ----------
    data : sequence of str
        Each ``KIND:PATH``, of whose subjects the training split is taken; or the path of a folder, or file, of responses
        (`brainrecon.datasets.unpaired`).
    settings : MaskedBrainSettings or SurfaceAutoencoderSettings
    subjects : sequence of str, optional
        Of each ``KIND:PATH``; all that are there by default.
    roi : str, optional
        Likewise.
    loader : dict, optional
        Options of its loader.
    start : str, optional
        Name of a checkpoint, or its folder, that is gone on with.
    moments : int
        Of time series, that make one response.
    device : str

    Attributes
    ----------
    responses : dict of str to rows of shape (n_responses, n_voxels)
        By subject; none of the stimuli that a subject is tested on takes part, of any subject of a ``KIND:PATH``.
    """

    def __init__(self, data, settings, *, subjects=None, roi=None, loader=None, start=None, moments=10, device="cpu"):
        if settings.transductive:
            raise InputError(
                "transductive is on, but nothing is tested in a pretraining by itself; leave it out: what a method does with "
                "tested responses is among its own settings."
            )
        self.settings, self.device = settings, device
        asked = {"data": list(data), "subjects": subjects and list(subjects), "roi": roi, "options": loader}
        self._asked = {name: value for name, value in asked.items() if value} | {"moments": moments, "start": start}
        self.responses, known = {}, {}
        for source in data:
            paired = Cohort.load(source, subjects, roi, **(loader or {})).apart() if _is_kind(source) else {}
            found = {name: self._of(one) for name, one in paired.items()} or read_unpaired(source, moments)
            for name, rows in found.items():
                # Two studies may call their subjects alike.
                own = name if name not in self.responses else f"{name} of {source}"
                self.responses[own] = rows
                if name in paired:
                    known[own] = paired[name]
        begun = None if start is None else store.path(start)
        self._fitted = settings.pretraining(sum(map(len, self.responses.values())), device, begun, known)

    def _of(self, subject):
        return subject.train.betas if self.settings.trials == "single" else subject.train.patterns

    def told(self):
        """Sentences on what it will take, before it begins."""
        n_responses = sum(map(len, self.responses.values()))
        sizes = sorted({rows.shape[1] for rows in self.responses.values()})
        voxels = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else f"{sizes[0]:,}"
        n = len(self.responses)
        lines = [f"{n_responses:,} responses of {n:,} subject{'s' if n > 1 else ''}, {voxels} voxels."]
        cost = self._fitted.cost(sizes[-1])
        if cost is None:
            return lines
        held = sum(len(rows) * rows.shape[1] * 4 for rows in self.responses.values() if hasattr(rows, "nbytes"))
        recipe = self._fitted.recipe
        lines += describe_training(
            cost,
            recipe,
            (self.settings.about,),
            held,
            self.device,
            lambda name, value: WAYS.format(name=name, value=value),
            "responses",
        )
        if cost.operations is not None and cost.operations >= OPERATIONS_WORTH_SAYING:
            lines.append(
                f"Pretraining on {self.settings.about}: {taking(cost.operations, self.device, recipe.precision)}."
            )
        return lines

    def fit(self, folder, progress=SILENT):
        """Pretrain, or go on with what was interrupted; a pretraining that is whole is left alone.

        Parameters
        ----------
        folder : path
            To make, or to continue.
        progress : callable

        Returns
        -------
        rows : list of dict
            What was learned, for people.

        Raises
        ------
        InputError
            The folder holds another pretraining, or another process works there.
        """
        folder = Path(folder)
        with locked(folder, wait=False, name=FIT_LOCK) as alone:
            if not alone:
                raise InputError(f"Another process pretrains in {folder}; wait for it, or name another --out.")
            self._ask(folder)
            if (folder / CONFIG_FILE).exists():
                return type(self._fitted).from_pretrained(folder).summary()
            try:
                self._fitted.fit(self.responses, folder=folder, progress=progress)
            except CannotTrain as error:
                raise error.respelled(
                    lambda name, value: WAYS.format(name=name, value=value), " and another --out"
                ) from error
            self._fitted.save_pretrained(folder)
            return self._fitted.summary()

    def _ask(self, folder):
        """Write down what is asked, or see that it is what was asked before."""
        kind = {} if isinstance(self.settings, MaskedBrainSettings) else {"kind": "surface"}
        asked = {**self._asked, **kind, "settings": to_dict(self.settings)}
        asked = {name: value for name, value in asked.items() if value is not None}
        path = folder / ASKED
        if not path.exists():
            if others := sorted(one.name for one in folder.glob("[!.]*")):
                raise InputError(f"{folder} holds {others[0]} and no pretraining; name another folder with --out.")
            write_text(path, json.dumps(asked, indent=1) + "\n")
            return
        before = read_json(path, dict, f"delete {folder} and pretrain again")
        if other := differences(before, json.loads(json.dumps(asked))):
            name, old, new = other[0]
            raise InputError(
                f"{folder} holds a pretraining with {name} {old!r}, but {new!r} is asked for; name another folder with --out."
            )


def _is_kind(source):
    """Whether a text is ``KIND:PATH``; a path with a colon in it is none."""
    return source.partition(":")[0] in kinds() and not Path(source).exists()
