"""Fit the chain of a run, and predict the values of its test stimuli; all of it can be interrupted."""

from __future__ import annotations

import shutil
import warnings

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.settings import DESCRIPTION
from brainrecon.assembly.trial_outputs import OUTPUTS
from brainrecon.assembly.values import PATTERNS, Prediction, Training
from brainrecon.runs.captions import captions
from brainrecon.runs.decoder_from import copy_decoder, taken_parts
from brainrecon.runs.layout import FIT_LOCK
from brainrecon.runs.predict import encode
from brainrecon.runs.released_pretraining import is_checkpoint, written
from brainrecon.runs.values import RunValues
from stages.ground.process_group import first_goes_first, is_first, of_first
from stages.ground.progress import SILENT
from weights.remark import Remark
from weights.seals import complete_seal, seal
from weights.whole_files import locked


def fit_parts(parts, progress=SILENT):
    """Fit each of some runs that have no folds, one after the other; what is done stays, and what is damaged is done again.

    Processes that were started together fit together; the first alone writes, and is alone at it.

    Parameters
    ----------
    parts : sequence of brainrecon.runs.run.Run
    progress : callable
        Called with (label, done, total).
    """
    for part in parts:
        if of_first(lambda part=part: part.is_fitted and not part.damage()):
            if is_first():
                # It may have been fitted by a process that was killed before it wrote the hashes.
                complete_seal(part.layout.decoder, DESCRIPTION)
                for step in part.unfitted.predicting:
                    predicted = part.layout.embeddings("test", step.kept_as)
                    complete_seal(predicted.parent, predicted.name)
            continue
        if not is_first():
            fit(part, progress)
            continue
        # Another process may fit the same: when it is done, nothing is left to do here.
        with locked(
            part.folder, name=FIT_LOCK, waiting=lambda: progress("waiting for another process that fits", 0, 1)
        ):
            if damage := part.damage():
                _remove_damaged(part, damage)
            fit(part, progress)
    # Nobody goes on before everything is written.
    of_first(lambda: None)


def _remove_damaged(part, damage):
    """Take away what of a run is not as it was written, with a word."""
    is_shared = part.config.shared_decoder
    again = "its values are predicted" if is_shared else "the decoder is fitted"
    warnings.warn(f"In {part.folder}, {damage}: {again} again.", Remark, stacklevel=2)
    for folder in (*([] if is_shared else [part.layout.decoder]), part.layout.embeddings("test").parent):
        shutil.rmtree(folder, ignore_errors=True)


def fit(run, progress=SILENT):
    """Fit the steps of one run (no folds) in order, or take them, and predict the test stimuli; what is there is left alone.

    Of a new subject the run of those before it is fitted first.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    progress : callable
        Called with (label, done, total).
    """
    if of_first(lambda: run.is_fitted):
        return
    if run.config.shared_decoder:
        if is_first():
            predict_test(run, run.opened_chain(), progress)
        return
    cohort, subject, test = run.cohort, run.subject, run.subject.test
    chain, pretraining = Chain(run.config.system, run.machine), run.pretraining
    if pretraining:
        for step in chain.steps:
            step.check_before(subject, pretraining.cohort)
        pretraining.fit(progress)
    decoder = pretraining and pretraining.layout.decoder
    if is_checkpoint(run.config.pretrained):
        decoder = of_first(lambda: written(run, progress))
    names = tuple(str(name) for name in test.stimulus_ids)

    before = dict(pretraining.cohort) if pretraining else {}
    known = {**before, **cohort}

    def features(targets, subject=None, by="columns"):
        return encode(run, chain, "train", targets, progress, known[subject or run.subject.name], by)

    # What reads anything else, or trials one by one, is predicted below, when the steps before it are fitted.
    predictions = {
        step.part: Prediction(test.patterns, names, run.layout.embeddings("test", step.kept_as))
        for step in chain.predicting
        if step.is_learned and step.reads == (PATTERNS,) and step.averages != OUTPUTS
    }
    training = Training(dict(cohort), features, lambda name: captions(run, "train", known[name]), before)
    with first_goes_first():
        copy_decoder(run.config, run.layout.decoder)
    chain.fit(
        training,
        run.layout.decoder,
        run.store,
        predictions,
        progress,
        lambda: subject.train.images,
        taken_parts(run.config, chain),
        decoder,
    )
    if is_first():
        predict_test(run, chain, progress)
    chain.free()


def predict_test(run, chain, progress=SILENT):
    """Predict the values of a run's test stimuli, into files, by a fitted chain; what is there is left alone."""
    values = RunValues(run, chain)
    for step in chain.predicting:
        values.predicted("test", step, progress)
    if (folder := run.layout.embeddings("test").parent).exists():
        seal(folder)
