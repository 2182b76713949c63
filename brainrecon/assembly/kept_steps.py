"""Steps that a new subject changes nothing of: they are copied from the chain that was fitted on other subjects before."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from brainrecon.assembly.settings import DESCRIPTION
from brainrecon.assembly.step import Step
from weights.partial_files import partial_name
from weights.whole_files import put_in_place

_LAST = "config.json"


def copy_kept_steps(steps: Sequence[Step], pretrained: Path, folder: Path) -> None:
    """Copy the fitted steps that are kept as they are, file by file; a step that is there already is left alone.

    Parameters
    ----------
    steps : sequence of Step
        All of a chain.
    pretrained, folder : Path
        Where the chain was fitted before, and where it is fitted now: each step in the folder of its part.
    """
    parts = {step.part for step in steps if step.is_learned}
    for step in steps:
        source, own = pretrained / step.part, folder / step.part
        if not step.is_learned or step.for_new_subject != "keep" or step.is_fitted(own):
            continue
        # The file that says that a step is whole comes last.
        for path in sorted(_files_of(source, parts - {step.part}), key=lambda one: one.name == _LAST):
            place = own / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, partial := partial_name(place))
            put_in_place(partial, place)


def _files_of(folder, others):
    """Files of one step: those of a step without a part of its own lie beside the folders of the others."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        of_another = any(relative.is_relative_to(one) for one in others if one)
        # What is hidden, and what describes the whole chain, is written anew.
        if path.is_file() and not (of_another or path.name.startswith(".") or str(relative) == DESCRIPTION):
            yield path
