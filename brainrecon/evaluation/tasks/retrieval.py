"""The task of retrieval: find the picture that a response belongs to among many, and the response to a picture among many.

Two questions are asked of the same matrix of similarities, and they have different answers:

    brain_to_picture   Given a prediction from a response, which of the pictures was shown? Searched among pictures.
    picture_to_brain   Given a picture, which of the predictions comes from the response to it? Searched among predictions.

MindEye's code (Scotti et al. 2023) and what is copied from it call the second one "forward" and print it as image retrieval:
its function for similarities returns one row per picture and a column per prediction, and the best column of each row is
taken.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from brainrecon.evaluation.metrics.identification import sampled_pools
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.retrieval_scores import RetrievalRow, RetrievalScores
from brainrecon.evaluation.statistics.bootstrap import N_RESAMPLES
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.tasks.scored_task import ScoredTask, check_reference
from brainrecon.evaluation.tasks.similarities import check_stimuli, in_order, similarities
from stages.ground.progress import SILENT


@dataclass(frozen=True)
class Retrieval(ScoredTask):
    """Look for stimuli in pools of candidates, by the embeddings that the reference condition predicts.

    >>> outputs = {"reconstruction": Outputs(ids, {"clip_image": predicted})}  # doctest: +SKIP
    >>> shown = Shown(ids, embeddings={"clip_image": true})  # doctest: +SKIP
    >>> Retrieval().score(outputs, shown, "mindeye-2023-pools").retrieval.rows  # doctest: +SKIP
    """

    name: ClassVar = "retrieval"
    reads: ClassVar = ("embeddings",)

    def asked_by(self, protocol):
        """Whether a protocol has a table ``[retrieval.NAME]``."""
        return bool(protocol.retrieval)

    def score(self, outputs, shown, protocol, *, device="cpu", progress=SILENT):
        """Score predicted embeddings by the protocol's ``[retrieval.NAME]``; see `score_retrieval`."""
        protocol = load_protocol(protocol)
        check_reference(self.reference, outputs)
        predicted = in_order(outputs[self.reference], shown)
        found = score_retrieval(protocol.retrieval, shown.embeddings, predicted, shown.stimulus_ids, **self.options)
        return self.scores(protocol, retrieval=found)


def score_retrieval(specs, true, predicted, stimulus_ids, *, seed=0, n_resamples=N_RESAMPLES):
    """Look for each stimulus in pools of candidates.

    A candidate is found if fewer than `top_k` others of the pool are as similar to what is given as it is, or more: ties
    fail. With ``pool = "all"`` every stimulus is looked for once, among all. Otherwise pools of one size are drawn without
    replacement; every retrieval with the same seed and size sees the same pools. If there are fewer stimuli than a pool
    holds, all of them are taken, which is easier: `RetrievalRow.chance` follows.

    >>> spec = RetrievalSpec("one", "clip_image", "brain_to_picture", pool=None)  # doctest: +SKIP
    >>> score_retrieval({"one": spec}, {"clip_image": true}, {"clip_image": predicted}, ids).rows[0].mean  # doctest: +SKIP

    Parameters
    ----------
    specs : mapping of str to RetrievalSpec
        `Protocol.retrieval`. Those whose target is not in both `true` and `predicted` are left out.
    true, predicted : mapping of str to array or FeatureTable of shape (n_stimuli, n_targets)
        By target, of the shown stimuli and as decoded, rows in the order of `stimulus_ids`.
    stimulus_ids : sequence of str, length n_stimuli
        Each once.
    seed, n_resamples : int
        Of the bootstrap over stimuli. Pools have the seeds of their specs.

    Returns
    -------
    scores : RetrievalScores
        Without rows if there is only one stimulus. A stimulus whose prediction is constant is never found.

    Raises
    ------
    InputError
        If shapes or the order of stimuli do not match, or a value is not finite.
    """
    stimulus_ids = tuple(str(one) for one in stimulus_ids)
    check_stimuli(stimulus_ids)
    if len(stimulus_ids) < 2:
        return RetrievalScores(stimulus_ids, {})
    found = {}
    for target in dict.fromkeys(spec.target for spec in specs.values()):
        if target not in true or target not in predicted:
            continue
        own = {name: spec for name, spec in specs.items() if spec.target == target}
        kinds = [spec.similarity for spec in own.values()]
        matrices = similarities(target, true[target], predicted[target], stimulus_ids, kinds)
        for name, spec in own.items():
            found[name] = _score(spec, matrices[spec.similarity], {"seed": seed, "n_resamples": n_resamples})
    names = [name for name in specs if name in found]
    return RetrievalScores(stimulus_ids, {name: found[name][0] for name in names}, [found[name][1] for name in names])


def _score(spec, similarity, options):
    """Scores per stimulus, and the row of one retrieval, from the similarities of true values (rows) and predictions."""
    # Columns look for their own row: predictions for pictures as it is, pictures for predictions transposed.
    similarity = similarity.T if spec.direction == "picture_to_brain" else similarity
    n_stimuli = len(similarity)
    n_candidates = n_stimuli if spec.pool is None else min(spec.pool, n_stimuli)
    # Of no more candidates than count as found, each is found unless its similarity is undefined.
    n_way = max(n_candidates, spec.top_k + 1)
    found, drawn = sampled_pools(similarity, n_way, spec.repeats, spec.seed, spec.top_k)
    values = np.divide(found, drawn, out=np.full(n_stimuli, np.nan), where=drawn > 0)
    estimate = bootstrap_mean(values[drawn > 0], **options)
    row = RetrievalRow(
        metric=spec.name,
        target=spec.target,
        direction=spec.direction,
        n=estimate.n,
        n_candidates=n_candidates,
        repeats=spec.repeats,
        top_k=spec.top_k,
        mean=estimate.mean,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        mean_over_pools=float(found.sum() / drawn.sum()),
        chance=min(1.0, spec.top_k / n_candidates),
    )
    return values, row
