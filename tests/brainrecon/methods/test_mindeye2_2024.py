"""MindEye2: what its scripts do in numbers, its options, and the published chain on random weights."""

import numpy as np
import pytest
import torch
from chains import chain_of
from safetensors.torch import load_file
from single_files import (
    SMALL_UNET,
    SMALL_VAE,
    UNCLIP_CONFIG,
    autoencoder_tensors,
    random_state,
    save_sdxl,
    save_unclip,
    unet_tensors,
    write_configs,
)
from single_files import sigmas as noise_levels
from small_systems import SMALL
from stand_in_generators import StandIn, chain_with_shapes

import brainrecon
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.features.store import FeatureStore
from brainrecon.runs.run import Run
from stages.generators.diffusion.stable_diffusion_xl import StableDiffusionXLGenerator
from stages.generators.diffusion.start_rule import denoising_steps
from stages.generators.diffusion.unclip_xl import UnCLIPXLGenerator
from stages.ground.errors import InputError

NAME = "mindeye2-2024"
TOKENS = ("clip_rough", "clip_retrieval", "clip_image")


# What is published


def test_the_chain_in_the_published_order():
    chain = chain_of(NAME)
    assert repr(chain) == (
        "Chain(mindeye2-2024: Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> "
        "Draw(caption) -> Draw(drawn_picture) -> EachSample(picture))"
    )
    learned, refine, *_, last = chain.steps
    assert (learned.averages, learned.n_trials, learned.for_new_subject) == ("outputs", 3, "go on")
    assert [type(one).__name__ for one in last.steps] == ["Draw", "Blend"]
    assert last.optional == ("caption", "drawn_picture", "first_picture")
    assert refine.told(frozenset()) == {"prior evaluations": 19}
    assert refine._unit_token is False


def test_targets_are_what_the_scripts_encode():
    chain = chain_of(NAME)
    tokens, latent = chain.targets["clip_retrieval"], chain.targets["sd_latent"]
    assert chain.targets["clip_rough"] is tokens is chain.targets["clip_image"]
    assert tokens.checkpoints == ("clip-vit-bigg-14-laion2b",) and latent.checkpoints == (
        "sd-image-variations-autoencoder",
    )
    assert chain.learned_targets["places"].checkpoints == ("vicregl-convnext-xl",)
    settings = chain.system.settings
    assert (settings.greys, settings.latent_size, settings.decoder.teacher_size) == ("washed out", 224, 224)
    assert (settings.blurry_share, settings.picture_size) == (0.25, 256)


def test_captions_are_written_as_in_the_script():
    (written,) = (step for step in chain_of(NAME).steps if step.gives == ("caption",))
    told = written.told(frozenset({"clip_image"}))
    assert (told["max_length"], told["num_beams"]) == (20, 1) and not written.by_lot


@pytest.fixture
def asked(monkeypatch):
    """What a step's generator is loaded with and asked for, for one item."""

    def ask(kind, takes, step, values):
        monkeypatch.setattr(
            kind, "from_pretrained", lambda folder, **options: StandIn(folder, takes, list(takes), **options)
        )
        monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
        monkeypatch.setattr(step, "_sources", {})
        read = {name: values[name] for name in (*step.reads, *step.optional)}
        list(step.stream([Item("", "a")], read))
        return step.generator

    return ask


def test_unclip_is_asked_for_what_the_scripts_do(asked):
    chain = chain_with_shapes(NAME, {}, dict.fromkeys(TOKENS, (256, 1664)) | {"sd_latent": (4, 28, 28)})
    (step,) = (one for one in chain.steps if one.gives == ("drawn_picture",))
    generator = asked(UnCLIPXLGenerator, {"clip_image": (256, 1664)}, step, {"clip_image": np.zeros((1, 256 * 1664))})
    _, _, settings = generator.asked[-1]
    assert (settings["num_inference_steps"], settings["guidance_scale"], settings["strength"]) == (38, 5.0, 1.0)
    assert (generator.options["picture_size"], generator.options["n_tokens"]) == (256, 256)
    assert "scheduler" not in generator.options


def test_the_drawn_picture_is_redrawn_as_in_the_scripts(asked):
    step = chain_of(NAME).steps[-1].steps[0]
    values = {"caption": ["a boat"], "drawn_picture": np.zeros((1, 256, 256, 3), np.uint8)}
    generator = asked(StableDiffusionXLGenerator, {"caption": ()}, step, values)
    given, _, settings = generator.asked[-1]
    assert given.keys() == {"caption", "first_picture"} and given["caption"] == ["a boat"]
    assert (settings["num_inference_steps"], settings["guidance_scale"]) == (25, 5.0)
    assert denoising_steps(settings["strength"], 25) == 12
    assert generator.folder == "folder of sdxl-zavychroma"


# Options


CHAINS = {
    "Learn(clip_rough, clip_retrieval) -> Refine(clip_image) -> Draw(caption)": {"output": "caption"},
    "Learn(clip_rough, clip_retrieval)": {"output": "tokens"},
    "Learn(clip_retrieval)": {"output": "tokens", "prior": "none"},
    "Learn(clip_rough, clip_retrieval) -> Refine(clip_image) -> Draw(caption) -> Draw(drawn_picture) -> Draw(picture)": {
        "blurry": False
    },
    "Learn(clip_rough, clip_retrieval) -> Refine(clip_image) -> Draw(picture)": {
        "blurry": False,
        "redraws_with": "nothing",
    },
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> EachSample(picture)": {
        "redraws_with": "nothing"
    },
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> Draw(caption) -> "
    "EachSample(picture)": {"draws_with": "nothing"},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> Draw(caption) -> "
    "Draw(drawn_picture) -> Draw(picture)": {"blurry_share": 0},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Refine(clip_image) -> Show(first_picture) -> Draw(caption) -> "
    "Draw(drawn_picture) -> Encode(clip_text) -> EachSample(picture)": {"redraws_with": "stable-diffusion"},
    "Learn(clip_retrieval, sd_latent) -> Remember(clip_image) -> Show(first_picture) -> Draw(caption) -> Draw(drawn_picture) "
    "-> EachSample(picture)": {"prior": "nearest"},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> AsDecoded(clip_image) -> Show(first_picture) -> Draw(caption) -> "
    "Draw(drawn_picture) -> EachSample(picture)": {"prior": "none"},
    "Learn(clip_rough, clip_retrieval, sd_latent) -> Show(picture)": {
        "draws_with": "nothing",
        "redraws_with": "nothing",
    },
}


@pytest.mark.parametrize(("expected", "settings"), CHAINS.items())
def test_every_step_is_an_option(expected, settings):
    chain = chain_of(NAME, settings)
    assert repr(chain) == f"Chain({NAME}: {expected})"
    named = set(chain.system.checkpoints)
    assert ("sdxl-unclip" in named) == ("drawn_picture" in expected or "-> Draw(picture)" in expected or "-> EachSample" in
            expected and settings.get("draws_with") != "nothing")  # fmt: skip
    assert ("git-large-coco" in named) == ("caption" in expected)
    assert ("sd-image-variations-autoencoder" in named) == ("sd_latent" in expected) == ("vicregl-convnext-xl" in named)


def test_readers_of_a_score_are_told_of_the_blend_and_of_variants():
    def notes(**settings):
        return " ".join(chain_of(NAME, settings).system.notes)

    assert notes() == "Of every picture 25% is the blurry one, as published."
    assert notes(blurry=False) == notes(blurry=False, redraws_with="nothing") == ""
    assert "nobody published: drawn with nothing, redrawn with sdxl" in notes(draws_with="nothing")
    assert notes(output="tokens") == ""


def test_a_caption_has_its_own_protocol():
    assert chain_of(NAME, {"output": "caption"}).system.protocol == "brainhub-2024"
    assert (chain_of(NAME).system.protocol, chain_of(NAME).system.many_subjects) == ("mindeye2-2024", "together")


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"output": "film"}, "output is 'film'"),
        ({"greys": "grey"}, "greys is 'grey'"),
        ({"averages": "voxels"}, "averages is 'voxels'"),
        ({"n_trials": 0}, "n_trials is 0"),
        ({"prior": "gaussian"}, "prior is 'gaussian'"),
        ({"draws_with": "sdxl"}, "draws_with is 'sdxl'"),
        ({"redraws_with": "unclip"}, "redraws_with is 'unclip'"),
        ({"blurry_share": 1.25}, "blurry_share is 1.25"),
        ({"picture_size": 0}, "picture_size is 0"),
        ({"draws_with": "nothing", "blurry": False}, "there is no picture; .* draws_with=sdxl-unclip"),
        ({"bank": "somewhere"}, "bank is 'somewhere' but prior 'diffusion' reads none"),
        ({"decoder": {"prior_weight": 0}}, "prior_weight is 0.0 but prior is 'diffusion'"),
        ({"decoder": {"mixer": "mlp"}}, "mixer is 'mlp'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_settings_of_drawing_are_none_of_learning():
    kind = system_class(NAME)
    settings = kind().settings
    for name in kind.of_drawing:
        owner, _, last = name.rpartition(".")
        assert hasattr(getattr(settings, owner) if owner else settings, last), name


# The published chain on random weights


@pytest.fixture(scope="module")
def random_generators(tmp_path_factory):
    """Folders of a small SDXL unCLIP that reads tokens of tiny-clip, and of a small SDXL."""
    unclip = tmp_path_factory.mktemp("unclip")
    parts = {
        "model.diffusion_model.": unet_tensors(**SMALL_UNET, context=128, labels=4 * 256),
        "first_stage_model.": autoencoder_tensors(**SMALL_VAE),
    }
    state = {part + name: value for part, shapes in parts.items() for name, value in random_state(shapes).items()} | {
        "denoiser.sigmas": noise_levels()
    }
    save_unclip(unclip, state)
    write_configs(unclip, UNCLIP_CONFIG | {"cross_attention_dim": 128})
    return {"generator": str(unclip), "redrawer": str(save_sdxl(tmp_path_factory.mktemp("sdxl")))}


def fitted(cohort, settings, features, weights="tiny"):
    subject = brainrecon.load(f"nsd:{cohort}", subject="subj01")
    kind = system_class(NAME)
    system = kind(with_weights(settings, kind, weights))
    chain = Chain(kind(system.settled_by(subject)))
    return chain.fit_in_memory(subject, FeatureStore(features)) or chain, subject


def test_all_published_steps_run_in_a_row(cohort, features, random_generators):
    small = SMALL[NAME].nested()
    settings = small | {"draws_with": "sdxl-unclip", "redraws_with": "sdxl", "picture_size": 16}
    settings["checkpoints"] = random_generators
    chain, subject = fitted(cohort, settings, features)
    assert "Draw(drawn_picture) -> EachSample(picture)" in repr(chain)
    ids, patterns = subject.test.stimulus_ids[:2], subject.test.patterns[:2]
    found = chain.run_from_patterns(ids, patterns, samples=2)
    assert found.shape == (2, 2, 16, 16, 3) and found.dtype == np.uint8
    # Samples differ, and a picture does not depend on what is drawn beside it, to a grey level.
    assert np.abs(found[:, 0].astype(int) - found[:, 1]).max() > 5
    alone = chain.run_from_patterns(ids[1:], patterns[1:], samples=1)
    assert np.abs(alone[0, 0].astype(int) - found[1, 0]).max() <= 1


def test_a_step_of_learning_moves_what_it_should():
    """One step at the small size: everything but the dead half of the mixer moves by more than its decay."""
    step = chain_of(NAME, SMALL[NAME].nested(), "tiny").steps[0]
    decoder = step.decoder
    network = decoder.make(
        {"subj01": 9, "subj02": 7}, {name: one.outline.shape for name, one in step.targets.items()}, **decoder.arguments
    )
    objectives = decoder.objectives(network)
    torch.manual_seed(0)
    patterns = objectives[0].before({"subj01": torch.randn(3, 9), "subj02": torch.randn(3, 7)}, 0)
    outputs = network(patterns)
    targets = {name: torch.randn_like(outputs[name]) for name in step.targets}
    sum(one(outputs, targets, 0)[0] for one in objectives).backward()
    for name, one in network.named_parameters():
        if "mixer_blocks1" in name:
            assert (one.grad == 0).all(), name
        elif "b_maps_projector" not in name and one.requires_grad:
            # A normalisation of one value gives its bias alone.
            dead = ("mixer_blocks2" in name and name.endswith(("0.weight",))) or "null_" in name
            assert dead or (one.grad is not None and one.grad.abs().max() > 0), name


# Several subjects


def test_a_new_subject_goes_on_from_two_others(tmp_path, features):
    brainrecon.simulate(tmp_path / "nsd", subjects=3, sessions=2, trials_per_session=36, shared=6, voxels=160)
    small = (*SMALL[NAME].settings, "output=tokens", "decoder.epochs=1", "decoder.batch_size_each=2")
    settings = [part for text in small for part in ("--set", text)]
    line = ["fit", NAME, f"nsd:{tmp_path / 'nsd'}", "--weights", "tiny", *settings, "--features", str(features)]
    asked = ["--subjects", "1,2", "--new-subject", "3", "--sessions", "1", "--out", str(tmp_path / "run")]
    assert run_command([*line, *asked]) == 0
    run = Run(tmp_path / "run")
    before = run.pretraining
    recipes = [one.chain.steps[0].decoder.recipe for one in (before, run)]
    # Two give two each; of one there are four. An epoch is as long as the sessions of one subject.
    assert [one.batch_size for one in recipes] == [4, 4]
    assert [one.steps for one in recipes] == [72 // 4, 36 // 4]
    learned, others = (load_file(one.folder / "decoder/network/model.safetensors") for one in (run, before))
    assert learned.keys() == others.keys() and not any("ridge" in name for name in learned)
    owned = load_file(run.folder / "decoder/network/subjects/subj03.safetensors")
    assert {name for name in owned if "ridge" in name} == {"network.ridge.weight", "network.ridge.bias"}
    # It went on: what only decays is what the others' training left, less nine steps of decay.
    name = next(one for one in learned if one.endswith("mixer_blocks1.0.1.0.weight"))
    fresh = 1 - torch.nn.functional.cosine_similarity(learned[name].flatten(), others[name].flatten(), dim=0)
    assert abs(float(fresh)) < 1e-5 and 0 < float(others[name].norm() - learned[name].norm()) < 0.01 * float(
        others[name].norm()
    )
    found = run.embeddings["clip_retrieval"]
    assert found.shape == (run.subject.test.n_stimuli, 64 * 128) and np.isfinite(found).all()
