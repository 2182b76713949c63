"""The step from one subject's patterns to those of the subject whose decoder is to read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from brainrecon.assembly.alignment_settings import AlignmentSettings
from brainrecon.assembly.step import Step
from brainrecon.datasets.resplit import POOLED
from stages.adapters.functional_alignment import FunctionalAlignment
from stages.adapters.stratified_fraction import stratified_fraction
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

ALIGNED_PATTERNS = "aligned_patterns"
# Values by which a share of the stimuli has all kinds of them.
KINDS = "kinds_of_stimuli"


class Align(Step):
    """Bring a subject's patterns into the voxels of a reference; those of the reference itself stay as they are.

    >>> from brainrecon.assembly.values import Item, Training, Workspace
    >>> from brainrecon.datasets.split import Split
    >>> from brainrecon.datasets.subject import Subject
    >>> def subject(name, responses, train, test):
    ...     rows = {"train": train, "test": test}
    ...     splits = {of: Split(responses[own], [f"s{row}" for row in own]) for of, own in rows.items()}
    ...     return Subject(name, "arrays", "arrays:memory", splits, roi="all")
    >>> random = np.random.default_rng(0)
    >>> seen = random.standard_normal((60, 4)).astype(np.float32)
    >>> reference = subject("subj01", seen, [*range(20)], [*range(20, 60)])
    >>> other = subject("subj02", seen @ random.standard_normal((4, 6)).astype(np.float32), [*range(20, 50)], [*range(50, 60)])
    >>> step = Align(AlignmentSettings(alphas=(1e-3,)))
    >>> step.fit(Training({"subj02": other}, dict, pretraining={"subj01": reference}), Workspace(store=None))
    >>> aligned = step.run([], {"patterns": other.test.patterns})["aligned_patterns"]
    >>> bool(np.allclose(aligned, reference.test.patterns[30:], atol=0.01))
    True

    It is fitted on stimuli that both subjects saw and that are in the new subject's training split; of the reference they may be
    in train or in test. No response to a stimulus that is tested on the new subject takes part, of either subject.

    Parameters
    ----------
    settings : AlignmentSettings
    kinds : brainrecon.assembly.targets.TargetSource, optional
        What tells kinds of stimuli apart if a fraction of them is drawn, such as text vectors; any share is drawn without it.
    part : str

    Attributes
    ----------
    alignment : stages.adapters.functional_alignment.FunctionalAlignment
    reference : str
        Name of the subject that is aligned to; empty for the reference itself.
    stimulus_ids : list of str
        That the alignment was fitted on.
    """

    is_learned = True
    reads, gives = ("patterns",), (ALIGNED_PATTERNS,)
    for_new_subject = "again"

    def __init__(self, settings: AlignmentSettings, kinds=None, part="alignment"):
        self.settings, self.part = settings, part
        self.beside = {} if kinds is None or settings.fraction == 1 else {KINDS: kinds}
        self.reference, self.stimulus_ids = "", []

    @property
    def no_mean_response(self):
        if self.settings.statistics == "transductive" and self.settings.method != "anatomical":
            return "alone it has no spread that transductive statistics could use"
        return None

    # Learning

    def check_before(self, subject, before):
        shared_rows(subject, _one(subject, before))

    def fit(self, training, workspace):
        subject = training.subject
        self.reference, self.stimulus_ids = "", []
        if not training.pretraining:
            self.alignment = FunctionalAlignment.identity(subject.n_voxels)
            return
        reference = _one(subject, training.pretraining)
        rows = self._drawn(shared_rows(subject, reference), training)
        self.reference, self.stimulus_ids = reference.name, [str(name) for name in subject.train.stimulus_ids[rows]]
        theirs = responses_to(reference, self.stimulus_ids)
        self.alignment = self.settings.alignment().fit(subject.train.patterns[rows], theirs)

    def _drawn(self, rows, training):
        """The share of the rows that is used."""
        if self.settings.fraction == 1:
            return rows
        if self.beside:
            table = training.features((KINDS,))[KINDS]
            kinds = np.asarray(table)[rows]
        else:
            kinds = np.zeros((len(rows), 1))
        return rows[stratified_fraction(kinds, self.settings.fraction, self.settings.seed)]

    def save(self, folder):
        learned_from = {"reference": self.reference, "stimulus_ids": self.stimulus_ids}
        write_text(_stimuli(folder), json.dumps(learned_from, indent=1) + "\n")
        self.alignment.save_pretrained(folder)

    def open(self, workspace):
        folder = workspace.folder
        self.alignment = FunctionalAlignment.from_pretrained(folder)
        known = read_json(_stimuli(folder), dict, f"delete {folder} and fit again with `brainrecon fit`")
        self.reference, self.stimulus_ids = known.get("reference", ""), list(known.get("stimulus_ids", []))

    def remarks(self):
        if not self.reference:
            return []
        found = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in self.alignment.found.items())
        return [
            f"Patterns are aligned to {self.reference} by {self.settings.method.replace('_', ' ')}, fitted on "
            f"{len(self.stimulus_ids):,} stimuli that both saw, none of them tested{f' ({found})' if found else ''}."
        ]

    # Running

    def run(self, items, values, *, seed=0):
        return {ALIGNED_PATTERNS: self.alignment.transform(np.asarray(values["patterns"]))}


def _one(subject, before):
    if len(before) != 1:
        raise InputError(f"{subject.name} is to be aligned to {', '.join(before)}; name one subject with --subjects.")
    (reference,) = before.values()
    return reference


def shared_rows(subject, reference):
    """Rows of the stimuli in a subject's training split that a reference saw too, in train or in test.

    Parameters
    ----------
    subject, reference : brainrecon.datasets.subject.Subject

    Raises
    ------
    InputError
        There are fewer than two; or the reference learned from stimuli that are tested on the subject.
    """
    seen = np.concatenate([reference.splits[name].stimulus_ids for name in POOLED if name in reference.splits])
    train, test = subject.train.stimulus_ids, subject.test.stimulus_ids
    known = np.isin(test, reference.train.stimulus_ids)
    if known.any():
        raise InputError(
            f"{known.sum():,} of {len(test):,} stimuli that are tested on {subject.name} are among those that {reference.name} "
            f"learned from, the first is {test[known][0]}; test others, for example with --split shared:0.5."
        )
    rows = np.flatnonzero(np.isin(train, seen))
    if len(rows) < 2:
        tested = np.isin(test, seen).sum()
        raise InputError(
            f"{len(rows)} of {len(train):,} training stimuli of {subject.name} were shown to {reference.name} too, but an "
            f"alignment needs 2 or more; {tested:,} that both saw are tested: learn from some of these with --split shared:0.5."
        )
    return rows


def responses_to(subject, stimulus_ids):
    """A subject's patterns of some stimuli, whether they are in train or in test.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    stimulus_ids : sequence of str

    Returns
    -------
    array of shape (n_stimuli, n_voxels), float32
        In the order of `stimulus_ids`.
    """
    place = {
        str(shown): (name, row)
        for name in POOLED
        if name in subject.splits
        for row, shown in enumerate(subject.splits[name].stimulus_ids)
    }
    found = np.empty((len(stimulus_ids), subject.n_voxels), dtype=np.float32)
    for name in POOLED:
        own = [row for row, shown in enumerate(stimulus_ids) if place[shown][0] == name]
        if own:
            found[own] = subject.splits[name].patterns[[place[stimulus_ids[row]][1] for row in own]]
    return found


def _stimuli(folder):
    return Path(folder) / "stimuli.json"
