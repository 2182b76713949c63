"""The step from patterns to targets whose units are scored besides: which of them responses predict at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from brainrecon.assembly.decode import Decode
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.reading.wall import reading
from weights.whole_files import whole_file

INPUTS = ("training", "transductive")


@dataclass(frozen=True)
class ScoringSettings:
    """How units are scored; see `stages.decoders.unit_scores`.

    Attributes
    ----------
    way : {"least squares", "ridge"}
        How units are predicted.
    alpha : float
        Penalty of ridge.
    folds : int
        Blocks of neighbouring stimuli, each held out once.
    """

    way: str = "least squares"
    alpha: float = 1000.0
    folds: int = 5

    def __post_init__(self):
        rules = {
            "way": OneOf("least squares", "ridge"),
            "alpha": Number(0, above=True, example=1000.0),
            "folds": Number(2, whole=True, example=5),
        }
        check_all(self, rules, where="scoring")


class DecodeScoredUnits(Decode):
    """Decode targets, and score the units of some of them by cross-validation on the training patterns.

    >>> from brainrecon.assembly.decoder_settings import DecoderSettings
    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Machine
    >>> class Layer:
    ...     shape, n_targets = (50, 768), 38400
    >>> layers = {"clip_block_1": TargetSource(Layer, checkpoints=())}
    >>> step = DecodeScoredUnits(layers, DecoderSettings(alpha=1000.0), Machine(), scored=("clip_block_1",))
    >>> step.gives, step.scored, step.scores
    (('clip_block_1',), ('clip_block_1',), {})

    Parameters
    ----------
    targets, settings, machine, part, roi, decoding
        As `brainrecon.assembly.decode.Decode` takes them.
    scored : sequence of str
        Of the targets.
    scoring : ScoringSettings, optional
    inputs : {"training", "transductive"}
        Whether patterns that are decoded together are first given the mean and the standard deviation of the training patterns,
        voxel by voxel, instead of their own.

    Attributes
    ----------
    scores : dict of str to float32 array of shape (n_units,)
        Empty before it is fitted.
    """

    def __init__(
        self,
        targets,
        settings,
        machine,
        part="",
        roi="all",
        decoding=None,
        scored=(),
        scoring=None,
        inputs="training",
    ):
        super().__init__(targets, settings, machine, part, roi=roi, decoding=decoding)
        self.scored, self.scoring, self.inputs = tuple(scored), scoring or ScoringSettings(), inputs
        self.scores, self._spread, self._device = {}, None, machine.device

    @property
    def no_mean_response(self):
        """One pattern alone has no spread of its own."""
        if self.inputs == "transductive":
            return "transductive inputs have no spread in one response"
        return super().no_mean_response

    # Learning

    def fit(self, training, workspace):
        subject = training.subject
        if self.scored or self.inputs == "transductive":
            voxels = self._chosen_voxels(subject.train, training.features(self.gives), self._region(subject))
            patterns = subject.train.patterns if voxels is None else subject.train.patterns[:, voxels]
            patterns = np.asarray(patterns, dtype=np.float32)
            self._spread = {"mean": patterns.mean(axis=0), "std": patterns.std(axis=0)}
            if self.scored:
                self.scores = self._score(patterns, training.features(self.scored), workspace)
            if workspace.folder is not None:
                self._save_own(workspace.folder)
        super().fit(training, workspace)

    def _score(self, patterns, features, workspace):
        """Scores of each target, those read that an interrupted fit has left."""
        from stages.decoders.unit_scores import unit_scores

        tables = {name: str(getattr(values, "folder", values.shape)) for name, values in features.items()}
        digest = hashlib.sha256(json.dumps([asdict(self.scoring), tables], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(patterns).data)
        identity = digest.hexdigest()
        if workspace.folder is not None and (known := _read(self._file(workspace.folder), identity)):
            return {name: known[name] for name in self.scored}
        found = unit_scores(
            patterns, features, **asdict(self.scoring), device=self._device, progress=workspace.progress
        )
        self._identity = identity
        return found

    @staticmethod
    def _file(folder):
        return Path(folder) / "units.safetensors"

    def _save_own(self, folder):
        own = self.scores | {f"voxels {name}": values for name, values in (self._spread or {}).items()}
        if own:
            with whole_file(self._file(folder)) as partial:
                save_file(own, partial, metadata={"identity": self._identity})

    _identity = ""

    def save(self, folder):
        super().save(folder)
        self._save_own(folder)

    def open(self, workspace):
        super().open(workspace)
        if self.scored or self.inputs == "transductive":
            path = self._file(workspace.folder)
            with reading(path, "scores of units", f"delete {workspace.folder} and fit again with `brainrecon fit`"):
                with safe_open(path, framework="numpy") as file:
                    self._identity = (file.metadata() or {}).get("identity", "")
                stored = load_file(path)
                self.scores = {name: stored[name] for name in self.scored}
                self._spread = {name: stored[f"voxels {name}"] for name in ("mean", "std")}

    def remarks(self):
        told = [
            f"{name}: held-out |r| of its units is {np.median(scores):.3f} in the median."
            for name, scores in self.scores.items()
        ]
        return [*super().remarks(), *told]

    # Running

    def run(self, items, values, *, seed=0):
        return super().run(items, self._rescaled(values), seed=seed)

    def predict_into(self, path, names, values, *more, **options):
        super().predict_into(path, names, self._rescaled(values), *more, **options)

    def _rescaled(self, values):
        if self.inputs != "transductive":
            return values
        (read,) = self.reads
        patterns = np.array(values[read], dtype=np.float32)
        own = self.patterns(patterns)
        spread = own.std(axis=0)
        own = (own - own.mean(axis=0)) / np.where(spread > 0, spread, 1) * self._spread["std"] + self._spread["mean"]
        patterns[:, slice(None) if self.voxels is None else self.voxels] = own
        return {**values, read: patterns}


def _read(path, identity):
    """What an interrupted fit has left under this identity; None if that is not there, or another."""
    if not path.exists():
        return None
    with safe_open(path, framework="numpy") as file:
        if (file.metadata() or {}).get("identity") != identity:
            return None
    return load_file(path)
