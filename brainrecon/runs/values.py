"""The values of a run's test stimuli under a condition: read if they are kept, computed if not.

Which row an item has of a value follows from the sources of its inputs (`brainrecon.assembly.replacement.Source`): under
shuffled responses a first picture is the partner's own, which is kept already; under the mean response it is one for all.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.replacement import MEAN, Source, shuffled_partners
from brainrecon.assembly.trial_outputs import RESPONSES, averaged_outputs
from brainrecon.assembly.values import ABSENT, PATTERNS, SHOWN, Item
from brainrecon.runs.array_files import check_suffix, write_arrays
from brainrecon.runs.predict import encode, read_embeddings
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.seals import complete_seal, seal
from weights.whole_files import locked


class RunValues:
    """Values of one run (no folds). Everything is loaded when it is first needed.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    chain : brainrecon.assembly.chain.Chain, optional
        The fitted chain; the run's own by default.

    Attributes
    ----------
    stimulus_ids : list of str
        Of the test split, in its order.
    row : dict of str to int
        Row of each test stimulus.
    """

    def __init__(self, run, chain=None):
        self.run, self.subject, self.seed = run, run.subject, run.config.seed
        self.chain = chain or run.chain
        self.stimulus_ids = [str(name) for name in self.subject.test.stimulus_ids]
        self.row = {name: row for row, name in enumerate(self.stimulus_ids)}
        self._predicted, self._true, self._found = {}, {}, set()

    # Asked by replacements

    def partner(self, stimulus_id):
        """The test stimulus whose response another one is given."""
        return self.stimulus_ids[self._partners[self.row[stimulus_id]]]

    def true_features(self, names, split_name):
        """True values of targets, dict of FeatureTable, rows in the order of the split."""
        for name in names:
            if (name, split_name) not in self._true:
                self._true[name, split_name] = encode(self.run, self.chain, split_name, (name,))[name]
        return {name: self._true[name, split_name] for name in names}

    def own(self, name, stimulus_ids):
        """Rows of a value as the system itself has them, a list."""
        return [self.value(RECONSTRUCTION, name, stimulus_id) for stimulus_id in stimulus_ids]

    def another_chain(self, name):
        """The chain of another system at its defaults, not yet fitted."""
        return Chain(system_class(name)(), self.run.machine)

    # Values

    def source(self, condition, name, stimulus_id):
        """Source of a stimulus's row of a value under a condition; None if the value is absent."""
        replacement = CONDITIONS[condition].replacement(self.chain, name)
        if replacement is not None and not replacement.is_drawn:
            return replacement.source(stimulus_id, self)
        step = self.chain.giver(name)
        if step is None:
            return Source("own", stimulus_id)
        sources = {self.source(condition, one, stimulus_id) for one in (*step.reads, *step.optional)}
        (source,) = sources if len(sources) == 1 else (None,)
        return source or Source("mixed", stimulus_id)

    def value(self, condition, name, stimulus_id, sample=0):
        """A stimulus's row of a value under a condition, or `ABSENT`."""
        source = self.source(condition, name, stimulus_id)
        if source is None:
            return ABSENT
        path = self.place(condition, name, stimulus_id)
        if source.kind == "own":
            condition, stimulus_id = RECONSTRUCTION, source.name
        if self.chain.giver(name) is None:
            return self._measured(name, source, stimulus_id, sample)
        if path is None:
            return self._feature(condition, name, source, stimulus_id)
        medium = self.chain.medium(name)
        if not path.exists():
            self.run.write_value(path, self._computed(condition, name, source, stimulus_id), medium)
        return self.run.read_value(path, medium)

    def place(self, condition, name, stimulus_id):
        """File of a stimulus's row of a value under a condition; None of what is absent, measured, or a feature."""
        source = self.source(condition, name, stimulus_id)
        if source is None or self.chain.giver(name) is None or self.chain.medium(name) == "features":
            return None
        whose = RECONSTRUCTION if source.kind == "own" else condition
        return self.run.layout.on_the_way(name, self.chain.medium(name), source.name, whose)

    def values(self, condition, step, items):
        """What a step reads for items under a condition: dict of value name to list of rows, or `ABSENT`."""
        found = {}
        for name in (*step.reads, *step.optional):
            rows = [self.value(condition, name, item.stimulus_id, item.sample) for item in items]
            found[name] = ABSENT if any(row is ABSENT for row in rows) else rows
        return found

    def n_samples(self, stimulus_id):
        """Samples of a stimulus that there are to draw: of single trials no more than it has."""
        wanted = self.run.config.samples
        if not self.chain.system.reads_single_trials:
            return wanted
        return min(wanted, int(self.subject.test.repeats[self.row[stimulus_id]]))

    def predicted(self, of, step, progress=SILENT):
        """Predicted values of a step for the test stimuli ("test") or the mean response, dict of arrays, kept in files."""
        path = self.predicted_file(of, step, progress)
        if path not in self._predicted:
            values, ids = read_embeddings(path)
            self._check_order(of, path, ids)
            self._predicted[path] = values
        return self._predicted[path]

    def predicted_file(self, of, step, progress=SILENT):
        """The file of these values, which are predicted now if it is not there; of the test stimuli in the order of the split."""
        path = self.run.layout.embeddings(of, step.kept_as)
        if path not in self._found:
            if not path.exists():
                names = self.stimulus_ids if of == "test" else [MEAN.name]
                # Before it is locked: steps before this one may have to predict, too.
                inputs = self._inputs(of, step) if step.averages == RESPONSES else None
                with locked(path.parent, name=f".{path.stem}.lock"):
                    # Another process may have predicted the same in the meantime.
                    if not path.exists():
                        self._predict_into(path, of, step, inputs, names, progress)
                        seal(path.parent)
            complete_seal(path.parent, path.name)
            self._found.add(path)
        return path

    def _predict_into(self, path, of, step, inputs, names, progress):
        if inputs is not None:
            step.predict_into(path, names, inputs, progress, seed=self.seed, subject=self.subject.name)
            return
        items = [Item(self.subject.name, name) for name in names]
        trials = self._trials if of == "test" else lambda _: self._mean_pattern[None]
        write_arrays(path, averaged_outputs(step, items, trials, seed=self.seed, progress=progress), names)

    def _check_order(self, of, path, ids):
        if of == "test" and list(ids) != self.stimulus_ids:
            raise InputError(f"{path} is of other stimuli than the run's test set; delete its folder and fit again.")

    # Where they come from

    @cached_property
    def _partners(self):
        return shuffled_partners(len(self.stimulus_ids), self.seed)

    @cached_property
    def _mean_pattern(self):
        return self.subject.train.patterns.mean(axis=0, dtype=np.float64).astype(np.float32)

    @cached_property
    def _trial_rows(self):
        """Rows of the trials of each test stimulus, in the order in which they were measured."""
        positions = np.asarray(self.subject.test.positions)
        return np.split(np.argsort(positions, kind="stable"), np.cumsum(self.subject.test.repeats)[:-1])

    def _trials(self, row):
        """Responses to a test stimulus by its row, trial by trial, (n_trials, n_voxels) float32."""
        return np.asarray(self.subject.test.betas[self._trial_rows[row]], dtype=np.float32)

    def _measured(self, name, source, stimulus_id, sample):
        test, row = self.subject.test, self.row[stimulus_id]
        if name == SHOWN:
            return np.asarray(self._shown()[row])
        single = self.chain.system.reads_single_trials
        if name != PATTERNS:
            return 1 if single else int(test.repeats[row])
        if source == MEAN:
            return self._mean_pattern
        if not single:
            return test.patterns[row]
        return self._trials(row)[sample]

    def _feature(self, condition, name, source, stimulus_id):
        if source.kind == "true" and name in self.chain.targets:
            row = self.row[source.name]
            return self.true_features((name,), "test")[name].rows(row, row + 1)[0]
        if source.kind == "own":
            return self.predicted("test", self.chain.giver(name))[name][self.row[source.name]]
        if source == MEAN:
            return self.predicted(MEAN.name, self.chain.giver(name))[name][0]
        return self._computed(condition, name, source, stimulus_id)

    def _computed(self, condition, name, source, stimulus_id):
        step, item = self.chain.giver(name), Item(self.subject.name, stimulus_id)
        read = self.values(condition, step, [item])
        # What is drawn by lot belongs to whose the value is, and not to who asks for it first.
        return step.run([Item(self.subject.name, source.name)], read, seed=self.seed)[name][0]

    def _shown(self):
        """Pictures of the test stimuli, for a chain that encodes, or one that chooses by them; no other chain reads them."""
        images = self.subject.test.images
        if images is None:
            used = "to which it predicts responses" if self.chain.encodes else "by which it chooses what it drew"
            split = self.subject.details.get("split", "test")
            raise InputError(
                f"{self.subject.source} has no pictures of {split}, but {self.chain.name} needs them, {used}; put them where "
                "`brainrecon data files` says."
            )
        return images

    def _inputs(self, of, step):
        """What a step reads to predict: whole arrays, so that it may go through them in blocks."""
        if of == "test" and step.reads == (SHOWN,) and not step.optional:
            return {SHOWN: self._shown()}
        if of == "test" and step.reads == (PATTERNS,) and not step.optional:
            return {PATTERNS: self.subject.test.patterns}
        condition, names = (
            (RECONSTRUCTION, self.stimulus_ids) if of == "test" else ("mean_response", self.stimulus_ids[:1])
        )
        items = [Item(self.subject.name, name) for name in names]
        found = self.values(condition, step, items)
        return {name: rows if rows is ABSENT else np.stack(rows) for name, rows in found.items()}


def write_predicted(run, path, progress=SILENT):
    """Write the predicted values of a run's test stimuli as the run has them, and return the shape of each by name.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        A fitted one, without folds.
    path : path
        In the format that its name says, see `brainrecon.runs.array_files.write_arrays`.
    progress : callable
    """
    values = RunValues(run)
    check_suffix(path, values.chain.predicts)
    found = {name: values.predicted("test", values.chain.giver(name), progress)[name] for name in values.chain.predicts}
    write_arrays(path, found, values.stimulus_ids)
    return {name: rows.shape for name, rows in found.items()}
