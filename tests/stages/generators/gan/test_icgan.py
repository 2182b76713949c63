"""IC-GAN as a generator: one picture whoever shares its batch, the network's own picture in bytes, hostile input."""

import numpy as np
import pytest
import torch

from stages.generators.gan.icgan import ICGANGenerator, InstanceRequest
from stages.ground.errors import InputError
from weights import store


@pytest.fixture(scope="module")
def generator():
    return ICGANGenerator.from_pretrained(store.path("tiny-icgan"))


@pytest.fixture(scope="module")
def inputs(generator):
    draws = np.random.default_rng(0)
    values = {name: draws.normal(size=(5, *shape)).astype(np.float32) for name, shape in generator.takes.items()}
    values["instance"] /= np.linalg.norm(values["instance"], axis=1, keepdims=True)
    values["dense"] *= 0.1
    return values


def requests(inputs, dense=True):
    kept = {name: inputs[name] for name in inputs if dense or name != "dense"}
    return [InstanceRequest(f"s{i}", 0, **{name: values[i] for name, values in kept.items()}) for i in range(5)]


def drawn(generator, asked, **options):
    pictures = dict(generator.generate(asked, **options))
    return np.stack([pictures[position] for position in range(len(asked))]).astype(int)


def test_a_picture_is_the_networks_output_in_grey_levels(generator, inputs):
    with torch.no_grad():
        output = generator.network(*(torch.from_numpy(inputs[name]) for name in ("noise", "instance", "dense")))
    expected = (output.numpy().transpose(0, 2, 3, 1).astype(np.float64) + 1) / 2 * 255
    pictures = drawn(generator, requests(inputs))
    assert pictures.shape == (5, 64, 64, 3)
    assert np.abs(pictures - expected).max() <= 1 and np.abs(pictures - expected).mean() < 0.3


@pytest.mark.parametrize("dense", [True, False])
def test_a_picture_does_not_depend_on_its_batch_by_more_than_a_grey_level(generator, inputs, dense):
    whole = drawn(generator, requests(inputs, dense))
    assert np.abs(whole - drawn(generator, requests(inputs, dense), batch_size=1)).max() <= 1
    assert np.abs(whole - drawn(generator, requests(inputs, dense)[::-1], batch_size=2)[::-1]).max() <= 1
    np.testing.assert_array_equal(whole, drawn(generator, requests(inputs, dense)))


def test_each_input_matters(generator, inputs):
    usual = drawn(generator, requests(inputs))
    for name in inputs:
        others = inputs | {name: inputs[name][::-1]}
        assert np.abs(usual - drawn(generator, requests(others))).mean() > 1, name
    assert np.abs(usual - drawn(generator, requests(inputs, dense=False))).mean() > 1


def test_progress_and_no_requests(generator, inputs):
    told = []
    drawn(generator, requests(inputs), batch_size=2, progress=lambda *step: told.append(step))
    assert told == [("pictures", 2, 5), ("pictures", 4, 5), ("pictures", 5, 5)]
    assert list(generator.generate([])) == []


def test_what_does_not_fit_is_refused(generator, inputs):
    with pytest.raises(InputError, match=r"noise of s0 has shape \(3,\).*\(80,\)"):
        generator.draw(inputs | {"noise": inputs["noise"][:, :3]}, requests(inputs))
    broken = inputs["dense"].copy()
    broken[1, 2] = np.nan
    with pytest.raises(InputError, match="dense of s1 has 1 values that are not finite"):
        generator.draw(inputs | {"dense": broken}, requests(inputs))
    with pytest.raises(InputError, match="batch_size is 0"):
        list(generator.generate(requests(inputs), batch_size=0))
    with pytest.raises(InputError, match="in two calls"):
        list(generator.generate([*requests(inputs), *requests(inputs, dense=False)]))
