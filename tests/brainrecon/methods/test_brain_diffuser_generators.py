"""Brain-Diffuser's two stages with each generator: what each predicts, asks for, and refuses."""

import importlib

import numpy as np
import pytest
from chains import COMPLETE, chain_of
from stand_in_generators import StandIn, chain_with_shapes

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import ABSENT, Item
from brainrecon.methods.brain_diffuser import BrainDiffuser
from stages.ground.errors import InputError
from weights import store

# Generator, and shapes of its image and text embedding, of each system.
PUBLISHED = {
    "brain-diffuser": ("dual_context:DualContextGenerator", (257, 768), (77, 768)),
    "brain-diffuser-sd": ("ip_adapter:StableDiffusionIPAdapterGenerator", (1024,), (77, 768)),
    "brain-diffuser-sdxl": ("ip_adapter:StableDiffusionXLIPAdapterGenerator", (1024,), (77 * 2048 + 1280,)),
    "brain-diffuser-unclip": ("stable_unclip:StableUnCLIPGenerator", (768,), (77, 1024)),
    "brain-diffuser-kandinsky": ("kandinsky:KandinskyGenerator", (1280,), None),
}
TWO_STAGE = list(PUBLISHED)
MAINTAINED = [name for name in TWO_STAGE if name != "brain-diffuser"]


def shapes_of(name):
    _, image, text = PUBLISHED[name]
    return {"vdvae": (91168,), "clip_image": image} | ({"clip_text": text} if text else {})


@pytest.fixture
def assembled(monkeypatch):
    """A chain with targets of the published shapes, and a generator that stands in for the published one."""

    def assemble(name, settings=None, **shapes):
        module, _, generator = PUBLISHED[name][0].partition(":")
        takes = {value: shape for value, shape in shapes_of(name).items() if value != "vdvae"}
        monkeypatch.setattr(
            getattr(importlib.import_module(f"stages.generators.diffusion.{module}"), generator),
            "from_pretrained",
            lambda folder, **options: StandIn(folder, takes, **options),
        )
        monkeypatch.setattr(system_class(name), "folder", lambda self, role: f"folder of {self._roles[role]}")
        return chain_with_shapes(name, settings or {}, shapes_of(name) | shapes)

    return assemble


def test_the_table_has_every_system_of_two_stages():
    # brain-diffuser's generator, for data without captions, and behind aligned patterns; and contours of a VDVAE's picture.
    others = {"dbdm2023", "ferrante2023-alignment", "mindldm2024"}
    assert {*TWO_STAGE, *others} == {name for name in COMPLETE if "vdvae" in chain_of(name).given}


@pytest.mark.parametrize("name", TWO_STAGE)
def test_every_checkpoint_of_a_system_is_in_the_manifest_and_says_so(name):
    named = set(system_class(name)().checkpoints)
    known = store.checkpoints()
    assert {entry.name for entry in known.values() if name in entry.needed_by and not entry.embedded} == named


@pytest.mark.parametrize("name", TWO_STAGE)
def test_the_generator_is_made_from_the_systems_checkpoints_and_settings(assembled, name):
    chain = assembled(name, {"generator": {"scheduler": "unipc", "acceleration": {"dtype": "bfloat16"}}})
    checkpoints, generator = chain.system.settings.checkpoints, chain.steps[-1].generator
    assert generator.folder == f"folder of {checkpoints.generator}"
    options = generator.options
    assert (
        options["scheduler"] == "unipc" and options["acceleration"].dtype == "bfloat16" and options["device"] == "cpu"
    )
    further = {"adapter": "ip_adapter", "prior": "prior_folder"}
    for role, argument in further.items():
        assert options.get(argument) == (
            f"folder of {getattr(checkpoints, role)}" if hasattr(checkpoints, role) else None
        )
    assert "scheduler" not in assembled(name).steps[-1].generator.options


def draw(chain, absent=()):
    """Draw two samples of two stimuli; what the generator was asked for, beside what the step was given."""
    items = [Item("", name, sample) for name in "ab" for sample in range(2)]
    random, step = np.random.default_rng(0), chain.steps[-1]
    values = {
        name: random.normal(size=(4, source.target.n_targets)).astype(np.float32)
        for name, source in chain.targets.items()
    } | {"first_picture": np.zeros((4, 64, 64, 3), np.uint8)}
    read = {name: values[name] for name in (*step.reads, *step.optional)} | dict.fromkeys(absent, ABSENT)
    assert len(list(step.stream(items, read))) == 4
    ((given, asked, settings),) = step.generator.asked
    assert asked == items
    return given, read, settings


@pytest.mark.parametrize("name", TWO_STAGE)
def test_the_generator_is_given_what_it_takes(assembled, name):
    chain = assembled(name)
    given, read, settings = draw(chain)
    assert set(given) == {*chain.steps[-1].generator.takes, "first_picture"}
    for value, rows in read.items():
        np.testing.assert_array_equal(given[value], rows)
    assert settings["strength"] == 0.75 and set(settings["weights"]) == set(chain.steps[-1].generator.takes)


@pytest.mark.parametrize(
    ("name", "itself", "without_image", "without_text"),
    [
        ("brain-diffuser", (0.6, 0.4), (0.0, 1.0), (1.0, 0.0)),
        ("brain-diffuser-sd", (0.6, 1.0), (0.0, 1.0), (0.6, 0.0)),
        ("brain-diffuser-sdxl", (0.6, 1.0), (0.0, 1.0), (0.6, 0.0)),
        ("brain-diffuser-unclip", (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)),
    ],
)
def test_weights_of_the_contexts_with_either_taken_away(assembled, name, itself, without_image, without_text):
    for absent, weights in (((), itself), (("clip_image",), without_image), (("clip_text",), without_text)):
        given, _, settings = draw(assembled(name), absent)
        assert settings["weights"] == dict(zip(("clip_image", "clip_text"), weights))
        assert [given[value] is None for value in ("clip_image", "clip_text")] == [
            value in absent for value in ("clip_image", "clip_text")
        ]


@pytest.mark.parametrize("name", MAINTAINED)
def test_embeddings_of_another_generator_are_refused(assembled, name):
    chain = assembled(name, clip_image=(257, 768))
    with pytest.raises(
        InputError, match=r"Target clip_image of checkpoint \S+ has shape \(257, 768\) but the generator"
    ):
        chain.steps[-1].generator


def test_a_generator_that_needs_what_the_system_does_not_predict_is_told_which(assembled):
    with pytest.raises(
        InputError,
        match=r"takes clip_text of shape \(77, 768\) but this method gives it clip_image, first_picture only",
    ):
        assembled("brain-diffuser-sd", {"text_context": False}).steps[-1].generator


def test_tiny_weights_stand_in_if_there_are_some():
    for name in TWO_STAGE:
        kind = system_class(name)
        checkpoints = kind(with_weights({}, kind, "tiny")).settings.checkpoints
        assert checkpoints.vdvae == "tiny-vdvae"
        assert checkpoints.generator == (
            "tiny-generator" if name == "brain-diffuser" else kind().settings.checkpoints.generator
        )
    own = with_weights({"checkpoints": {"vdvae": "vdvae-cifar10"}}, BrainDiffuser, "tiny")
    assert own["checkpoints"] == {"vdvae": "vdvae-cifar10", "clip": "tiny-clip", "generator": "tiny-generator"}
    assert own["text_padding"] == "zero" and BrainDiffuser().settings.text_padding == "end"
    assert with_weights({"text_padding": "end"}, BrainDiffuser, "tiny")["text_padding"] == "end"
    assert with_weights({}, BrainDiffuser, "published") == {}
    with pytest.raises(InputError, match="no weights 'small'"):
        with_weights({}, BrainDiffuser, "small")


def test_an_absent_checkpoint_says_how_to_come_by_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    with pytest.raises(store.CheckpointError, match="weights pull.*--weights tiny"):
        chain_of("brain-diffuser").targets["vdvae"].target
