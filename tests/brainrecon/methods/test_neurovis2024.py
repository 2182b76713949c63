"""Neuro-Vis' parts: what each control is decoded from, scales, matching of maps, and that no test row is touched."""

import numpy as np
import pytest

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.match_quantiles import MatchQuantiles
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine, Training, Workspace
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.decoders.quantile_matching import matched, matching_table
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError

NAME, N, VOXELS = "neurovis2024", 60, 12
SETTINGS = DecoderSettings(alpha=(1.0, 10.0, 100.0))


class Depth:
    shape, n_targets = (2, 3), 6


def subject(test):
    random = np.random.default_rng(0)
    train = random.standard_normal((N, VOXELS)).astype(np.float32)
    splits = {
        "train": Split(train, [f"train{row}" for row in range(N)]),
        "test": Split(test, [f"test{row}" for row in range(len(test))]),
    }
    return Subject("subj01", "arrays", "arrays:memory", splits, roi="all"), train


def fitted(test, folds=5):
    """Decode and match fitted on a subject with these test responses; its training features are what they are."""
    who, train = subject(test)
    random = np.random.default_rng(1)
    true = train @ random.standard_normal((VOXELS, 6)).astype(np.float32) + random.standard_normal((N, 6)).astype(
        np.float32
    )
    training = Training({"subj01": who}, lambda names: dict.fromkeys(names, true))
    decode = Decode({"depth": TargetSource(Depth, checkpoints=())}, SETTINGS, Machine("cpu"), "depth")
    match = MatchQuantiles(decode, "depth", "matched_depth", Machine("cpu"), "matched_depth", folds)
    for step in (decode, match):
        step.fit(training, Workspace(store=None))
    return decode, match, train, true


def test_test_rows_are_never_touched():
    clean = np.random.default_rng(2).standard_normal((8, VOXELS)).astype(np.float32)
    (decode, match, train, _), (other, poisoned, *_) = fitted(clean), fitted(np.full_like(clean, np.nan))
    np.testing.assert_array_equal(match.fitted["quantiles"], poisoned.fitted["quantiles"])
    values = [each.run([], {"patterns": train[:4]})["depth"] for each in (decode, other)]
    np.testing.assert_array_equal(*values)
    assert np.isfinite(values[0]).all() and decode.decoder.alpha_ == other.decoder.alpha_


def test_ranks_are_those_of_predictions_out_of_fold():
    decode, match, train, true = fitted(np.zeros((2, VOXELS), np.float32))
    found = np.empty_like(true)
    for fold in range(5):
        here = np.arange(N) % 5 == fold
        ridge = RidgeDecoder(alphas=SETTINGS.alpha, device="cpu").fit_targets(train[~here], {"depth": true[~here]})
        found[here] = ridge.predict(train[here])
    np.testing.assert_allclose(match.fitted["quantiles"], matching_table(found, true), atol=1e-5)
    values = decode.run([], {"patterns": train[:5]})["depth"]
    given = match.run([], {"depth": values})["matched_depth"]
    np.testing.assert_array_equal(given, matched(values, match.fitted["quantiles"]))
    assert given.min() >= true.min() and given.max() <= true.max()


def test_what_was_matched_is_kept(tmp_path):
    _, match, *_ = fitted(np.zeros((2, VOXELS), np.float32))
    match.save(tmp_path)
    again = MatchQuantiles(match._decode, "depth", "matched_depth", Machine("cpu"), "matched_depth")
    again.open(Workspace(store=None, folder=tmp_path))
    np.testing.assert_array_equal(again.fitted["quantiles"], match.fitted["quantiles"])


def test_too_few_stimuli_for_folds_are_refused():
    with pytest.raises(InputError, match=r"60 training stimuli, too few for 31 folds .* --set matching=false"):
        fitted(np.zeros((2, VOXELS), np.float32), folds=31)


def steps(**settings):
    settings = with_weights(settings, system_class(NAME), "tiny")
    return system_class(NAME)(settings).steps(Machine("cpu"))


def test_each_control_is_decoded_by_itself_from_its_region():
    found = {
        step.gives: step.roi
        for step in steps(semantic_roi="ventral", perceptual_roi="early")
        if isinstance(step, Decode)
    }
    assert found == {("clip_text",): "ventral"} | {(name,): "early" for name in ("depth", "colour_map", "first_latent")}


def test_regions_follow_from_the_subject():
    class Known:
        rois = {"ventral": None}

    settled = system_class(NAME)().settled_by(Known)
    assert (settled.semantic_roi, settled.perceptual_roi) == ("ventral", "all")
    assert system_class(NAME)({"perceptual_roi": "V1"}).settled_by(Known).perceptual_roi == "V1"


@pytest.mark.parametrize(
    "matching, names", [(True, ("matched_depth", "matched_colour_map")), (False, ("depth", "colour_map"))]
)
def test_every_control_has_its_scale_matched_or_not(matching, names):
    drawn = steps(matching=matching, depth_scale=0.3, colour_scale=0.7)[-1]
    assert set(names) <= set(drawn.optional) and "first_latent" in drawn.optional
    told = drawn.told(frozenset({"clip_text", *names}))["weights"]
    assert told == {"clip_text": 1.0, "depth": 0.3, "colour_map": 0.7}
    assert drawn.told(frozenset({"clip_text", names[1]}))["weights"] == {
        "clip_text": 1.0,
        "depth": 0.0,
        "colour_map": 0.7,
    }


def test_published_networks_bring_the_image_too():
    system = system_class(NAME)()
    assert set(system.checkpoints) == {
        *("stable-diffusion-1-5", "clip-vit-h-14-laion2b", "ip-adapter-sd15", "dpt-large"),
        *("sd-controlnet-depth", "t2iadapter-color-sd14v1"),
    }
    drawn = system.steps(Machine("cpu"))[-1]
    assert drawn.told(frozenset(drawn.optional))["weights"] == {
        **{"clip_text": 1.0, "clip_image": 0.6, "depth": 0.5, "colour_map": 0.5}
    }
    assert drawn.told(frozenset(drawn.optional))["strength"] == 0.8
    without = system_class(NAME)(dict(system_class(NAME).without_captions)).steps(Machine("cpu"))
    assert "clip_text" not in without[-1].optional


@pytest.mark.parametrize(
    "settings", [{"depth_side": 0}, {"depth_scale": float("inf")}, {"matching": "yes"}, {"colour_side": 1.5}]
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError):
        system_class(NAME)(settings)
