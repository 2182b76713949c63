"""Visual cues: the step that keeps the tokens of which a classifier is surest, so that a network completes the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainrecon.assembly.step import Step
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

CUES, WEIGHTS = "vq_cues", "vq_weights"
_RULES = {
    "share": Number(0, 1),
    "temperature": OneOf("held out", "none"),
    "choose": OneOf("share", "accuracy"),
    "least_accuracy": Number(0, 1),
    "soft": OneOf(True, False),
}


@dataclass(frozen=True)
class CueSettings:
    """Which tokens are kept. Nothing of it is known; all of these are guesses.

    Attributes
    ----------
    choose : {"share", "accuracy"}
        Keep a share of the places; or as many as are right often enough among training stimuli that are held out, at most.
    share : float
        Of the places, those whose most probable token is most probable: round(share * n_places). 0 keeps none, and what is drawn
        then depends on no response; 1 keeps all, and nothing is completed.
    least_accuracy : float
        Of the kept tokens of held-out training stimuli.
    temperature : {"held out", "none"}
        Divide scores by the temperature that makes tokens of held-out training stimuli most probable; or leave them. It is one
        number for all, so that it changes which places are kept, and the weights, but not the tokens.
    soft : bool
        Let the network read, at a kept place, the mean of all codes by their probabilities, in place of the kept one.
    """

    choose: str = "share"
    share: float = 0.5
    least_accuracy: float = 0.5
    temperature: str = "held out"
    soft: bool = False

    def __post_init__(self):
        check_all(self, _RULES, where="cues")


class SelectCues(Step):
    """Keep the surest tokens of each stimulus.

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        The step before it, with a recipe that holds out training stimuli.
    scores : str
        Of the values it gives, scores of all codes (n_places, n_codes); the most probable of them are given as `target`.
    tokens : brainrecon.assembly.targets.TargetSource
        What cues are predictions of: true cues are all true tokens.
    target : str
        By which the tokens are known in the chain.
    settings : CueSettings
    part : str

    Attributes
    ----------
    temperature, share : float
        Found by `fit`.
    """

    is_learned = True

    def __init__(self, learned, scores, tokens, target, settings, part="cues"):
        self.reads, self.part, self.settings = (scores, target), part, settings
        self.gives = (CUES, WEIGHTS) if settings.soft else (CUES,)
        self.targets, self._target, self._learned = {CUES: tokens}, target, learned
        self.temperature, self.share, self._accuracy = 1.0, settings.share, {}

    @property
    def target_of(self):
        return {CUES: self._target}

    def fit(self, training, workspace):
        from stages.priors.token_cues import temperature_of, token_accuracy
        from stages.training.batches import held_out

        settings, recipe = self.settings, self._learned.decoder.recipe
        split = training.subject.train
        rows = held_out(split.n_stimuli, recipe.validation, recipe.seed)
        if not len(rows) and settings.temperature == "none" and settings.choose == "share":
            return
        if not len(rows):
            raise InputError(
                "No training stimulus is held out, by which cues could be chosen; pass --set decoder.validation=0.1, or --set "
                "cues.temperature=none."
            )
        true = np.asarray(training.features((self._target,))[self._target][:]).astype(int)
        tokens = true[rows]
        given = self._learned.run([], {"patterns": np.asarray(split.patterns[rows], dtype=np.float32)})
        scores = given[self.reads[0]].reshape(*tokens.shape, -1)
        self._accuracy = token_accuracy(scores, tokens, np.delete(true, rows, axis=0))
        if settings.temperature == "held out":
            self.temperature = temperature_of(scores, tokens)
        if settings.choose == "accuracy":
            self._choose(scores, tokens)

    def _choose(self, scores, tokens):
        """The largest share whose kept tokens are right often enough."""
        from stages.priors.token_cues import kept

        n_places = tokens.shape[1]
        self.share = 0.0
        for n in range(1, n_places + 1):
            cues, _ = kept(scores, n / n_places, self.temperature)
            if (cues[cues >= 0] == tokens[cues >= 0]).mean() >= self.settings.least_accuracy:
                self.share = n / n_places

    def run(self, items, values, *, seed=0):
        from stages.priors.masked_tokens import UNKNOWN
        from stages.priors.token_cues import kept, weights

        scores = np.asarray(values[self.reads[0]], dtype=np.float32)
        scores = scores.reshape(len(scores), self._learned.decoder.gives[self._target][0], -1)
        _, is_kept = kept(scores, self.share, self.temperature)
        found = {CUES: np.where(is_kept, np.asarray(values[self._target], dtype=np.float32), np.float32(UNKNOWN))}
        if self.settings.soft:
            found[WEIGHTS] = weights(scores, is_kept, self.temperature).reshape(len(scores), -1)
        return found

    def save(self, folder):
        found = {"class": type(self).__name__, "temperature": self.temperature, "share": self.share}
        found["accuracy"] = self._accuracy
        write_text(Path(folder) / "config.json", json.dumps(found) + "\n")

    def open(self, workspace):
        path = Path(workspace.folder) / "config.json"
        found = read_json(path, dict, f"delete {workspace.folder} and fit again with `brainrecon fit`")
        self.temperature, self.share = float(found["temperature"]), float(found["share"])
        self._accuracy = {str(name): float(value) for name, value in found["accuracy"].items()}

    def summary(self):
        return [{"cues": CUES, "share of the places": self.share, "temperature": self.temperature}]

    def remarks(self):
        """What the classifier is worth on training stimuli that were held out."""
        if not self._accuracy:
            return []
        right, among, frequent = (100 * share for share in self._accuracy.values())
        return [
            f"Tokens of held-out training stimuli: {right:.1f} % right, {among:.1f} % among the five most probable; the most "
            f"frequent token of each place is right in {frequent:.1f} %."
        ]
