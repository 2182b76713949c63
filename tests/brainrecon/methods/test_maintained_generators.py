"""The two-stage method with maintained generators: what each predicts, asks for, and refuses."""

import importlib

import numpy as np
import pytest
from brainrecon.methods.two_stage import TwoStageMethod

from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict, with_weights
from brainrecon.methods.brain_diffuser import BrainDiffuser
from stages.ground.errors import InputError
from weights import store

TWO_STAGE = [name for name in METHODS if issubclass(system_class(name), TwoStageMethod)]
MAINTAINED = [name for name in TWO_STAGE if name != "brain-diffuser"]
# Image and text embedding of each published generator.
SHAPES = {
    "brain-diffuser": ((257, 768), (77, 768)),
    "brain-diffuser-sd": ((1024,), (77, 768)),
    "brain-diffuser-sdxl": ((1024,), (77 * 2048 + 1280,)),
    "brain-diffuser-unclip": ((768,), (77, 1024)),
    "brain-diffuser-kandinsky": ((1280,), None),
}


class Shaped:
    """A target of which only the shape matters."""

    def __init__(self, *shape):
        self.shape, self.n_targets = shape, int(np.prod(shape))


class Generator:
    """Stands in for a generator: keeps what it was made from, and draws nothing."""

    def __init__(self, folder, image_context_shape, text_context_shape, **options):
        self.folder, self.options = folder, options
        self.image_context_shape, self.text_context_shape = image_context_shape, text_context_shape


@pytest.fixture
def assembled(monkeypatch):
    """A method with targets of the published shapes and a generator that stands in for the published one."""

    def assemble(name, settings=None, **targets):
        kind = system_class(name)
        module, generator = kind.generator_class
        monkeypatch.setattr(
            getattr(importlib.import_module(module), generator),
            "from_pretrained",
            lambda folder, **options: Generator(folder, *SHAPES[name], **options),
        )
        monkeypatch.setattr(kind, "checkpoint_folder", lambda self, checkpoint: f"folder of {checkpoint}")
        method = kind(settings or {})
        image, text = SHAPES[name]
        shapes = {"vdvae": (91168,), "clip_image": image} | ({"clip_text": text} if text else {}) | targets
        method.targets = {key: Shaped(*shape) for key, shape in shapes.items() if shape}
        return method

    return assemble


@pytest.mark.parametrize("name", TWO_STAGE)
def test_every_checkpoint_of_a_method_is_in_the_manifest_and_says_so(name):
    checkpoints = vars(system_class(name)().settings.checkpoints)
    known = store.checkpoints()
    for checkpoint in checkpoints.values():
        assert name in known[checkpoint].needed_by, checkpoint
    assert {entry.name for entry in known.values() if name in entry.needed_by and not entry.embedded} == set(
        checkpoints.values()
    )


@pytest.mark.parametrize("name", TWO_STAGE)
def test_settings_survive_their_file(name):
    kind = system_class(name).settings_class
    assert from_dict(kind, to_dict(kind())) == kind()


@pytest.mark.parametrize("name", TWO_STAGE)
def test_the_generator_is_made_from_the_methods_checkpoints_and_settings(assembled, name):
    method = assembled(name, {"generator": {"scheduler": "unipc", "acceleration": {"dtype": "bfloat16"}}})
    checkpoints = method.settings.checkpoints
    assert method.generator.folder == f"folder of {checkpoints.generator}"
    options = method.generator.options
    assert (
        options["scheduler"] == "unipc" and options["acceleration"].dtype == "bfloat16" and options["device"] == "cpu"
    )
    further = {"adapter": "ip_adapter", "prior": "prior_folder"}
    for role, argument in further.items():
        assert options.get(argument) == (
            f"folder of {getattr(checkpoints, role)}" if hasattr(checkpoints, role) else None
        )


@pytest.mark.parametrize("name", TWO_STAGE)
def test_requests_carry_what_the_generator_takes(assembled, name):
    method = assembled(name)
    random = np.random.default_rng(0)
    embeddings = {
        key: random.normal(size=(2, target.n_targets)).astype(np.float32) for key, target in method.targets.items()
    }
    stage_one = np.zeros((2, 64, 64, 3), np.uint8)
    requests = method.requests(RECONSTRUCTION, ["a", "b"], embeddings, stage_one, (0, 1))
    image, text = SHAPES[name]
    assert [(one.stimulus_id, one.sample) for one in requests] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    np.testing.assert_array_equal(requests[2].image_context, embeddings["clip_image"][1].reshape(image))
    if text is None:
        assert requests[0].text_context is None and requests[0].context_weights == (1.0, 0.0)
        assert "without_text_context" not in method.conditions
    else:
        np.testing.assert_array_equal(requests[2].text_context, embeddings["clip_text"][1].reshape(text))
    assert all(one.strength == 0.75 for one in requests)


@pytest.mark.parametrize(
    ("name", "itself", "without_image", "without_text"),
    [
        ("brain-diffuser", (0.6, 0.4), (0.0, 1.0), (1.0, 0.0)),
        ("brain-diffuser-sd", (0.6, 1.0), (0.0, 1.0), (0.6, 0.0)),
        ("brain-diffuser-sdxl", (0.6, 1.0), (0.0, 1.0), (0.6, 0.0)),
        ("brain-diffuser-unclip", (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)),
    ],
)
def test_weights_of_the_contexts_under_each_condition(name, itself, without_image, without_text):
    method = system_class(name)()
    assert method.context_weights(RECONSTRUCTION) == itself
    assert method.context_weights("without_image_context") == without_image
    assert method.context_weights("without_text_context") == without_text


@pytest.mark.parametrize("name", MAINTAINED)
def test_embeddings_of_another_generator_are_refused(assembled, name):
    with pytest.raises(InputError, match=r"Target clip_image .* has shape \(257, 768\) but generator .* takes"):
        assembled(name, clip_image=(257, 768)).generator  # noqa: B018


def test_a_decoder_without_a_target_that_the_generator_takes_is_told_which(assembled):
    method = assembled("brain-diffuser-sd", clip_text=())
    with pytest.raises(
        InputError, match=r"takes clip_text of shape \(77, 768\) but the decoder predicts vdvae, clip_image only"
    ):
        method.generator  # noqa: B018


def test_tiny_weights_stand_in_where_there_are_some():
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
        BrainDiffuser().targets  # noqa: B018
