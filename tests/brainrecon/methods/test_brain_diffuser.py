"""Brain-Diffuser at the paper's settings, and what its conditions ask of the generator."""

import json

import numpy as np
import pytest
from made_up_systems import system_of
from safetensors.numpy import load_file
from stand_in_generators import Shaped, StandIn, chain_with_shapes

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import ABSENT, Item, Machine, Prediction, Training
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.features.store import FeatureStore
from brainrecon.methods.brain_diffuser import BrainDiffuser
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.generators.diffusion.versatile_diffusion import GREY
from stages.ground.errors import InputError

SHAPES = {"vdvae": (7,), "clip_image": (5, 4), "clip_text": (3, 4)}
ITEMS = [Item("subj01", name, sample) for name in "ab" for sample in range(2)]


@pytest.fixture
def values():
    """What the last step reads for four items."""
    random = np.random.default_rng(0)
    contexts = {name: random.normal(size=(4, int(np.prod(SHAPES[name])))) for name in ("clip_image", "clip_text")}
    return contexts | {"first_picture": random.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)}


def asked_of(chain, values):
    """What the generator of a chain is asked for: values, items, settings."""
    step = chain.steps[-1]
    generator = StandIn("nowhere", {name: SHAPES[name] for name in ("clip_image", "clip_text")}, SHAPES)
    vars(step)["generator"] = generator
    drawn = list(step.stream(ITEMS, {name: values[name] for name in (*step.reads, *step.optional)}, batch_size=2))
    assert [position for position, _ in drawn] == [0, 1, 2, 3] and list(drawn[0][1]) == ["picture"]
    (asked,) = generator.asked
    return asked


def test_the_papers_settings():
    settings = BrainDiffuser().settings.generator
    assert (settings.strength, settings.num_inference_steps) == (0.75, 50)
    assert (settings.image_weight, settings.text_weight) == (0.6, 0.4)


def test_pictures_are_prepared_and_stored_as_published():
    settings = BrainDiffuser().settings
    assert settings.clip_pictures == "enlarged" and settings.text_padding == "end"
    assert settings.generator.greys == settings.vdvae.greys == "cut off"
    # None is the checkpoint's own, of Versatile Diffusion 127.
    assert settings.unconditional_grey is None and GREY == 127
    # The embedded networks do as they were trained and measured.
    tiny = Reconstructor("brain-diffuser", weights="tiny").chain.system.settings
    assert tiny.clip_pictures == "direct" and tiny.generator.greys == tiny.vdvae.greys == "rounded"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clip_pictures": "small"}, "clip_pictures is 'small'; .*: pass --set clip_pictures=enlarged"),
        ({"unconditional_grey": 128}, "unconditional_grey is 128.0; expected one of 127.0, 127.5, None"),
        ({"start_posterior": "mean"}, "start_posterior is 'mean'; expected one of 'mode', 'sample'"),
        ({"noised_to": "nowhere"}, "noised_to is 'nowhere'"),
        ({"text_padding": "none"}, "text_padding is 'none'"),
        ({"generator": {"greys": "floor"}}, "generator.greys is 'floor'"),
        ({"vdvae": {"greys": "floor"}}, "vdvae.greys is 'floor'"),
        ({"vdvae": {"temperature": -0.1}}, "vdvae.temperature is -0.1"),
        ({"vdvae": {"sample_seed": -1}}, "vdvae.sample_seed is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        BrainDiffuser(settings)


def test_settings_reach_the_targets(monkeypatch):
    """What a target is told: of pictures for CLIP, and of draws from the posterior."""
    told = {}

    def loaded(self, place, role, machine, **options):
        told[role if role not in told else f"{role} {place}"] = options
        return TargetSource(lambda: None, ())

    monkeypatch.setattr(BrainDiffuser, "target", loaded)
    for settings in ({}, {"vdvae": {"sample_seed": 3}, "clip_pictures": "direct"}):
        told.clear()
        BrainDiffuser(settings).steps(Machine())
        assert told["vdvae"] == {"sample_seed": 3 if settings else None}
        assert told["clip"] == {"pictures": "direct" if settings else "enlarged"}


@pytest.mark.parametrize("grey", [None, 127.5])
def test_settings_reach_the_generator(monkeypatch, grey):
    told = []
    monkeypatch.setattr(DualContextGenerator, "from_pretrained", lambda folder, **given: told.append(given))
    chain = chain_with_shapes("brain-diffuser", {"unconditional_grey": grey} if grey else {}, SHAPES)
    monkeypatch.setattr(BrainDiffuser, "folder", lambda self, role: role)
    chain.steps[-1]._load()
    (given,) = told
    assert given.get("unconditional_grey") == grey and given["start"] == StartRule()
    published = {"start_posterior": "sample", "noised_to": "step before"}
    chain_with_shapes("brain-diffuser", published, SHAPES).steps[-1]._load()
    assert told[1]["start"] == StartRule("sample", noised_to="step before")


def test_its_chain():
    chain = chain_with_shapes("brain-diffuser", {}, SHAPES)
    assert repr(chain) == (
        "Chain(brain-diffuser: Decode(vdvae, clip_image, clip_text) -> Show(first_picture) -> Draw(picture))"
    )
    assert [step.by_lot for step in chain.steps] == [False, False, True]


def test_the_generator_is_handed_each_items_own_values(values):
    given, items, settings = asked_of(chain_with_shapes("brain-diffuser", {}, SHAPES), values)
    assert items == ITEMS
    for name, rows in values.items():
        np.testing.assert_array_equal(given[name], rows)
    assert settings == {
        "num_inference_steps": 50,
        "guidance_scale": None,
        "strength": 0.75,
        "weights": {"clip_image": 0.6, "clip_text": 0.4},
        "greys": "cut off",
    }


@pytest.mark.parametrize(
    "absent, weights, strength",
    [
        ((), (0.6, 0.4), 0.75),
        (("first_picture",), (0.6, 0.4), 1.0),
        (("clip_image",), (0.0, 1.0), 0.75),
        (("clip_text",), (1.0, 0.0), 0.75),
    ],
)
def test_what_is_taken_away_the_rest_makes_up_for(values, absent, weights, strength):
    chain = chain_with_shapes("brain-diffuser", {}, SHAPES)
    given, _, settings = asked_of(chain, values | dict.fromkeys(absent, ABSENT))
    assert settings["weights"] == dict(zip(("clip_image", "clip_text"), weights))
    assert settings["strength"] == strength
    assert {name for name, rows in given.items() if rows is None} == set(absent)
    assert chain.steps[-1].told(frozenset(values) - set(absent)) == settings


def test_without_captions_the_image_context_stands_alone(values):
    chain = chain_with_shapes("brain-diffuser", {"text_context": False}, SHAPES)
    assert list(chain.targets) == ["vdvae", "clip_image"]
    given, _, settings = asked_of(chain, values)
    assert "clip_text" not in given and settings["weights"] == {"clip_image": 1.0, "clip_text": 0.0}


def test_first_pictures_are_decoded_one_at_a_time(values):
    """Stage two starts from these bytes, which must not depend on who else is in the batch."""
    chain, decoded = chain_with_shapes("brain-diffuser", {}, SHAPES), []

    def decode(latents, batch_size, greys):
        decoded.append((latents, batch_size, greys))
        return values["first_picture"]

    chain.targets["vdvae"].target.decode = decode
    latents = np.arange(28.0).reshape(4, 7)
    found = chain.steps[1].run(ITEMS, {"vdvae": list(latents)})
    ((seen, batch_size, greys),) = decoded
    assert batch_size == 1 and greys == "cut off" and seen.dtype == np.float32
    np.testing.assert_array_equal(seen, latents)
    np.testing.assert_array_equal(found["first_picture"], values["first_picture"])


@pytest.fixture
def subject():
    random = np.random.default_rng(1)
    patterns = random.normal(size=(30, 12)).astype(np.float32)
    images = random.integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
    splits = {
        "train": Split(patterns, [f"s{row}" for row in range(30)], images=images),
        "test": Split(patterns[:3] + 1, ["a", "b", "c"], images=images[:3] // 2),
    }
    return Subject("subj01", "arrays", "arrays:x", splits, roi="all")


def test_fit_then_save_then_load(subject, tmp_path):
    random = np.random.default_rng(2)
    features = {name: random.normal(size=(30, int(np.prod(s)))).astype(np.float32) for name, s in SHAPES.items()}
    chain = chain_with_shapes("brain-diffuser", {}, SHAPES)
    chain.fit(Training({"subj01": subject}, lambda names: {name: features[name] for name in names})).save(tmp_path)
    loaded = Reconstructor.from_pretrained(tmp_path)
    assert loaded.chain.system.settings == chain.system.settings
    for name, values in chain.predict(subject.test.patterns).items():
        assert values.shape == features[name][:3].shape
        np.testing.assert_array_equal(loaded.predict(subject.test.patterns)[name], values)


class Random(Shaped):
    """A target whose values are drawn at random, the same each time."""

    name, takes, preprocessing = "random", "images", {}

    def encode(self, images):
        return np.random.default_rng(3).normal(size=(len(images), self.n_targets)).astype(np.float32)


def test_a_decoder_that_reads_the_feature_store_is_opened_and_saved_any_number_of_times(subject, tmp_path):
    store, settings = FeatureStore(tmp_path / "store"), {"decoder": {"keep": "factorisation"}}
    chain = chain_with_shapes("brain-diffuser", settings, SHAPES)
    tables = {
        name: store.encode(
            Random(*shape), subject.train.images, subject.train.stimulus_ids, dataset=name, checkpoint="none"
        )
        for name, shape in SHAPES.items()
    }
    chain.fit(Training({"subj01": subject}, lambda names: {name: tables[name] for name in names}), store=store)
    before = chain.predict(subject.test.patterns)
    for folder in (tmp_path / "one", tmp_path / "two"):
        chain.save(folder)
        chain = chain_with_shapes("brain-diffuser", settings, SHAPES).open(folder, store)
        known = json.loads((folder / "method.json").read_text())
        assert known["features"] == {name: table.folder.name for name, table in tables.items()}
        for name, values in chain.predict(subject.test.patterns).items():
            np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("folder", [None, "decoder"])
def test_a_chain_may_decode_twice(subject, tmp_path, folder):
    random = np.random.default_rng(4)
    features = {name: random.normal(size=(30, int(np.prod(s)))).astype(np.float32) for name, s in SHAPES.items()}
    settings = BrainDiffuser().settings.decoder
    sources = chain_with_shapes("brain-diffuser", {}, SHAPES).targets
    parts = {"": ["vdvae"], "contexts": ["clip_image", "clip_text"]}
    steps = [Decode({n: sources[n] for n in names}, settings, Machine(), part) for part, names in parts.items()]
    chain = Chain(system_of(*steps, output="clip_text"))
    training = Training({"subj01": subject}, lambda names: {name: features[name] for name in names})
    predictions = {
        part: Prediction(subject.test.patterns, ("a", "b", "c"), tmp_path / f"test{part}.safetensors") for part in parts
    }
    chain.fit(training, folder and tmp_path / folder, predictions=predictions)
    found = chain.predict(subject.test.patterns)
    for name, values in found.items():
        alone = RidgeDecoder().fit_targets(subject.train.patterns, {name: features[name]})
        np.testing.assert_allclose(values, alone.split(alone.predict(subject.test.patterns))[name], atol=1e-4)
    if folder:
        for part, names in parts.items():
            filed = load_file(tmp_path / f"test{part}.safetensors")
            assert sorted(filed) == sorted(names)
            for name in names:
                np.testing.assert_allclose(filed[name], found[name], atol=1e-4)


def test_settings_are_strict():
    with pytest.raises(InputError, match="'generator.strength'"):
        BrainDiffuser({"generator": {"strenght": 1.0}})
    with pytest.raises(InputError, match="expected one of .*brain-diffuser"):
        system_class("mind-reader")


def test_penalties_may_name_the_text_that_data_without_captions_do_without():
    penalties = {"decoder": {"alpha": {"vdvae": 1.0, "clip_image": 2.0, "clip_text": 3.0}}, "text_context": False}
    assert list(chain_with_shapes("brain-diffuser", penalties, SHAPES).targets) == ["vdvae", "clip_image"]
    with pytest.raises(InputError, match="decoder.alpha names the target 'clip'; expected some of vdvae, clip_image"):
        chain_with_shapes("brain-diffuser", {"decoder": {"alpha": {"clip": 1.0}}}, SHAPES)
