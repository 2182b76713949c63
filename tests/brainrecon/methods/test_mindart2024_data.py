"""MindArt on files as its authors had them: regions of unlike sizes, categories by pictures' names, captions from elsewhere."""

import numpy as np
import pytest
import torch
from kamitani_files import Dir
from PIL import Image
from small_systems import SMALL, pull_random

import brainrecon
from brainrecon.datasets import load
from stages.ground.errors import InputError

NAME = "mindart2024"


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """Ten pictures of two categories, seen three times each."""
    written, random = Dir(tmp_path_factory.mktemp("data") / "dir"), np.random.default_rng(0)
    (written.root / "images").mkdir()
    for split in ("train", "test"):
        for name in written.codes[split]:
            picture = random.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(picture).save(written.root / "images" / f"{name}.JPEG")
    return load(f"dir:{written.root}", subject="subj03")


def settings(**changes):
    small = SMALL[NAME].nested() | {"regions": ["V1", "V2", "LOC"], "voxels": "as they are"}
    small["matching"] = small["matching"] | {"batch_size": 5}
    return small | changes


@pytest.fixture(scope="module")
def fitted(subject, tmp_path_factory):
    root = tmp_path_factory.mktemp(NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_random(NAME, root / "origins")
        captions = [[f"a dog on boat {row}"] for row in range(subject.train.n_stimuli)]
        yield brainrecon.Reconstructor(NAME, settings=settings()).fit(subject, captions=captions)


def test_tokens_are_regions_as_the_files_have_them_with_zeros_behind(subject, fitted):
    network, patterns = fitted.chain.steps[0].decoder.network, np.asarray(subject.test.patterns)
    assert not network.mean.any() and (network.scale == 1).all()
    tokens = network.network.tokens(torch.from_numpy(patterns)).numpy()
    sizes = [int(subject.rois[name].sum()) for name in ("V1", "V2", "LOC")]
    assert tokens.shape == (len(patterns), 3, max(sizes)) and len(set(sizes)) > 1
    for row, (name, size) in enumerate(zip(("V1", "V2", "LOC"), sizes)):
        np.testing.assert_array_equal(tokens[:, row, :size], patterns[:, subject.rois[name]])
        assert not tokens[:, row, size:].any()


def test_a_picture_is_drawn_for_every_response(subject, fitted):
    test = subject.test
    pictures = fitted.reconstruct(test.patterns, test.stimulus_ids, samples=2)
    assert pictures.shape[:2] == (4, 2) and pictures.dtype == np.uint8 and pictures.std() > 0


def test_a_region_that_a_subject_has_not_is_refused(subject, fitted):
    with pytest.raises(InputError, match="PPA"):
        brainrecon.Reconstructor(NAME, settings=settings(regions=["V1", "PPA"])).fit(subject, captions=[["a"]] * 10)


def test_without_captions_nothing_is_learned(subject, fitted):
    with pytest.raises(InputError, match="has no captions to learn from; pass --captions FILE"):
        brainrecon.Reconstructor(NAME, settings=settings()).fit(subject)
