"""One mean and one spread of all voxels, as a decoder that is trained may want them."""

import numpy as np
import pytest
import torch
from small_decoders import TwoHeads

from stages.decoders.standardised import Standardised, Voxels
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.training.recipe import Recipe

TOGETHER = "all voxels together"
RECIPE = Recipe(steps=3, batch_size=5)


@pytest.fixture
def training():
    random = np.random.default_rng(0)
    responses = (5 * random.standard_normal(30) + random.standard_normal((20, 30)) * 3).astype(np.float32)
    return Training({"subj01": responses}, {"subj01": np.arange(20)}, {"x": random.standard_normal((20, 4))})


def test_it_is_the_mean_and_the_spread_of_all_numbers(training):
    responses = training.responses["subj01"]
    voxels = Voxels()
    voxels.measure(responses, np.arange(5, 20), together=True)
    learned = responses[5:].astype(float)
    assert voxels.mean.shape == voxels.scale.shape == (30,)
    assert np.allclose(voxels.mean, learned.mean(), rtol=1e-5) and np.allclose(voxels.scale, learned.std(), rtol=1e-5)
    # What differs between voxels stays.
    found = voxels(torch.from_numpy(responses)).numpy()
    assert np.allclose(found, (responses - learned.mean()) / learned.std(), atol=1e-5)


def test_a_subject_of_one_number_reads_zeros():
    voxels = Voxels()
    voxels.measure(np.full((4, 3), 7.0, np.float32), np.arange(4), together=True)
    assert not voxels(torch.full((1, 3), 9.0)).any()


def test_a_decoder_is_trained_so_and_comes_back(training, tmp_path):
    decoder = TrainedDecoder(TwoHeads, RECIPE, standardise=TOGETHER).fit(training)
    responses = training.responses["subj01"]
    assert isinstance(decoder.network, Standardised)
    assert np.allclose(decoder.network.scale, responses.std(), rtol=1e-5)
    decoder.save_pretrained(tmp_path)
    ((_, _, before),) = decoder.predict_blocks(responses[:3])
    ((_, _, after),) = TrainedDecoder.from_pretrained(tmp_path).predict_blocks(responses[:3])
    assert np.array_equal(before, after)
    ((_, _, each),) = TrainedDecoder(TwoHeads, RECIPE).fit(training).predict_blocks(responses[:3])
    assert not np.allclose(before, each)


def test_what_one_way_left_is_not_gone_on_with_by_another(training, tmp_path):
    def interrupted(label, done, total):
        if done == 2:
            raise KeyboardInterrupt

    def decoder(standardise):
        return TrainedDecoder(TwoHeads, RECIPE, standardise=standardise, seconds_between_checkpoints=0.0)

    with pytest.raises(KeyboardInterrupt):
        decoder(True).fit(training, folder=tmp_path, progress=interrupted)
    done = []
    decoder(TOGETHER).fit(training, folder=tmp_path, progress=lambda label, step, total: done.append(step))
    assert done[0] == 0


@pytest.mark.parametrize("word", ["together", "no", 1, None])
def test_other_ways_are_refused(word):
    with pytest.raises(InputError, match="standardise is .*; expected one of True, 'all voxels together', False"):
        TrainedDecoder(TwoHeads, RECIPE, standardise=word)
