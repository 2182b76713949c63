"""Brain-Diffuser with written captions: what differs from it, what the captions depend on, and what they cannot change."""

import numpy as np
import pytest
from chains import chain_of

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import to_dict
from brainrecon.cli.main import run_command
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.published import published_values
from brainrecon.runs.config import RunConfig
from brainrecon.runs.run import Run
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.ground.errors import InputError
from stages.targets.blip import BLIPStates
from stages.targets.clip import CLIPTextTokens
from stages.targets.written_captions import WrittenCaptions
from weights import store

NAME = "dbdm2023"


# The configuration


def test_it_is_brain_diffuser_but_for_the_source_of_captions():
    own, other = (to_dict(system_class(name)().settings) for name in (NAME, "brain-diffuser"))
    caption, checkpoints = own.pop("caption"), own.pop("checkpoints")
    published = {"captioner": "blip-image-captioning-large", "tokenizer": "blip-image-captioning-large"}
    assert checkpoints == other.pop("checkpoints") | published and own == other
    assert caption == {
        **{"size": 384, "normalise": "CLIP", "resampling": "bicubic"},
        **{"num_beams": 3, "max_length": 20, "min_length": 5, "repetition_penalty": 1.0, "prompt": ""},
    }


@pytest.mark.parametrize("weights", [None, "tiny"])
def test_the_chain_is_brain_diffusers_with_another_target_of_text(weights):
    own, other = (chain_of(name, {}, weights) for name in (NAME, "brain-diffuser"))
    assert repr(own) == repr(other).replace("brain-diffuser", NAME)
    assert list(own.targets) == list(other.targets) == ["vdvae", "clip_image", "clip_text"]
    for name in ("vdvae", "clip_image"):
        assert own.targets[name].checkpoints == other.targets[name].checkpoints
    captioner = "tiny-captioner" if weights else "blip-image-captioning-large"
    assert own.targets["clip_text"].checkpoints == (captioner, *other.targets["clip_text"].checkpoints)
    decode = own.steps[0]
    assert decode.settings == other.steps[0].settings and "transductive" not in str(decode.settings.rescale)
    drawing = own.system.settings.generator
    assert (drawing.strength, drawing.image_weight, drawing.text_weight) == (0.75, 0.6, 0.4)


def test_data_without_captions_lose_nothing():
    kind = system_class(NAME)
    assert kind.without_captions == {} and not kind.needs.captions and kind.protocol == "dbdm-2023"
    without = chain_of(NAME, {"text_context": False})
    assert list(without.targets) == ["vdvae", "clip_image"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"caption": {"resampling": "box"}}, "caption.resampling is 'box'"),
        ({"caption": {"num_beams": 0}}, "caption.num_beams is 0"),
        ({"text_padding": "none"}, "text_padding is 'none'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


# The distances


def test_distances_of_what_is_equal_opposite_and_unrelated():
    protocol = load_protocol("dbdm-2023")
    assert list(protocol.metrics) == ["inception_distance", "clip_distance", "swav"]
    shown, other = np.random.default_rng(0).standard_normal((2, 20, 2048))
    for spec in protocol.metrics.values():
        distance = spec.metric.function
        assert not spec.metric.higher_is_better and spec.features in protocol.networks
        np.testing.assert_allclose(distance(shown, shown), 0, atol=1e-12)
        np.testing.assert_allclose(distance(shown, 3 - 2 * shown), 2, atol=1e-12)
        # r of unrelated features spreads by 1 / sqrt(2048) = 0.022.
        np.testing.assert_allclose(distance(shown, other), 1, atol=0.11)
        by_hand = [1 - np.corrcoef(one, two)[0, 1] for one, two in zip(shown, other)]
        np.testing.assert_allclose(distance(shown, other), by_hand, atol=1e-12)


def test_published_distances_are_of_god():
    test_set = load_protocol("dbdm-2023").test_set
    assert (test_set.dataset, test_set.n_stimuli) == ("god", 50)
    (row,) = published_values("dbdm-2023")
    assert row.values == {"inception_distance": 0.611, "clip_distance": 0.225, "swav": 0.405}
    assert row.dataset == "god" and row.computed == "not established"


# The captions


@pytest.fixture(scope="module")
def target():
    return chain_of(NAME, {}, "tiny").targets["clip_text"].target


@pytest.fixture(scope="module")
def images(cohort):
    import brainrecon

    return brainrecon.load(f"nsd:{cohort}", "subj01").train.images[:6]


def test_a_caption_is_blips_own_and_always_the_same(target, images):
    folder = store.path("tiny-captioner")
    states = BLIPStates.from_pretrained(folder, size=64, normalise="CLIP", resampling="bicubic").encode(images)
    captioner = BLIPCaptioner.from_pretrained(folder, size=64)
    writing = {"num_beams": 3, "max_length": 32, "min_length": 5, "repetition_penalty": 1.0, "prompt": ""}
    items = [Item(str(row)) for row in range(len(images))]
    expected = in_order(captioner.draw({"blip": states}, items, **writing))
    captions = target.captions(images)
    assert captions == expected and len(set(captions)) > 1 and all(captions)
    assert target.captions(images[::-1], batch_size=1)[::-1] == captions
    # The values are those of the captions.
    text = CLIPTextTokens.from_pretrained(store.path("tiny-clip"), padding="zero")
    np.testing.assert_allclose(target.encode(images), text.encode([[caption] for caption in captions]), atol=1e-5)


def test_training_captions_only_training_pictures(cohort, tmp_path, monkeypatch):
    looked_at, captions = [], WrittenCaptions.captions

    def noted(self, items, *given):
        looked_at.extend(np.asarray(items).reshape(len(items), -1))
        return captions(self, items, *given)

    monkeypatch.setattr(WrittenCaptions, "captions", noted)
    kind = system_class(NAME)
    config = RunConfig.from_dict({"method": NAME, "data": {"source": f"nsd:{cohort}"}, "settings": kind.tiny})
    run = Run.create(tmp_path / "run", config, tmp_path / "features").fit()
    train, test = (split.images[:].reshape(split.n_stimuli, -1) for split in (run.subject.train, run.subject.test))
    seen = {row.tobytes() for row in looked_at}
    assert seen == {row.tobytes() for row in train} and len(looked_at) == len(train)
    assert seen.isdisjoint(row.tobytes() for row in test)
    # Nor are pictures captioned to predict for the test responses.
    run.chain.predict(run.subject.test.patterns)
    assert len(looked_at) == len(train)


@pytest.mark.parametrize("text", ["a red boat at sea", "a small cat"])
def test_one_caption_for_all_leaves_nothing_to_decode(cohort, tmp_path, monkeypatch, text):
    """The decoded text context is then the encoding of that caption, whatever the response."""
    import brainrecon

    subject = brainrecon.load(f"nsd:{cohort}", "subj01")
    monkeypatch.setattr(WrittenCaptions, "captions", lambda self, items, *given: [text] * len(items))
    reconstructor = Reconstructor(NAME, weights="tiny", features=tmp_path).fit(subject)
    found = reconstructor.predict(subject.test.patterns)["clip_text"]
    expected = CLIPTextTokens.from_pretrained(store.path("tiny-clip"), padding="zero").encode([[text]])
    np.testing.assert_allclose(found, np.repeat(expected, len(found), axis=0), atol=1e-4)


def test_without_weight_the_text_has_no_influence(target, images):
    settings = {"generator": {"image_weight": 1.0, "text_weight": 0.0, "num_inference_steps": 4}}
    weightless, both = (chain_of(NAME, each, "tiny") for each in (settings, {"generator": {"num_inference_steps": 4}}))
    texts = target.encode(images[:2]), target.encode(images[2:4])
    assert not np.array_equal(*texts)
    values = {
        "clip_image": weightless.targets["clip_image"].target.encode(images[:2]),
        "first_picture": np.asarray(images[:2]),
    }
    drawn = []
    for chain in (weightless, both):
        step = chain.steps[-1]
        items = [Item("one"), Item("two")]
        told = step.told(frozenset({"clip_image", "clip_text", "first_picture"}))
        drawn.append(
            [np.stack(in_order(step.generator.draw(values | {"clip_text": text}, items, **told))) for text in texts]
        )
    assert np.array_equal(*drawn[0]) and not np.array_equal(*drawn[1])


# A run


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    folder = tmp_path_factory.mktemp(NAME) / "run"
    line = ["run", NAME, "--weights", "tiny", f"nsd:{cohort}", "--out", str(folder), "--features", str(features)]
    few = ["--set", "generator.num_inference_steps=4", "--controls", "shuffled_responses,without_text_context"]
    assert run_command([*line, *few]) == 0
    return Run(folder, features)


def test_pictures_and_their_controls_are_scored_and_reported(run):
    assert {"reconstruction", "shuffled_responses", "without_text_context"} <= set(run.scores.conditions)
    assert NAME in run.layout.report.read_text(encoding="utf-8")


def test_which_conditions_apply():
    own, other = (
        {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(system))}
        for system in (NAME, "brain-diffuser")
    )
    assert own == other and {"shuffled_responses", "oracle_embeddings", "without_text_context"} <= own
