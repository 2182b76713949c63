"""The task of captioning: the captions of shown stimuli and those that were read from responses in, scores out.

Every caption is scored for itself, so that conditions can be compared stimulus by stimulus; beside these stand the scores
that tables print, which are computed of all captions together (`Scores.corpus`).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from brainrecon.evaluation.metrics.caption_words import tokenised
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.tasks.comparison import Comparison, summarise
from brainrecon.evaluation.tasks.scored_task import ScoredTask, check_reference, rows_of
from brainrecon.evaluation.tasks.task import Outputs
from stages.ground.errors import InputError
from stages.ground.progress import SILENT


@dataclass(frozen=True)
class Captioning(ScoredTask):
    """Compare predicted captions with those that people gave the stimuli.

    >>> shown = Shown(["a", "b"], captions=[["a dog runs"], ["two people on a beach"]])  # doctest: +SKIP
    >>> outputs = {"reconstruction": Outputs(["a", "b"], ["a dog", "people on a beach"])}  # doctest: +SKIP
    >>> Captioning().score(outputs, shown, "brainhub-2024").corpus["reconstruction"]["bleu_4"]  # doctest: +SKIP
    """

    name: ClassVar = "captioning"
    reads: ClassVar = ("caption",)

    def asked_by(self, protocol):
        """Whether a protocol has a table ``[captions.NAME]``."""
        return bool(protocol.captions)

    def score(self, outputs, shown, protocol, *, device="cpu", progress=SILENT):
        """Score the captions of each condition by the protocol's ``[captions.NAME]``.

        Parameters
        ----------
        outputs : mapping of str to Outputs
            Captions by condition, list of str. A stimulus may have several; their scores are averaged.
        shown : Shown
            With `captions`, at least one with a word for each stimulus that has a predicted one.
        protocol : str or Protocol
        device : str
            Not used: the metrics of captions need no network.
        progress : callable, optional
            `progress(label, done, total)`.

        Returns
        -------
        scores : Scores
            With `corpus`: by condition and metric, the score of all its captions together.

        Raises
        ------
        InputError
            If a condition holds an unknown stimulus, numbers do not match, the reference is missing, a stimulus has no true
            caption, or pycocoevalcap or Java is not installed.
        """
        protocol = load_protocol(protocol)
        check_reference(self.reference, outputs)
        if shown.captions is None or len(shown.captions) != len(shown.stimulus_ids):
            n_captions = 0 if shown.captions is None else len(shown.captions)
            raise InputError(
                f"There are true captions of {n_captions} stimuli for {len(shown.stimulus_ids)} that were shown; expected a "
                "list for each. Give --captions FILE, or score under a protocol without captions."
            )
        rows, specs = rows_of(outputs, shown, "captions"), list(protocol.captions.values())
        captions = {name: list(values) for name, (_, values) in outputs.items()}
        words = {kind: _words(kind, shown.captions, captions) for kind in dict.fromkeys(map(_kind, specs))}
        compared, corpus = {}, {}
        for name in outputs:
            true, predicted = {}, {}
            for kind, (references, candidates) in words.items():
                true[kind], predicted[kind] = references, candidates[name]
            compared[name] = CaptionComparison(rows[name], true, predicted)
            corpus[name] = {}
            for spec in specs:
                corpus[name][spec.name] = compared[name].of_corpus(spec)
                done = len(corpus) * len(specs) - len(specs) + len(corpus[name])
                progress("scoring captions", done, len(outputs) * len(specs))
        ids = [str(one) for one in shown.stimulus_ids]
        return self.scores(protocol, **summarise(compared, specs, self.reference, ids, self.options), corpus=corpus)


class CaptionComparison(Comparison):
    """One condition's captions beside the true ones.

    Parameters
    ----------
    targets : integer array of shape (n_captions,)
        The row of the shown stimuli that each caption is for.
    true : dict of str to (list of list of str, length n_shown)
        By tokenisation, the captions of each shown stimulus.
    predicted : dict of str to (list of str, length n_captions)
        By tokenisation.
    """

    def __init__(self, targets, true, predicted):
        super().__init__(targets)
        self._true, self._predicted, self._scored = true, predicted, {}

    def per_output(self, spec, rows, chosen):
        """Scores of the captions `chosen`. How much a word weighs in CIDEr depends on the others: there anew for each choice."""
        if not spec.metric.weighs_by_set:
            if spec.name not in self._scored:
                self._scored[spec.name] = self._call(spec, spec.metric.function, range(len(self._targets)))
            return self._scored[spec.name][chosen]
        return self._call(spec, spec.metric.function, chosen)

    def of_corpus(self, spec):
        """The score of all captions together: the metric's own, or the mean over stimuli; None if there is none."""
        if spec.metric.corpus is not None:
            return float(self._call(spec, spec.metric.corpus, range(len(self._targets))))
        values = self.per_stimulus(spec, self.rows)
        return None if values is None else float(np.mean(values))

    def _call(self, spec, function, chosen):
        kind = _kind(spec)
        references = [self._true[kind][self._targets[row]] for row in chosen]
        if spec.references == "first":
            references = [captions[:1] for captions in references]
        candidates = [self._predicted[kind][row] for row in chosen]
        # Words were found beforehand, for all metrics and conditions at once: the tokeniser is a program that has to start.
        options = {"tokenisation": "none"} if spec.tokenisation is not None else {}
        return function(references, candidates, **options)


def caption_outputs(captions):
    """Predicted captions as `Outputs`.

    >>> caption_outputs({"a": "a dog", "b": ["a bus", "a red bus"]})
    Outputs(stimulus_ids=['a', 'b', 'b'], values=['a dog', 'a bus', 'a red bus'])

    Parameters
    ----------
    captions : mapping of str to (str or sequence of str), or Outputs
        By stimulus, one caption or several samples.
    """
    if not hasattr(captions, "items"):
        return Outputs(*captions)
    pairs = [(name, text) for name, own in captions.items() for text in ([own] if isinstance(own, str) else own)]
    return Outputs([str(name) for name, _ in pairs], [text for _, text in pairs])


def _kind(spec):
    """How the words of a score are found: a tokenisation, or "as given"."""
    return spec.tokenisation or "as given"


def _words(kind, references, candidates):
    """True captions by stimulus and predicted ones by condition, as one tokenisation leaves them."""
    # The first true caption is the first that has a word.
    true = [[text for text in own if str(text).strip()] for own in references]
    if kind == "as given":
        return true, candidates
    flat = [text for own in true for text in own] + [text for own in candidates.values() for text in own]
    for text in flat:
        if not isinstance(text, str):
            raise InputError(f"A caption is {text!r}, a {type(text).__name__}; expected a text. Give a str.")
    found = iter(tokenised(flat, kind))
    return (
        [[next(found) for _ in own] for own in true],
        {name: [next(found) for _ in own] for name, own in candidates.items()},
    )
