"""The step that has a local language model rewrite a decoded caption, each caption once.

A language model can add what no response told. So the step is off by default and reads the decoded caption alone, which stays
among the values of a run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from brainrecon.assembly.step import Step
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, check_all
from stages.ground.errors import InputError
from stages.ground.media import CAPTION
from weights.whole_files import write_text

_ENDS_BYTES = 2**20


@dataclass(frozen=True)
class RefinementSettings:
    """Whether and how decoded captions are rewritten.

    >>> RefinementSettings().model, RefinementSettings(cache="/somewhere").cache_folder.name
    ('', 'somewhere')

    Attributes
    ----------
    model : str
        Folder of a language model of transformers, which follows instructions; empty for captions as they were decoded.
    instruction : str, optional
        What the model is told; `stages.generators.language.instructed_rewriter.INSTRUCTION`, if none is given.
    max_length : int
        Tokens that it writes at most.
    cache : str
        Folder of captions that were rewritten before; by default ``brainrecon/rewritten-captions`` in the user's cache folder.
    """

    model: str = ""
    instruction: str | None = None
    max_length: int = 60
    cache: str = ""

    def __post_init__(self) -> None:
        check_all(self, {"max_length": Number(1, whole=True, example=60)}, where="refinement")
        if self.instruction is not None and not self.instruction.strip():
            raise InputError(
                f"refinement.instruction is {self.instruction!r}; expected some words: leave it out for the toolkit's own."
            )
        for name in ("model", "cache"):
            if given := getattr(self, name):
                # From whatever folder the run is gone on with.
                object.__setattr__(self, name, str(Path(given).expanduser().resolve()))

    @property
    def cache_folder(self) -> Path:
        """Where rewritten captions are kept."""
        if self.cache:
            return Path(self.cache)
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return home / "brainrecon" / "rewritten-captions"


class RefineCaption(Step):
    """Rewrite each caption, or look up how it was rewritten before, for which no model is needed.

    >>> step = RefineCaption("decoded_caption", "caption", RefinementSettings(model="llm"), Machine())
    >>> step.reads, step.gives, step.medium("caption")
    (('decoded_caption',), ('caption',), 'caption')

    What is kept belongs to the name of the model's folder, the instruction, the length and the caption. If the folder is there
    and holds another model than the one that wrote, the caption is rewritten.

    Parameters
    ----------
    reads, gives : str
    settings : RefinementSettings
        With a model.
    machine : brainrecon.assembly.values.Machine
    """

    def __init__(self, reads: str, gives: str, settings: RefinementSettings, machine: Machine) -> None:
        self.reads, self.gives, self.media = (reads,), (gives,), {gives: "caption"}
        self._settings, self._device = settings, machine.device

    def run(self, items, values, *, seed=0):
        (read,), (gives,) = self.reads, self.gives
        return {gives: [self._refined(CAPTION.check(caption)) for caption in values[read]]}

    def told(self, present):
        return {"model": Path(self._settings.model).name, "instruction": self._instruction}

    def free(self):
        vars(self).pop("_rewriter", None)

    @cached_property
    def _rewriter(self):
        from stages.generators.language.instructed_rewriter import InstructedRewriter

        return InstructedRewriter.from_pretrained(self._settings.model, self._device)

    @property
    def _instruction(self) -> str:
        from stages.generators.language.instructed_rewriter import INSTRUCTION

        return self._settings.instruction or INSTRUCTION

    @cached_property
    def _model(self) -> str | None:
        """What tells the model in the folder from another one; None if there is no folder."""
        folder = Path(self._settings.model)
        if not folder.is_dir():
            return None
        files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
        told = hashlib.sha256()
        for path in files:
            told.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                # Weights take many gigabytes: how each of their files begins and ends tells them apart.
                told.update(file.read() if path.suffix == ".json" else file.read(_ENDS_BYTES))
                if path.suffix != ".json":
                    file.seek(max(path.stat().st_size - _ENDS_BYTES, 0))
                    told.update(file.read())
        return told.hexdigest()

    def _refined(self, caption: str) -> str:
        settings = self._settings
        asked = {
            "model": Path(settings.model).name,
            "instruction": self._instruction,
            "max_length": settings.max_length,
            "caption": caption,
        }
        path = settings.cache_folder / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()}.json"
        kept = _kept(path, asked)
        if kept is not None and self._model in (None, kept["fingerprint"]):
            return kept["refined"]
        refined = self._rewriter.rewrite(caption, self._instruction, settings.max_length)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of the model that was there, or the rewriter would have refused.
        write_text(path, json.dumps(asked | {"fingerprint": self._model, "refined": refined}, indent=1) + "\n")
        return refined


def _kept(path: Path, asked: Mapping) -> dict | None:
    """What a file says of a caption; None if it is absent, damaged or of something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        same = all(found[name] == value for name, value in asked.items())
        return found if same and isinstance(found["refined"], str) and found["fingerprint"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
