import warnings

import numpy as np
import pytest

from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.assembly.response_size import response_size
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject

BETAS = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    pictures = np.random.default_rng(1).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    train = Split(BETAS[:30], [f"a{row}" for row in range(30)], images=pictures[:30])
    test = Split(BETAS[30:], [f"b{row}" for row in range(10)], images=pictures[30:])
    subject = Subject("subj01", "mine", "mine:x", {"train": train, "test": test}, "all")
    folder = tmp_path_factory.mktemp("scale")
    Reconstructor("ridge-to-pixels", features=folder / "features").fit(subject).save_pretrained(folder / "decoder")
    return Reconstructor.from_pretrained(folder / "decoder", features=folder / "features")


def test_the_size_is_the_median_of_absolute_responses_without_zeros():
    values = np.where(BETAS > 1, 0, BETAS)
    assert response_size(values) == pytest.approx(np.median(np.abs(values[values != 0])))
    assert response_size(np.zeros((3, 2))) is None and response_size(BETAS[:0]) is None


@pytest.mark.parametrize(
    ("factor", "told"), [(300, "300 times larger"), (1 / 300, "300 times smaller"), (-12, "12 times larger")]
)
def test_responses_of_another_unit_are_told_with_the_factor(fitted, factor, told):
    with pytest.warns(UserWarning, match=told):
        fitted.reconstruct(BETAS[:30] * np.float32(factor), np.arange(30).astype(str))


@pytest.mark.parametrize("factor", [1, 4, 0.25, 0])
def test_averages_single_trials_and_z_scores_are_not_told(fitted, factor):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.reconstruct(BETAS[30:] * np.float32(factor), np.arange(10).astype(str))
