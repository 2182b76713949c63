"""What a method's authors released of the subjects that come before a new one, written as if it had been fitted here.

``pretrained`` of a configuration may name a checkpoint in place of a run. Nobody has to have those subjects' data.
"""

from __future__ import annotations

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.settings import DESCRIPTION
from stages.ground.errors import InputError
from weights import store
from weights.seals import seal


def is_checkpoint(pretrained):
    """Whether a configuration's ``pretrained`` names a checkpoint, and not a run.

    Parameters
    ----------
    pretrained : str or None
    """
    return pretrained is not None and pretrained in store.checkpoints()


def check_checkpoint(name, system):
    """Refuse a checkpoint that is not of several subjects of a method.

    Parameters
    ----------
    name : str
        Of the manifest.
    system : brainrecon.assembly.system.System

    Raises
    ------
    InputError
    """

    def is_of_several(entry):
        return entry.parts and system.name in entry.needed_by and entry.subject is None

    if not is_of_several(store.entry(name)):
        known = [entry.name for entry in store.checkpoints().values() if is_of_several(entry)]
        there = f"expected {', '.join(known)}" if known else "its authors released none that is known here"
        raise InputError(
            f"{name} holds nothing that {system.name} learned from several subjects; {there}: name one, or the folder of a run, "
            "with --pretrained."
        )


def written(run, progress):
    """Folder of the steps that a run's ``pretrained`` checkpoint holds, written now if it is not there.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    progress : callable

    Returns
    -------
    pathlib.Path
    """
    name, folder = run.config.pretrained, run.layout.pretraining / "decoder"
    if (folder / DESCRIPTION).exists():
        return folder
    entry, chain = store.entry(name), Chain(run.config.system, run.machine)
    for step in chain.steps:
        if step.is_learned and step.part in entry.parts:
            progress(f"reading {name}", 0, 1)
            step.take(name, None)
            step.save(folder / step.part)
            progress(f"reading {name}", 1, 1)
    chain.describe(folder)
    seal(folder)
    return folder
