"""Voxels of a region: which they are, that a step reads no others, and what is refused."""

import json

import numpy as np
import pytest
from small_decoders import SharedTrunk, TwoHeads

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.region_voxels import RegionVoxels, read_voxels, region_of, save_voxels
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.decoders.trained import TrainedDecoder
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.training.recipe import Recipe

N, VOXELS = 20, 9
FRONT, BACK, NOWHERE = (np.isin(np.arange(VOXELS), rows) for rows in ([0, 2, 3], [3, 5, 8], []))
RESPONSES = np.random.default_rng(0).standard_normal((N, VOXELS)).astype(np.float32)
COLOURS = np.random.default_rng(1).standard_normal((N, 6)).astype(np.float32)


class Colour:
    shape, n_targets = (6,), 6


def subject(responses=RESPONSES, rois=None):
    splits = {
        name: Split(responses, [f"{name}{row:02d}" for row in range(len(responses))]) for name in ("train", "test")
    }
    rois = {"front": FRONT, "back": BACK, "nowhere": NOWHERE} if rois is None else rois
    return Subject("subj01", "arrays", "arrays:memory", splits, roi="all", rois=rois)


def learned(who, roi="all", trials="averaged"):
    decoder = TrainedDecoder(TwoHeads, Recipe(steps=15, batch_size=8))
    step = Learn({"colour": TargetSource(Colour, checkpoints=())}, decoder, trials=trials, part="colour", roi=roi)
    training = Training({"subj01": who}, lambda names: dict.fromkeys(names, COLOURS))
    step.fit(training, Workspace(store=None))
    return step


def told(step, patterns):
    return step.run([], {"patterns": patterns})["colour"]


def test_an_overlap_is_counted_once():
    (mask,) = {tuple(region_of(subject(), roi)) for roi in ("front + back", "back | front", "front + back + front")}
    assert np.flatnonzero(mask).tolist() == [0, 2, 3, 5, 8]
    assert region_of(subject(), "all") is None


@pytest.mark.parametrize("lazy", [False, True])
def test_columns_of_responses(lazy):
    region = RegionVoxels("back")
    region.choose(subject())
    found = region.of(as_rows(RESPONSES) if lazy else RESPONSES)
    np.testing.assert_array_equal(np.asarray(found), RESPONSES[:, [3, 5, 8]])
    (sentence,) = region.remarks()
    assert sentence == "3 of 9 voxels, of roi back."
    whole = RegionVoxels("all")
    whole.choose(subject())
    assert whole.of(RESPONSES) is RESPONSES and whole.remarks() == []


def test_what_is_refused(tmp_path):
    region = RegionVoxels("back")
    region.choose(subject())
    with pytest.raises(InputError, match=r"Patterns have 4 voxels but the roi back was found among 9"):
        region.of(RESPONSES[:, :4])
    with pytest.raises(
        InputError, match=r"The roi 'nowhere' of subj01 .* has no voxels; those that have some are front"
    ):
        region_of(subject(), "nowhere")
    with pytest.raises(InputError, match=r"leaves no voxel"):
        region_of(subject(), "front - front")
    with pytest.raises(InputError, match=r"has no roi 'frnt'.*front"):
        region_of(subject(), "frnt")
    with pytest.raises(InputError, match="There is no file .*voxels.json"):
        read_voxels(tmp_path)


def test_what_was_written_is_read(tmp_path):
    save_voxels(tmp_path, BACK)
    assert json.loads((tmp_path / "voxels.json").read_text()) == {"n_voxels": 9, "voxels": [3, 5, 8]}
    np.testing.assert_array_equal(read_voxels(tmp_path), BACK)
    save_voxels(tmp_path / "none", None)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("trials", ["averaged", "single"])
def test_a_network_of_a_region_is_that_of_its_columns_alone(trials):
    of_region, alone = learned(subject(), "back", trials), learned(subject(RESPONSES[:, BACK], {}), trials=trials)
    np.testing.assert_array_equal(told(of_region, RESPONSES), told(alone, RESPONSES[:, BACK]))
    assert of_region.remarks()[0] == "3 of 9 voxels, of roi back."
    # It learned something.
    assert np.abs(told(of_region, RESPONSES)).max() > 0.01


def test_a_network_of_a_region_sees_no_other_voxel():
    spoilt = RESPONSES.copy()
    spoilt[:, ~BACK] = 1e6
    one, other = learned(subject(), "back"), learned(subject(spoilt), "back")
    np.testing.assert_array_equal(told(one, RESPONSES), told(other, np.where(BACK, RESPONSES, -7.0)))


def test_a_region_is_kept_with_what_was_learned(tmp_path):
    step = learned(subject(), "back")
    step.save(tmp_path)
    again = Learn({"colour": TargetSource(Colour, checkpoints=())}, step.decoder, part="colour", roi="back")
    again.open(Workspace(store=None, folder=tmp_path))
    np.testing.assert_array_equal(again.voxels, BACK)
    np.testing.assert_array_equal(told(again, RESPONSES), told(step, RESPONSES))
    with pytest.raises(InputError, match="Patterns have 4 voxels"):
        told(again, RESPONSES[:, :4])


def test_a_network_of_several_subjects_reads_all_voxels():
    decoder = TrainedDecoder(SharedTrunk, Recipe(steps=15, batch_size=8))
    with pytest.raises(InputError, match="roi is 'back' but the network of colour reads several subjects"):
        Learn({"colour": TargetSource(Colour, checkpoints=())}, decoder, roi="back")
