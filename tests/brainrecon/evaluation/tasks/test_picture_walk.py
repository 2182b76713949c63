"""Every picture is read once and resized once to a size, and scores are those of a plain loop, however it is walked."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity as skimage_ssim
from stand_in_networks import MeanColours, noisy

from brainrecon.datasets import stimulus_images
from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.views import resize_and_crop
from stages.ground import threads

# More than a network sees at a time, and no multiple of it.
N = 83
IDS = [f"stim{row:03d}" for row in range(N)]
FEW = dict(n_resamples=2000, device="cpu")


@pytest.fixture(scope="module")
def many():
    coarse = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(24, axis=1).repeat(24, axis=2)


@pytest.fixture
def own_networks():
    return {"evaluation": MeanColours(), "clip": MeanColours()}


def conditions_of(many):
    """The method with two samples of some stimuli, in no order; a control of all; and one of a few."""
    order = np.random.default_rng(1).permutation(N + 20)
    rows = np.concatenate([np.arange(N), np.arange(20)])[order]
    return {
        "reconstruction": (rows, noisy(many[rows], 90, seed=2)),
        "mean_response": (np.arange(N), noisy(many, 150, seed=3)),
        "stage_one": (np.arange(5, 80, 5), noisy(many[5:80:5], 60, seed=4)),
    }


def as_outputs(conditions, wrap=lambda name, pictures: pictures):
    return {name: Outputs([IDS[row] for row in rows], wrap(name, own)) for name, (rows, own) in conditions.items()}


def in_files(folder):
    """What writes pictures into files and gives them back as they are read from there."""

    def wrap(name, pictures):
        paths = [folder / f"{name}-{row}.png" for row in range(len(pictures))]
        for path, picture in zip(paths, pictures):
            Image.fromarray(picture).save(path, compress_level=1)
        return PictureFiles(paths)

    return wrap


def two_sizes():
    """The embedded protocol, with pixels compared at another size than networks see."""
    content = dict(load_protocol("brainrecon-1").content)
    larger = {"size": 80, "interpolation": "bilinear", "antialias": True}
    content["name"] = "two-sizes"
    content["metrics"] = [
        spec | {"resize": larger} if spec["name"] in ("pixcorr", "ssim") else spec for spec in content["metrics"]
    ]
    return Protocol(content)


def test_every_file_is_decoded_once_and_resized_once_to_a_size(many, own_networks, tmp_path, monkeypatch):
    decoded, resized = Counter(), Counter()
    read, resize = stimulus_images.as_rgb, resize_and_crop._like_torchvision

    def counted_read(picture, path):
        decoded[path.name] += 1
        return read(picture, path)

    def counted_resize(pictures, step):
        resized[step.size] += len(pictures)
        return resize(pictures, step)

    monkeypatch.setattr(stimulus_images, "as_rgb", counted_read)
    monkeypatch.setattr(resize_and_crop, "_like_torchvision", counted_resize)
    conditions, wrap = conditions_of(many), in_files(tmp_path)
    outputs, shown = as_outputs(conditions, wrap), wrap("shown", many)
    evaluate(shown, outputs, stimulus_ids=IDS, networks=own_networks, protocol=two_sizes(), **FEW)
    n_drawn = sum(len(rows) for rows, _ in conditions.values())
    assert len(decoded) == n_drawn + N and set(decoded.values()) == {1}
    # What is shown is seen twice, by networks before and then beside what was drawn.
    assert resized == {64: n_drawn + 2 * N, 80: n_drawn + N}


def test_scores_are_those_of_a_plain_loop(many, own_networks):
    conditions = conditions_of(many)
    scores = evaluate(many, as_outputs(conditions), stimulus_ids=IDS, networks=own_networks, **FEW)
    small = resize_and_crop.Resize(64, "bilinear", True)

    def seen(pictures):
        return np.stack([resize_and_crop.resize_pictures(one[None], small)[0] for one in pictures])

    for name, (rows, pictures) in conditions.items():
        shown, drawn = seen(many[rows]), seen(pictures)
        pixcorr = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(shown, drawn)]
        grey = [np.float64(side) @ np.array([0.2125, 0.7154, 0.0721]) for side in (shown, drawn)]
        options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
        ssim = [skimage_ssim(one, other, **options) for one, other in zip(*grey)]
        owners = np.unique(rows)
        for metric, values in (("pixcorr", pixcorr), ("ssim", ssim)):
            expected = [np.mean(np.array(values)[rows == owner]) for owner in owners]
            found = scores.conditions[name].values[metric]
            assert scores.conditions[name].stimulus_ids == tuple(IDS[owner] for owner in owners)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
        of_shown, of_drawn = (
            own_networks["clip"].embed(np.rint(one * 255).astype(np.uint8)) for one in (seen(many), drawn)
        )
        correlations = np.corrcoef(of_shown, of_drawn)[:N, N:][owners]
        own = correlations[np.searchsorted(owners, rows), np.arange(len(rows))]
        rates = (correlations < own - 1e-12).sum(axis=0) / (len(owners) - 1)
        expected = [rates[rows == owner].mean() for owner in owners]
        np.testing.assert_allclose(scores.conditions[name].values["identification_clip"], expected, atol=1e-12)


def test_the_number_of_threads_changes_no_digit(many, own_networks, tmp_path, monkeypatch):
    conditions, wrap, before = conditions_of(many), in_files(tmp_path), torch.get_num_threads()
    shown, outputs = wrap("shown", many), as_outputs(conditions, wrap)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    found = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            scores = evaluate(shown, outputs, stimulus_ids=IDS, networks=own_networks, protocol=two_sizes(), **FEW)
            scores.to_json(tmp_path / "scores.json")
            found.append((tmp_path / "scores.json").read_bytes())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_a_reader_that_is_not_the_toolkits_is_asked_by_one_thread_at_a_time(many, own_networks, monkeypatch):
    class Theirs:
        """Pictures of somebody's own, which would be confused by two at once."""

        def __init__(self, pictures):
            self._pictures, self._busy = pictures, False

        def __len__(self):
            return len(self._pictures)

        def __getitem__(self, rows):
            assert not self._busy and (np.diff(rows) > 0).all()
            self._busy = True
            chosen = self._pictures[rows]
            threads.os.sched_yield()
            self._busy = False
            return chosen

    conditions, before = conditions_of(many), torch.get_num_threads()
    expected = evaluate(many, as_outputs(conditions), stimulus_ids=IDS, networks=own_networks, **FEW)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    torch.set_num_threads(2)
    try:
        theirs = as_outputs(conditions, lambda _, pictures: Theirs(pictures))
        found = evaluate(Theirs(many), theirs, stimulus_ids=IDS, networks=own_networks, **FEW)
    finally:
        torch.set_num_threads(before)
    assert found.conditions == expected.conditions
