"""A system in Python: by name, by class, by instance; on the best device that there is; saved and opened again."""

import inspect

import numpy as np
import pytest
import torch
from accelerate import PartialState

import brainrecon
from brainrecon.assembly import registry
from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.methods.mean_image import MeanImage
from brainrecon.runs.run import Run
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.devices import AUTO, chosen_device
from stages.ground.errors import InputError
from stages.ground.notebook_progress import IN_NOTEBOOKS


class Mine(MeanImage):
    name, explanation = "mine-2026", "the mean, once more"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    draw = np.random.default_rng(0)
    splits = {
        name: brainrecon.datasets.split.Split(
            draw.standard_normal((n, 5)).astype(np.float32),
            [f"{name}{row}" for row in range(n)],
            images=draw.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8),
        )
        for name, n in (("train", 6), ("test", 3))
    }
    return brainrecon.Subject("subj01", "arrays", "arrays:memory", splits, roi="all")


@pytest.mark.parametrize("method", [Mine, Mine(), "mean-image"])
def test_a_class_an_instance_and_a_name_draw_the_same(method, subject, tmp_path):
    reconstructor = Reconstructor(method, features=tmp_path).fit(subject)
    drawn = reconstructor.reconstruct(subject.test.patterns, subject.test.stimulus_ids)
    by_name = Reconstructor("mean-image", features=tmp_path).fit(subject)
    np.testing.assert_array_equal(drawn, by_name.reconstruct(subject.test.patterns, subject.test.stimulus_ids))


def test_a_class_of_ones_own_is_saved_and_opened_again(subject, tmp_path):
    fitted = Reconstructor(Mine, features=tmp_path / "features").fit(subject)
    fitted.save_pretrained(tmp_path / "saved")
    opened = Reconstructor.from_pretrained(tmp_path / "saved", features=tmp_path / "features")
    assert opened.chain.name == "mine-2026" and "mine-2026" in repr(opened)
    patterns, ids = subject.test.patterns, subject.test.stimulus_ids
    np.testing.assert_array_equal(opened.reconstruct(patterns, ids), fitted.reconstruct(patterns, ids))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((42,), "A method is 42; expected a name"),
        ((dict,), "expected a name such as 'brain-diffuser', or a class or an instance"),
        ((Mine(), {"a": 1}), "mine-2026 is given with its settings already"),
        ((Mine(), None, "tiny"), "leave settings and weights out, or pass the class Mine"),
        (("brain-diffusr",), "did you mean 'brain-diffuser'"),
    ],
)
def test_what_is_no_method_is_told(arguments, said):
    with pytest.raises(InputError, match=said):
        Reconstructor(*arguments)


def test_a_class_that_takes_the_name_of_another_is_refused():
    class MeanImageOfMine(MeanImage):
        pass

    with pytest.raises(InputError, match="both called 'mean-image'"):
        Reconstructor(MeanImageOfMine)


PUBLIC = (
    Reconstructor.__init__,
    Reconstructor.from_pretrained,
    Run.__init__,
    Run.create,
    brainrecon.evaluate,
    RidgeDecoder.__init__,
)


@pytest.mark.parametrize("function", PUBLIC)
def test_the_best_device_is_the_default_in_python_as_on_the_command_line(function):
    assert inspect.signature(function).parameters["device"].default == AUTO


@pytest.mark.parametrize(
    "function",
    [Reconstructor.encode, Reconstructor.fit, Reconstructor.reconstruct, Run.fit, Run.evaluate, brainrecon.evaluate],
)
def test_what_people_call_shows_its_progress_in_notebooks(function):
    assert inspect.signature(function).parameters["progress"].default is IN_NOTEBOOKS


def test_auto_is_the_device_of_this_process():
    assert chosen_device(AUTO) == str(PartialState().device)
    assert Reconstructor("mean-image").chain.machine.device == str(PartialState().device)


def test_a_device_that_is_none_is_refused_at_once(tmp_path):
    for make in (lambda: Reconstructor("mean-image", device="gpu"), lambda: chosen_device("gpu")):
        with pytest.raises(InputError, match="Device 'gpu' is not usable here"):
            make()
    with pytest.raises(InputError, match="'gpu'"):
        brainrecon.evaluate(np.zeros((1, 8, 8, 3)), {}, stimulus_ids=["a"], device="gpu")


def test_a_decoder_on_the_best_device_is_that_on_this_one():
    draw = np.random.default_rng(0)
    patterns, targets = draw.standard_normal((30, 6)), draw.standard_normal((30, 4))
    best = RidgeDecoder().fit(patterns, targets).predict(patterns)
    named = RidgeDecoder(device=str(torch.device(PartialState().device))).fit(patterns, targets).predict(patterns)
    np.testing.assert_allclose(best, named, rtol=0, atol=1e-6)
