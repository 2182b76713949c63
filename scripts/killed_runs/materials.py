"""What pieces of work begin with: simulated data, features, fitted and drawn runs, checkpoints; each made once, if needed."""

import os
import shlex
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from small_systems import SMALL, pull_random

from brainrecon.cli.main import run_command
from killed_runs.processes import in_child
from killed_runs.server import serve

COHORT = "--sessions 2 --trials-per-session 24 --shared 5 --voxels 160"
RECORDING = "--study miyawaki --voxels 200 --random-patterns 40 --figures 5 --repeats 2"
# A system -> its settings, beside those of `small_systems`.
MORE = {
    "icgan2022": "--set inversion.noise_steps=2 --set inversion.dense_steps=2",
    "mindeye2023": "--set candidates=2",
    "shen2019-gan": "--set channels=8 --set training.batch_size=8 --set training.iterations=30 --set training.validate_every=10",
}


def typed(line):
    """Type a command line; its exit code."""
    return run_command(shlex.split(line))


def settings(system):
    """Options that make a system small."""
    small = SMALL[system]
    words = [*(("--weights", small.weights) if small.weights else ()), *(f"--set {one}" for one in small.settings)]
    return " ".join([*words, MORE.get(system, "")])


class Materials:
    """What was made, in a folder.

    >>> materials = Materials(folder)  # doctest: +SKIP
    >>> materials.need("fitted noise")  # doctest: +SKIP

    Parameters
    ----------
    folder : path
        An empty one.
    """

    def __init__(self, folder):
        self.folder, self._made = Path(folder), set()
        for name in ("notes", "weights"):
            (self.folder / name).mkdir(parents=True)
        os.environ["BRAINRECON_WEIGHTS"] = str(self.folder / "weights")

    @property
    def words(self):
        """What stands for names in braces in command lines."""
        data = {"nsd": f"nsd:{self.folder / 'cohort'}", "miyawaki": f"miyawaki:{self.folder / 'recording'}"}
        return data | {"here": str(self.folder)}

    def need(self, name):
        """Make something, unless it was made: "cohort", "fitted SYSTEM", ..."""
        if name in self._made:
            return
        self._made.add(name)
        if name == "server":
            serve(self.folder / "served.toml")
            return
        verb, _, of = name.partition(" ")
        for before in _BEFORE.get(verb, lambda of: ())(of):
            self.need(before)
        ended = in_child(partial(_MAKE[verb], self, of), self.folder, self.folder / "notes")
        if ended.code:
            raise SystemExit(f"{name} could not be made: {ended.said}")

    def typed(self, line):
        """Type a line with words in braces; its exit code."""
        return typed(line.format_map(self.words))


def data_of(system):
    """Word of the data that a system is fitted to."""
    return "miyawaki" if system == "miyawaki2008" else "nsd"


def needs_of(system):
    """What has to be made before a system is fitted."""
    data = {"nsd": "cohort", "miyawaki": "recording"}[data_of(system)]
    return (data, *((f"checkpoints {system}",) if SMALL[system].checkpoints else ()))


def _pull(materials, of):
    pull_random(of, materials.folder / "origins" / of)
    return 0


def _published(materials, of):
    import published_checkpoints
    import random_checkpoints

    published_checkpoints.write_published(of, materials.folder / of, random_checkpoints.EMBED_DIM)
    return 0


def _patterns(materials, of):
    import brainrecon

    patterns = brainrecon.load(materials.words["nsd"]).test.patterns
    np.savez(materials.folder / "patterns.npz", patterns=np.asarray(patterns), stimulus_ids=np.array(list("abcde")))
    return 0


def _imagined(materials, of):
    from kamitani_files import God

    God(materials.folder / "god").draw_pictures()
    return 0


def _fitted(materials, of):
    there = f"fitted/{of}"
    return materials.typed(f"fit {of} {{{data_of(of)}}} {settings(of)} --out {there}/run --features {there}/features")


def _drawn(materials, of):
    options = "--controls all --control-stimuli 2 --reproducible"
    return _further(materials, of, "fitted", "drawn", "reconstruct", options)


def _scored(materials, of):
    return _further(materials, of, "drawn", "scored", "evaluate", "")


def _further(materials, of, before, after, verb, options):
    """Do one more thing with a copy, so that what others began with stays as it was."""
    shutil.copytree(materials.folder / before / of, materials.folder / after / of)
    return materials.typed(f"{verb} {after}/{of}/run {options} --features {after}/{of}/features")


# What is made, by the first word of its name, and how; `of` is the rest.
_MAKE = {
    "cohort": lambda materials, of: materials.typed(f"simulate cohort {COHORT}"),
    "subjects": lambda materials, of: materials.typed(f"simulate subjects {COHORT} --subjects 2"),
    "recording": lambda materials, of: materials.typed(f"simulate recording {RECORDING}"),
    "imagined": _imagined,
    "checkpoints": _pull,
    "published": _published,
    "patterns": _patterns,
    "fitted": _fitted,
    "drawn": _drawn,
    "scored": _scored,
}
# What has to be there before.
_BEFORE = {
    "patterns": lambda of: ("cohort",),
    "fitted": needs_of,
    "drawn": lambda of: (f"fitted {of}",),
    "scored": lambda of: (f"drawn {of}",),
}
