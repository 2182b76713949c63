"""What the pictures of one run are made from: whose response, which embeddings, which first picture, by condition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.features.table import FeatureTable
from brainrecon.methods.nulls import RidgeToPixels
from brainrecon.methods.two_stage import TwoStageMethod
from brainrecon.runs.fitting import encode, predict, read_embeddings
from brainrecon.runs.pictures import DRAW_AGAIN
from stages.ground.errors import InputError


def work_of(run):
    """What draws the pictures of a run: by way of embeddings where its method predicts some, straight from patterns else."""
    if not run.method.targets:
        return DirectWork(run)
    return TwoStageWork(run) if isinstance(run.method, TwoStageMethod) else EmbeddingWork(run)


@dataclass
class DirectWork:
    """Pictures straight from patterns. Everything is loaded when it is first needed."""

    run: object

    @cached_property
    def stimulus_ids(self):
        """Test stimuli, list of str."""
        return [str(name) for name in self.run.subject.test.stimulus_ids]

    @cached_property
    def row(self):
        return {name: row for row, name in enumerate(self.stimulus_ids)}

    @cached_property
    def partner(self):
        return shuffled_partners(len(self.stimulus_ids), self.run.config.seed)

    @cached_property
    def mean_pattern(self):
        """The average training response, (n_voxels,)."""
        return self.run.subject.train.patterns.mean(axis=0, dtype=np.float64).astype(np.float32)

    def n_samples(self, name):
        """How many samples of a stimulus there are to draw."""
        wanted = self.run.config.samples
        return (
            min(wanted, int(self.run.subject.test.repeats[self.row[name]])) if self.run.method.single_trials else wanted
        )

    def request(self, condition, name, sample):
        """What to ask of the method for one picture."""
        row = self.partner[self.row[name]] if condition == "shuffled_responses" else self.row[name]
        pattern = self.mean_pattern if condition == "mean_response" else self._response(row, sample)
        repeats = 1 if self.run.method.single_trials else int(self.run.subject.test.repeats[row])
        (request,) = self.run.method.requests(condition, [name], pattern[None], (sample,), repeats)
        return request

    def _response(self, row, sample):
        """The response to the stimulus in a row of the test split: its average, or that of one of its trials."""
        test = self.run.subject.test
        if not self.run.method.single_trials:
            return test.patterns[row]
        return np.asarray(test.betas[int(np.flatnonzero(test.positions == row)[sample])], dtype=np.float32)

    def draw_together(self, condition, names):
        """Write the pictures of a condition that are made at once, for those of `names` that have none yet."""
        names = [name for name in names if not self.run.image_path(condition, name).exists()]
        if names:
            for name, picture in zip(names, self.together(condition, names)):
                self.run.write_image(self.run.image_path(condition, name), picture)

    def together(self, condition, names):
        """Pictures of one of `brainrecon.methods.conditions.DRAWN_TOGETHER`, in the order of `names`."""
        method = RidgeToPixels(device=self.run.device, memory=self.run.memory).fit(self.run.subject)
        # The same response that the method itself is drawn from: of single trials the first.
        patterns = np.stack([self._response(self.row[name], 0) for name in names])
        return method.draw(method.requests(condition, names, patterns), self.run.config.seed)


@dataclass
class EmbeddingWork(DirectWork):
    """Pictures by way of embeddings."""

    def n_samples(self, name):
        return self.run.config.samples

    def _response(self, row, sample):
        return self.run.subject.test.patterns[row]

    @cached_property
    def _embeddings_and_ids(self):
        return read_embeddings(self.run.folder / "embeddings" / "test.safetensors")

    @property
    def embeddings(self):
        return self._embeddings_and_ids[0]

    @property
    def stimulus_ids(self):
        return self._embeddings_and_ids[1]

    @cached_property
    def oracle(self):
        """The true features of the test stimuli, dict of FeatureTable, rows in the order of `stimulus_ids`."""
        return encode(self.run, self.run.method, "test")

    @cached_property
    def mean_response(self):
        """Embeddings of the average training response, arrays of shape (1, n_targets)."""
        path = self.run.folder / "embeddings" / "mean_response.safetensors"
        if not path.exists():
            predict(self.run.method, self.mean_pattern[None], ["mean_response"], path)
        return read_embeddings(path)[0]

    def source(self, condition, name):
        """Whose embeddings a picture is drawn from: their row, and all of them by target."""
        row = self.row[name]
        if condition == "oracle_embeddings":
            return row, self.oracle
        if condition == "mean_response":
            return 0, self.mean_response
        return (self.partner[row] if condition == "shuffled_responses" else row), self.embeddings

    def request(self, condition, name, sample):
        """What to ask of the generator for one picture."""
        row, embeddings = self.source(condition, name)
        (request,) = self.run.method.requests(condition, [name], _rows(embeddings, row), (sample,))
        return request

    def together(self, condition, names):
        if condition != "nearest_training_picture":
            return super().together(condition, names)
        target = self.run.method.image_target
        table = encode(self.run, self.run.method, "train", targets=[target])[target]
        predictions = self.embeddings[target][[self.row[name] for name in names]]
        return (np.asarray(self.run.subject.train.images[int(row)]) for row in nearest_rows(predictions, table))


@dataclass
class TwoStageWork(EmbeddingWork):
    """Pictures by way of embeddings and a first picture."""

    def stage_one(self, name):
        """The stage-one picture of a stimulus, drawn if it is not there."""
        return self._decoded(self.run.image_path("stage_one", name), self.embeddings, self.row[name])

    def _own_stage_one(self, condition, name, embeddings, row):
        """The stage-one picture of a condition that has other latents than the method itself."""
        folder = self.run.image_path(condition, name).parents[1] / "stage_one"
        return self._decoded(folder / f"stim-{name}.png", embeddings, row)

    def _decoded(self, path, embeddings, row):
        if not path.exists():
            self.run.write_image(path, self.run.method.stage_one(_rows(embeddings, row))[0])
        return read_picture(path, DRAW_AGAIN)

    def request(self, condition, name, sample):
        row, embeddings = self.source(condition, name)
        if condition == "oracle_embeddings":
            stage_one = self._own_stage_one(condition, name, embeddings, row)
        elif condition == "mean_response":
            stage_one = self._own_stage_one(condition, "mean_response", embeddings, row)
        else:
            stage_one = self.stage_one(self.stimulus_ids[row])
        (request,) = self.run.method.requests(condition, [name], _rows(embeddings, row), stage_one[None], (sample,))
        return request


def shuffled_partners(n_stimuli, seed):
    """For each stimulus another one whose responses it is given, array of shape (n_stimuli,).

    One cycle through a random order: nobody keeps their own, everybody's is used once.
    """
    if n_stimuli < 2:
        raise InputError(f"Shuffled responses need 2 test stimuli but there is {n_stimuli}; leave that control out.")
    order = np.random.default_rng(seed).permutation(n_stimuli)
    partners = np.empty(n_stimuli, dtype=int)
    partners[order] = np.roll(order, -1)
    return partners


def nearest_rows(predictions, table, block=4096):
    """For each prediction the training row that correlates best with it, columns standardised by training statistics.

    Parameters
    ----------
    predictions : array of shape (n_stimuli, n_targets)
    table : brainrecon.features.table.FeatureTable
        Training values; read by blocks of columns.
    block : int

    Returns
    -------
    array of shape (n_stimuli,)
    """
    n_train, n_targets = table.shape
    products = np.zeros((len(predictions), n_train))
    prediction_sums, sums, squares = np.zeros(len(predictions)), np.zeros(n_train), np.zeros(n_train)
    for start in range(0, n_targets, block):
        train = table.columns(start, min(start + block, n_targets)).astype(np.float64)
        mean, scale = train.mean(axis=0), train.std(axis=0)
        scale[scale <= 1e-7 * np.abs(mean) + 1e-12] = np.inf
        train, predicted = (train - mean) / scale, (predictions[:, start : start + block] - mean) / scale
        products += predicted @ train.T
        prediction_sums += predicted.sum(axis=1)
        sums += train.sum(axis=1)
        squares += (train**2).sum(axis=1)
    # Covariance over the row's standard deviation: the correlation, up to a factor that all rows of a prediction share.
    covariances = products - np.outer(prediction_sums, sums) / n_targets
    return np.argmax(covariances / np.sqrt(np.maximum(squares - sums**2 / n_targets, 1e-12)), axis=1)


def _rows(embeddings, row):
    """One stimulus of each target, arrays of shape (1, n_targets), from arrays or feature tables."""
    return {
        name: values.rows(row, row + 1) if isinstance(values, FeatureTable) else np.array(values[row : row + 1])
        for name, values in embeddings.items()
    }
