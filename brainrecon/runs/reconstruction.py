"""Stage two of a run: find the pictures that are missing, draw them in batches, write each as it is done."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from brainrecon.features.table import FeatureTable
from brainrecon.methods.conditions import CONDITIONS, DIFFUSED, METHOD_ITSELF
from brainrecon.runs.fitting import encode, predict, read_embeddings
from brainrecon.runs.pictures import read_image
from stages.decoders.ridge import RidgeDecoder
from stages.errors import InputError

# Requests held in memory at a time, in batches; a multiple of the batch, so that all but the last are full.
BATCHES_AT_ONCE = 16
# Side of the pictures of the control that predicts pixels.
PIXELS = 64


def reconstruct(
    run,
    conditions=(METHOD_ITSELF,),
    *,
    stimuli=None,
    control_stimuli=None,
    batch_size=16,
    shard=(0, 1),
    reproducible=False,
    progress=None,
):
    """Draw the pictures of one run (no folds) that are not there yet.

    Parameters
    ----------
    run : brainrecon.runs.folder.Run
    conditions : sequence of str
        Names in `brainrecon.methods.conditions.CONDITIONS`; the stage-one pictures are always drawn.
    stimuli : sequence of str, optional
        Test stimuli to draw; all of them where it is not given.
    control_stimuli : int, optional
        Draw controls for so many stimuli only, spread evenly over the test set.
    batch_size : int
        Pictures denoised together. It changes a picture by one grey level at most.
    shard : tuple of int
        (i, n): every n-th stimulus from the i-th on.
    reproducible : bool
        Each picture in a batch of its own with deterministic kernels: equal bytes whatever was asked together.
    progress : callable, optional
        Called with (label, done, total).

    Raises
    ------
    InputError
        An unknown condition or stimulus.
    """
    unknown = [name for name in conditions if name not in CONDITIONS]
    if unknown:
        raise InputError(f"There is no condition {unknown[0]!r}; expected some of {', '.join(CONDITIONS)}.")
    work = _Work(run)
    every = work.stimulus_ids
    chosen = list(every) if stimuli is None else list(dict.fromkeys(map(str, stimuli)))
    absent = [name for name in chosen if name not in work.row]
    if absent:
        raise InputError(
            f"Stimulus {absent[0]!r} is not among the {len(every):,} test stimuli; the first is {every[0]!r}: "
            "see `brainrecon data info`."
        )
    chosen = chosen[shard[0] :: shard[1]]
    controlled = set(every if control_stimuli is None else spread(every, control_stimuli))

    for done, name in enumerate(chosen):
        work.stage_one(name)
        if progress:
            progress("stage one", done + 1, len(chosen))
    if "nearest_training_picture" in conditions:
        work.nearest([name for name in chosen if name in controlled])
    if "ridge_to_pixels" in conditions:
        work.ridge_to_pixels([name for name in chosen if name in controlled])

    missing = [
        (condition, name, sample)
        for condition in conditions
        if condition in DIFFUSED and condition in run.method.conditions
        for name in chosen
        if condition == METHOD_ITSELF or name in controlled
        for sample in range(run.config.samples if condition == METHOD_ITSELF else 1)
        if not run.image_path(condition, name, sample).exists()
    ]
    # A picture that starts from noise takes more steps and cannot share a batch with one that starts half-way.
    missing.sort(key=lambda entry: entry[0] == "without_stage_one")
    batch_size = 1 if reproducible else batch_size
    at_once = BATCHES_AT_ONCE * batch_size
    with _deterministic() if reproducible else contextlib.nullcontext():
        for start in range(0, len(missing), at_once):
            entries = missing[start : start + at_once]
            requests = [work.request(*entry) for entry in entries]
            finished = 0
            for position, image in run.method.generate(requests, seed=run.config.seed, batch_size=batch_size):
                run.write_image(run.image_path(*entries[position]), image)
                finished += 1
                if progress:
                    progress("reconstructing", start + finished, len(missing))


def spread(stimulus_ids, count):
    """`count` stimuli at even distances over the whole list, in its order."""
    positions = np.unique(np.linspace(0, len(stimulus_ids) - 1, min(count, len(stimulus_ids))).round().astype(int))
    return [stimulus_ids[position] for position in positions]


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


def small_pictures(images):
    """Shrink or enlarge uint8 pictures to float32 (n, `PIXELS`, `PIXELS`, 3) in 0 to 1, a few at a time."""
    size = (PIXELS, PIXELS)
    return np.stack(
        [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), np.float32) / 255 for image in images]
    )


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


@dataclass
class _Work:
    """What the pictures of one run are made from, loaded when it is first needed."""

    run: object

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
    def row(self):
        return {name: row for row, name in enumerate(self.stimulus_ids)}

    @cached_property
    def partner(self):
        return shuffled_partners(len(self.stimulus_ids), self.run.config.seed)

    @cached_property
    def oracle(self):
        """The true features of the test stimuli, dict of FeatureTable, rows in the order of `stimulus_ids`."""
        return encode(self.run, self.run.method, "test")

    @cached_property
    def mean_response(self):
        """Embeddings of the average training response, arrays of shape (1, n_targets)."""
        path = self.run.folder / "embeddings" / "mean_response.safetensors"
        if not path.exists():
            mean = self.run.subject.train.patterns.mean(axis=0, dtype=np.float64).astype(np.float32)
            predict(self.run.method, mean[None], ["mean_response"], path)
        return read_embeddings(path)[0]

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
        return read_image(path)

    def request(self, condition, name, sample):
        """What to ask of the generator for one picture."""
        row, embeddings = self.row[name], self.embeddings
        if condition == "oracle_embeddings":
            embeddings = self.oracle
            stage_one = self._own_stage_one(condition, name, embeddings, row)
        elif condition == "mean_response":
            row, embeddings = 0, self.mean_response
            stage_one = self._own_stage_one(condition, "mean_response", embeddings, row)
        elif condition == "shuffled_responses":
            row = self.partner[row]
            stage_one = self.stage_one(self.stimulus_ids[row])
        else:
            stage_one = self.stage_one(name)
        (request,) = self.run.method.requests(condition, [name], _rows(embeddings, row), stage_one[None], (sample,))
        return request

    def nearest(self, names):
        """Write the nearest training picture of each stimulus."""
        names = [name for name in names if not self.run.image_path("nearest_training_picture", name).exists()]
        if not names:
            return
        table = encode(self.run, self.run.method, "train")["clip_image"]
        predictions = self.embeddings["clip_image"][[self.row[name] for name in names]]
        for name, row in zip(names, nearest_rows(predictions, table)):
            picture = self.run.subject.train.images[int(row)]
            self.run.write_image(self.run.image_path("nearest_training_picture", name), picture)

    def ridge_to_pixels(self, names):
        """Write the picture that ridge regression makes of each stimulus' pattern, its pixels as targets."""
        names = [name for name in names if not self.run.image_path("ridge_to_pixels", name).exists()]
        if not names:
            return
        train, test = self.run.subject.train, self.run.subject.test
        decoder = RidgeDecoder(rescale="none").fit(train.patterns, small_pictures(train.images).reshape(len(train.images), -1))
        predictions = decoder.predict(test.patterns[[self.row[name] for name in names]])
        pictures = np.rint(np.clip(predictions, 0, 1) * 255).astype(np.uint8).reshape(-1, PIXELS, PIXELS, 3)
        for name, picture in zip(names, pictures):
            self.run.write_image(self.run.image_path("ridge_to_pixels", name), picture)


def _rows(embeddings, row):
    """One stimulus of each target, arrays of shape (1, n_targets), from arrays or feature tables."""
    return {
        name: values.rows(row, row + 1) if isinstance(values, FeatureTable) else np.array(values[row : row + 1])
        for name, values in embeddings.items()
    }


@contextlib.contextmanager
def _deterministic():
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
