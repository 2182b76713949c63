"""Scores: one value per condition, stimulus and metric; means, differences and files derived from them."""

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from brainrecon.evaluation.protocols.protocol import Protocol
from brainrecon.evaluation.scores.category_scores import CategoryScores
from brainrecon.evaluation.scores.embedding_scores import EmbeddingScores
from brainrecon.evaluation.scores.feature_scores import FeatureScores
from brainrecon.evaluation.scores.response_scores import ResponseScores
from brainrecon.evaluation.scores.retrieval_scores import RetrievalScores
from brainrecon.evaluation.scores.table import scores_html
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from stages.ground.table_cells import text_cell
from weights.seals import broken
from weights.whole_files import write_text

# 3 added retrieval and corpus, 4 features; files of 2 are read as they are.
_FORMAT = 4

ROUNDING = 1e-12
"""Means of equal scores differ by less: where all differences are 0, an interval without width lies beside it."""


@dataclass(frozen=True)
class SummaryRow:
    """A mean over stimuli with its interval.

    In `Scores.summary` the mean of a condition's scores; in `Scores.differences` the mean of
    (reference minus condition) over the stimuli that both have. The interval is None if one stimulus
    gives none.
    """

    condition: str
    metric: str
    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None

    @property
    def excludes_zero(self):
        """Whether the interval lies on one side of zero."""
        return self.ci_low is not None and (self.ci_low > ROUNDING or self.ci_high < -ROUNDING)


@dataclass(frozen=True, eq=False)
class ConditionScores:
    """The scores of one condition, per stimulus.

    Attributes
    ----------
    stimulus_ids : tuple of str, length n_stimuli
        In the order of the shown pictures.
    n_samples : tuple of int, length n_stimuli
        How many pictures (of a system that draws none, captions) were scored and averaged for each stimulus.
    values : dict of str to float64 array of shape (n_stimuli,)
        By metric. A metric that this condition cannot have (identification among one stimulus) is absent; NaN if one
        stimulus cannot (identification within a category that no other stimulus has).
    """

    stimulus_ids: tuple
    n_samples: tuple
    values: dict

    def __eq__(self, other):
        return (
            isinstance(other, ConditionScores)
            and (self.stimulus_ids, self.n_samples) == (other.stimulus_ids, other.n_samples)
            and self.values.keys() == other.values.keys()
            and all(np.array_equal(self.values[name], other.values[name], equal_nan=True) for name in self.values)
        )

    def scored(self, metric):
        """(stimulus ids, values) of the stimuli that have a value of a metric: tuple of str, float64 array; or None."""
        if metric not in self.values:
            return None
        rows = np.flatnonzero(np.isfinite(self.values[metric]))
        return tuple(self.stimulus_ids[row] for row in rows), self.values[metric][rows]


@dataclass(frozen=True)
class Scores:
    """Scores as `evaluate` returns them: per stimulus, and means with intervals.

    >>> import numpy as np
    >>> from brainrecon import evaluate
    >>> shown = 255 * np.random.default_rng(0).integers(0, 2, (8, 10, 10, 1), dtype=np.uint8).repeat(3, axis=-1)
    >>> conditions = {"reconstruction": shown, "shuffled_responses": np.roll(shown, 1, axis=0)}
    >>> ids = [f"pattern{number}" for number in range(8)]
    >>> scores: Scores = evaluate(shown, conditions, stimulus_ids=ids, protocol="miyawaki-2008", n_resamples=2000)
    >>> round(scores.mean("reconstruction", "pixcorr").mean, 6)
    1.0
    >>> scores.difference("shuffled_responses", "pixcorr").excludes_zero
    True
    >>> table = scores.to_pandas()
    >>> sorted(set(table["condition"]))
    ['reconstruction', 'shuffled_responses']

    Attributes
    ----------
    protocol : Protocol
        With its digest, `protocol.sha256`.
    reference : str
        The condition that the differences are taken from.
    conditions : dict of str to ConditionScores
        In the order they were given.
    summary : list of SummaryRow
        Mean and interval per condition and metric.
    differences : list of SummaryRow
        Reference minus condition, paired by stimulus; identification recomputed among the common stimuli.
    confidence : float
        Nominal coverage of the intervals.
    n_resamples, seed : int
        Of the bootstrap.
    checkpoints : dict of str to str
        Fingerprint of each checkpoint that judged the pictures; empty for networks given by hand.
    data : dict
        What was tested, in plain values: dataset, subject, roi, stimuli, and what else tells one vintage of the data
        from another, such as the version of the betas and the sessions found.
    embeddings : EmbeddingScores or None
        Scores of the predicted embeddings themselves, with their permutation null.
    retrieval : RetrievalScores or None
        How often stimuli were found in pools of candidates, by the predicted embeddings.
    features : FeatureScores or None
        Correlations of decoded features with the true ones, by target and region.
    categories : CategoryScores or None
        How well categories were identified by each predicted value.
    responses : ResponseScores or None
        Of a system that encodes: how well the responses that it predicts agree with the measured ones.
    corpus : dict of str to (dict of str to (float or None))
        By condition and metric of captions: the score of all captions together, as tables print it.
    ceilings : dict of str to (dict of str to SummaryRow)
        By kind and metric: "shown_pictures", what the shown pictures themselves score through the encoding model;
        "noise_ceiling", what a perfect prediction would score, given the noise of the responses. And what they have to be
        above: "best_constant_picture", what the best picture that is one for all stimuli scores.
    regions : dict of str to list of SummaryRow
        By region: metrics of brain correlation over its voxels alone, a row per metric and condition.
    notes : tuple of str
        What a reader has to know before comparing, for example that the test set is not the protocol's.
    outputs : dict of str to str
        Of a run: digests of what was scored, by which it is known again; empty for pictures from elsewhere.
    """

    protocol: Protocol
    reference: str
    conditions: dict
    summary: list
    differences: list
    confidence: float
    n_resamples: int
    seed: int
    checkpoints: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    embeddings: EmbeddingScores | None = None
    ceilings: dict = field(default_factory=dict)
    regions: dict = field(default_factory=dict)
    notes: tuple = ()
    outputs: dict = field(default_factory=dict)
    retrieval: RetrievalScores | None = None
    corpus: dict = field(default_factory=dict)
    features: FeatureScores | None = None
    categories: CategoryScores | None = None
    responses: ResponseScores | None = None

    @property
    def metrics(self):
        """The protocol's metrics of pictures and captions, dict of str to spec, in the order of the table."""
        return self.protocol.columns

    @property
    def protocol_hash(self):
        """The protocol's digest, 64 hex characters: how was scored, not with which weights."""
        return self.protocol.sha256

    @property
    def identity(self):
        """Digest of the protocol and of the checkpoints that judged, 64 hex characters.

        Equal digests mean scores that compare. Networks given by hand have no fingerprint and are no part of it.
        """
        judged = json.dumps([self.protocol.sha256, sorted(self.checkpoints.items())], separators=(",", ":"))
        return hashlib.sha256(judged.encode()).hexdigest()

    @property
    def vintage(self):
        """`data` in one line; empty if it is not known."""
        shown = {name: _ranges(value) if isinstance(value, list) else value for name, value in self.data.items()}
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())

    def _repr_html_(self):
        return scores_html(self)

    def mean(self, condition, metric):
        """The row of `summary` for a condition and metric, or None if there is none."""
        return _find(self.summary, condition, metric)

    def difference(self, condition, metric):
        """The row of `differences` (reference minus condition), or None if there is none."""
        return _find(self.differences, condition, metric)

    def with_notes(self, *notes):
        """The same scores with more notes behind those that are there."""
        return replace(self, notes=(*self.notes, *notes))

    def to_pandas(self):
        """A table of all scores, for plots and statistics of one's own.

        >>> scores.to_pandas().pivot(index="stimulus_id", columns="condition", values="pixcorr")  # doctest: +SKIP

        Returns
        -------
        pandas.DataFrame
            A row per condition and stimulus, in the order of `to_csv`: condition, stimulus_id, n_samples, then a column per
            metric of the protocol, float64; NaN for what a condition or a stimulus has no score of.
        """
        import pandas

        return pandas.concat(
            [
                pandas.DataFrame(
                    {"condition": name, "stimulus_id": list(one.stimulus_ids), "n_samples": list(one.n_samples)}
                    | {
                        metric: one.values.get(metric, np.full(len(one.stimulus_ids), np.nan))
                        for metric in self.metrics
                    }
                )
                for name, one in self.conditions.items()
            ],
            ignore_index=True,
        )

    def to_csv(self, path):
        """Write a row per condition and stimulus: condition, stimulus_id, n_samples, a column per metric.

        Values have all their digits; a metric that a condition lacks is an empty cell. A name that begins like a formula
        has an apostrophe before it (`stages.ground.table_cells`). The file appears whole or not at all.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["condition", "stimulus_id", "n_samples", *map(text_cell, self.metrics)])
        for name, scores in self.conditions.items():
            for row, stimulus_id in enumerate(scores.stimulus_ids):
                values = [_cell(scores.values[m][row]) if m in scores.values else "" for m in self.metrics]
                writer.writerow([text_cell(name), text_cell(stimulus_id), scores.n_samples[row], *values])
        write_text(path, text.getvalue())

    def to_json(self, path):
        """Write everything: protocol and digest, summary, differences, scores per stimulus.

        The file appears whole or not at all.
        """
        content = {
            "format": _FORMAT,
            "protocol": {
                "name": self.protocol.name,
                "sha256": self.protocol.sha256,
                "content": self.protocol.content,
            },
            "checkpoints": self.checkpoints,
            "data": self.data,
            "outputs": self.outputs,
            "reference": self.reference,
            "confidence": self.confidence,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "summary": [asdict(row) for row in self.summary],
            "differences": [asdict(row) for row in self.differences],
            "ceilings": {
                kind: {name: asdict(row) for name, row in rows.items()} for kind, rows in self.ceilings.items()
            },
            "regions": {name: [asdict(row) for row in rows] for name, rows in self.regions.items()},
            "embeddings": self.embeddings.to_dict() if self.embeddings else None,
            "retrieval": self.retrieval.to_dict() if self.retrieval else None,
            "features": self.features.to_dict() if self.features else None,
            "categories": self.categories.to_dict() if self.categories else None,
            "responses": self.responses.to_dict() if self.responses else None,
            "corpus": self.corpus,
            "notes": list(self.notes),
            "conditions": {
                name: {
                    "n": len(scores.stimulus_ids),
                    "stimulus_ids": list(scores.stimulus_ids),
                    "n_samples": list(scores.n_samples),
                    "values": {
                        metric: [float(v) if np.isfinite(v) else None for v in values]
                        for metric, values in scores.values.items()
                    },
                }
                for name, scores in self.conditions.items()
            },
        }
        write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    @classmethod
    def from_json(cls, path):
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            If the file is not there, is not such a file, or its protocol was edited after scoring.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"There are no scores at {path}; expected a scores .json file. Run evaluate first.")
        if damage := broken(path.parent, [path.name]):
            raise InputError(f"In {path.parent}, {damage}; run evaluate again.")
        content = read_json(path, dict, "run evaluate again")
        try:
            if content.get("format", 0) > _FORMAT:
                raise InputError(
                    f"{path} is of format {content['format']}, written by a newer brainrecon; this one reads up to {_FORMAT}. "
                    "Update brainrecon, or evaluate again."
                )
            protocol = Protocol(content["protocol"]["content"])
            recorded = content["protocol"]["sha256"]
            scores = cls(
                protocol=protocol,
                reference=content["reference"],
                conditions={
                    name: ConditionScores(
                        tuple(one["stimulus_ids"]),
                        tuple(one["n_samples"]),
                        {metric: np.array(values, dtype=np.float64) for metric, values in one["values"].items()},
                    )
                    for name, one in content["conditions"].items()
                },
                summary=[SummaryRow(**row) for row in content["summary"]],
                differences=[SummaryRow(**row) for row in content["differences"]],
                confidence=content["confidence"],
                n_resamples=content["n_resamples"],
                seed=content["seed"],
                checkpoints=content["checkpoints"],
                data=content.get("data", {}),
                outputs=content.get("outputs", {}),
                embeddings=EmbeddingScores.from_dict(found) if (found := content.get("embeddings")) else None,
                retrieval=RetrievalScores.from_dict(found) if (found := content.get("retrieval")) else None,
                features=FeatureScores.from_dict(found) if (found := content.get("features")) else None,
                categories=CategoryScores.from_dict(found) if (found := content.get("categories")) else None,
                responses=ResponseScores.from_dict(found) if (found := content.get("responses")) else None,
                corpus=content.get("corpus", {}),
                ceilings={
                    kind: {name: SummaryRow(**row) for name, row in rows.items()}
                    for kind, rows in content.get("ceilings", {}).items()
                },
                regions={
                    name: [SummaryRow(**row) for row in rows] for name, rows in content.get("regions", {}).items()
                },
                notes=tuple(content.get("notes", ())),
            )
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is not a file of scores ({type(error).__name__}: {error}); expected what evaluate "
                "writes. Run evaluate again."
            ) from error
        if recorded != protocol.sha256:
            raise InputError(
                f"{path} was scored under protocol {recorded[:12]} but holds the text of "
                f"{protocol.sha256[:12]}; expected the two to agree. Run evaluate again."
            )
        return scores


def _cell(value):
    """A value with all its digits; an empty cell for NaN."""
    return repr(float(value)) if np.isfinite(value) else ""


def _find(rows, condition, metric):
    return next((row for row in rows if row.condition == condition and row.metric == metric), None)


def _ranges(numbers):
    """Whole numbers in short: "1-37, 40"; anything else as a list of texts."""
    if not all(isinstance(number, int) for number in numbers):
        return " ".join(map(str, numbers))
    parts = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " and ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
