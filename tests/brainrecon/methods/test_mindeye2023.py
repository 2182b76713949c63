"""MindEye: what its scripts do in numbers, its variants, and the whole way on a simulated subject."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from chains import chain_of
from interruption import COMMAND_LINE, interrupted
from random_checkpoints import convert_place_teacher
from small_systems import SMALL
from stand_in_generators import StandIn

from brainrecon.assembly.blurry_latent import LatentSettings
from brainrecon.assembly.embedding_network import TokenSettings
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import ABSENT, Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.runs.predict import encode
from brainrecon.runs.run import Run
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.start_rule import StartRule, denoising_steps
from stages.ground.errors import InputError
from stages.networks.mindeye import MindEyeLatent
from stages.networks.token_prior import TokenPrior
from stages.networks.voxel_mlp import VoxelMLP
from stages.training.optimisers import learning_rate
from stages.training.picture_changes import PictureChanges
from stages.training.trainable import only_trained

NAME = "mindeye2023"


# What is published


def test_the_chain_in_the_published_order():
    assert repr(chain_of(NAME)) == (
        "Chain(mindeye2023: Learn(clip_rough, clip_retrieval) -> Learn(sd_latent) -> Show(first_picture) -> "
        "Candidates(picture))"
    )
    assert repr(chain_of(NAME, {"candidates": 1, "blurry": False})) == (
        "Chain(mindeye2023: Learn(clip_rough, clip_retrieval) -> Refine(clip_image) -> Draw(picture))"
    )
    tokens, latent, *_ = chain_of(NAME).steps
    assert (tokens.part, latent.part) == ("tokens", "latent")


def test_the_recipe_of_the_tokens_is_that_of_the_scripts():
    decoder = chain_of(NAME).steps[0].decoder
    recipe = decoder.recipe
    assert (recipe.steps, recipe.batch_size, recipe.clip, recipe.average) == (66_240, 32, None, None)
    assert (recipe.optimiser.name, recipe.optimiser.weight_decay, recipe.optimiser.undecayed) == (
        "adamw",
        0.01,
        "biases",
    )
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([parameter], lr=3e-4)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-4, total_steps=66_240, pct_start=2 / 240, final_div_factor=1000
    )
    for step in range(2000):
        assert learning_rate(recipe, step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        theirs.step()
    assert decoder.arguments == {
        "hidden": 4096,
        "n_blocks": 4,
        "projected": 2048,
        "prior_depth": 6,
        "prior_heads": 12,
        "prior_head_width": 64,
    }


def test_the_objectives_are_those_of_the_scripts():
    decoder = chain_of(NAME).steps[0].decoder
    with torch.device("meta"):
        network = decoder.make(100, {"clip_rough": (257, 768), "clip_retrieval": (257, 768)}, **decoder.arguments)
    assert sum(one.numel() for one in network.net.parameters()) == 56_055_184
    contrast, prior = decoder.objectives(network)
    assert (contrast.reads, contrast.n_mixed_epochs, contrast.temperature) == (("clip_retrieval",), 79, 0.006)
    assert (contrast.first, contrast.last, contrast.own_partner) == (0.004, 0.0075, "rest")
    assert (prior.reads, prior.weight) == (("clip_rough",), 30.0)
    assert (prior.prior.without_brain, prior.prior.without_image, prior.prior.process.n_steps) == (0.2, 0.2, 100)


def test_the_recipe_of_the_latent_is_that_of_the_scripts():
    step = chain_of(NAME).steps[1]
    recipe, (error, contrast) = step.decoder.recipe, step.decoder.objectives
    assert (recipe.steps, recipe.batch_size, recipe.optimiser.learning_rate) == (120 * 1107, 8, 5e-4)
    assert error.weight == pytest.approx(1 / 0.18215)
    assert (contrast.reads, contrast.other_view) == (("places",), "changed_places")
    assert (contrast.temperature, contrast.weight) == (0.075, 0.1)
    assert (step._trials, recipe.trains) == ("mixed", (".*",))


def test_pictures_change_as_in_the_scripts():
    tokens, latent, *_ = chain_of(NAME).steps
    for_clip = PictureChanges(size=224, scale=(0.6, 1.0), cropped=0.3, mirrored=0.5, jittered=0.3, grey=0.3, seed=42)
    assert tokens._changing == {"clip_rough": for_clip, "clip_retrieval": for_clip} and not tokens.beside
    often = {"cropped": 1.0, "mirrored": 0.0, "jittered": 0.8, "grey": 0.2, "solarised": 0.2, "blurred": 0.1}
    for_teacher = PictureChanges(size=512, scale=(0.5, 1.0), **often, crop_last=True, seed=0)
    assert latent._changing == {"changed_places": for_teacher}
    assert list(latent.beside) == ["places", "changed_places"] and len({*latent.beside.values()}) == 1
    for changes in (for_clip, for_teacher):
        assert (changes.brightness, changes.contrast, changes.saturation, changes.hue) == (0.4, 0.4, 0.2, 0.1)


def test_without_a_teacher_nothing_of_it_is_read():
    for settings in ({"latent": {"teacher": False}}, {"blurry": False}):
        chain = chain_of(NAME, settings)
        assert "vicregl-convnext-xl" not in chain.system.checkpoints
        assert "places" not in chain.learned_targets
    assert "vicregl-convnext-xl" in chain_of(NAME).system.checkpoints
    latent = chain_of(NAME, {"latent": {"teacher": False}}).steps[1]
    assert len(latent.decoder.objectives) == 1 and not latent._changing
    network = MindEyeLatent(5, {"sd_latent": (4, 8, 8)}, hidden=8, n_blocks=1, map_channels=4, channels=(32, 32))
    kept, trained = set(), set()
    with only_trained(network, latent.decoder.recipe.trains) as named:
        trained = {name.partition(".")[0] for name in named}
        kept = {name.partition(".")[0] for name, _ in network.named_parameters()} - trained
    assert kept == {"maps_projector"} and "upsampler" in trained


def test_what_is_encoded_to_learn_is_told_once_for_each_target():
    chain = chain_of(NAME)
    assert chain.encoded_to_learn() == ("clip_rough", "sd_latent", "places")
    assert chain.encoded_to_learn(taken={"latent"}) == ("clip_rough",)
    assert "places" in chain.learned_targets and "places" not in chain.targets


@pytest.fixture
def asked(monkeypatch):
    """What a generator of published shapes is loaded with and asked for, for one item."""

    def ask(settings=None, absent=()):
        monkeypatch.setattr(
            DualContextGenerator,
            "from_pretrained",
            lambda folder, **options: StandIn(folder, {"clip_image": (257, 768)}, ["clip_image"], **options),
        )
        monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
        step = chain_of(NAME, {"candidates": 1} | (settings or {})).steps[-1]
        monkeypatch.setattr(step, "_sources", {})
        values = {"clip_image": np.zeros((1, 257 * 768)), "first_picture": np.zeros((1, 512, 512, 3), np.uint8)}
        read = {name: values[name] for name in (*step.reads, *step.optional)} | dict.fromkeys(absent, ABSENT)
        list(step.stream([Item("", "a")], read))
        return step.generator

    return ask


def test_the_generator_is_asked_for_what_the_scripts_do(asked):
    generator = asked()
    _, _, settings = generator.asked[-1]
    assert settings["num_inference_steps"] == 20 and settings["guidance_scale"] == 3.5
    assert denoising_steps(settings["strength"], 20) == 17
    assert settings["weights"] == {"clip_image": 1.0, "clip_text": 0.0}
    assert generator.options["scheduler"] == "unipc" and generator.options["unconditional"] == "zeros"
    assert generator.options["start"] == StartRule(posterior="sample", pixels="for CLIP")
    _, _, settings = asked(absent=("first_picture",)).asked[-1]
    assert settings["strength"] == 1.0


def test_a_picture_takes_seventeen_evaluations():
    step = chain_of(NAME, {"candidates": 1}, "tiny").steps[-1]
    calls = []
    unet, random = step.generator.pipeline.unet, np.random.default_rng(0)
    unet.register_forward_pre_hook(
        lambda _, given, told: calls.append((given or [told["sample"]])[0].shape[0]), with_kwargs=True
    )
    values = {
        "clip_image": random.standard_normal((1, 65 * 64)).astype(np.float32),
        "first_picture": random.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8),
    }
    ((row, given),) = step.stream([Item("", "a")], values)
    assert row == 0 and given["picture"].dtype == np.uint8
    # Both halves of guidance at once.
    assert calls == [2] * 17


def test_the_network_bears_the_names_of_the_published_weights():
    decoder = chain_of(NAME).steps[0].decoder
    with torch.device("meta"):
        network = decoder.make(15_724, {"clip_rough": (257, 768), "clip_retrieval": (257, 768)}, **decoder.arguments)
        parts = {"voxel2clip": VoxelMLP(15_724), "net": TokenPrior()}
    expected = {
        f"{part}.{name}": value.shape for part, one in parts.items() for name, value in one.state_dict().items()
    }
    assert {name: value.shape for name, value in network.state_dict().items()} == expected
    for name in ("voxel2clip.lin0.0.weight", "voxel2clip.projector.8.bias", "net.null_image_embed"):
        assert name in expected


# Settings


def split_of(n_stimuli, repeats=3):
    return Split(np.zeros((n_stimuli * repeats, 4), np.float32), [f"s{one:05d}" for one in range(n_stimuli)] * repeats)


def test_an_epoch_is_what_the_stimuli_fill():
    train = split_of(8859)
    assert TokenSettings().settled(train).steps_per_epoch == 276
    assert LatentSettings().settled(train).steps_per_epoch == 1107
    assert NetworkSettings(trials="single").settled(split_of(64)).steps_per_epoch == 6
    assert NetworkSettings(validation=0.5).settled(split_of(128)).steps_per_epoch == 2
    kept = NetworkSettings(steps_per_epoch=5)
    assert kept.settled(train) is kept


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"candidates": 0}, "candidates is 0"),
        ({"start_pixels": "raw"}, "start_pixels is 'raw'"),
        ({"decoder": {"trials": "both"}}, "trials is 'both'"),
        ({"decoder": {"learning_rate": 0}}, "learning_rate is 0"),
        ({"decoder": {"changes": "some"}}, "changes is 'some'"),
        ({"latent": {"teacher_std": "imagenet"}}, "teacher_std is 'imagenet'"),
        ({"latent": {"teacher_size": 16}}, "teacher_size is 16"),
        ({"decoder": {"batch_size": 9, "accumulate": 2}}, "accumulate is 2 but batch_size is 9; .* batch_size=10"),
        ({"decoder": {"precision": "fp16"}}, "precision is 'fp16'"),
        ({"latent": {"patience": 3}}, "patience is 3 but validation is 0, .* validation=0.1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


# The whole way


@pytest.fixture(scope="module")
def line(small_cohort, tmp_path_factory):
    teacher = tmp_path_factory.mktemp("teacher") / "places"
    convert_place_teacher(teacher)
    taught = ("latent.teacher=true", "latent.teacher_size=64", f"checkpoints.teacher={teacher}")
    settings = [part for text in (*SMALL[NAME].settings, *taught) for part in ("--set", text)]
    return [NAME, f"nsd:{small_cohort}", "--weights", "tiny", *settings]


@pytest.fixture(scope="module")
def complete(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mindeye") / "run"
    assert run_command(["fit", *line, "--out", str(folder)]) == 0
    return folder


def test_both_networks_show_how_they_were_trained(complete):
    chain = Run(complete).chain
    curves = chain.curves()
    assert list(curves) == ["clip_rough, clip_retrieval", "sd_latent"]
    assert {"loss", "clip_retrieval contrast", "clip_rough prior error"} <= set(curves["clip_rough, clip_retrieval"])
    assert {"loss", "sd_latent difference", "places contrast"} <= set(curves["sd_latent"])
    assert [row["network"] for row in chain.summary()] == ["MindEyeTokens", "MindEyeLatent"]
    described = json.loads((complete / "decoder" / "tokens" / "config.json").read_text())
    assert described["gives"] == {"clip_rough": [65, 64], "clip_retrieval": [65, 64]}
    described = json.loads((complete / "decoder" / "latent" / "config.json").read_text())
    assert described["gives"] == {"sd_latent": [12, 8, 8]}


def test_a_map_of_other_places_than_the_teachers_is_told(line, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run_command(["fit", *line, "--set", "latent.teacher_size=96", "--out", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "gives places of shape (4, 512) and its teacher (9, 512)" in said and "Traceback" not in said


def test_a_killed_training_goes_on_and_ends_in_the_same_bytes(line, complete, tmp_path):
    killed = tmp_path / "killed"
    again = ["fit", *line, "--out", str(killed)]
    interrupted(COMMAND_LINE, *again, when=lambda: (killed / "decoder" / "tokens" / "config.json").exists())
    assert run_command(again) == 0
    for name in ("tokens/model.safetensors", "tokens/config.json", "latent/model.safetensors", "latent/config.json"):
        assert (killed / "decoder" / name).read_bytes() == (complete / "decoder" / name).read_bytes(), name


def test_too_few_stimuli_for_a_batch_are_told_before_anything_is_trained(small_cohort, tmp_path, capsys):
    line = ["fit", NAME, f"nsd:{small_cohort}", "--weights", "tiny", "--set", "decoder.batch_size=500"]
    assert run_command([*line, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "A batch of 500 samples is to be compared but there are" in said and "Traceback" not in said


def test_a_vector_is_one_token():
    network = chain_of(NAME).steps[0].decoder.make
    small = dict(hidden=8, n_blocks=1, projected=8, prior_depth=1, prior_heads=2, prior_head_width=8)
    vector = network(5, {"clip_rough": (12,), "clip_retrieval": (12,)}, **small)
    assert {values.shape for values in vector(torch.zeros(2, 5)).values()} == {(2, 12)}
    with pytest.raises(InputError, match="gives clip_rough and clip_retrieval of one shape"):
        network(5, {"clip_rough": (12,), "clip_image": (12,)}, **small)


def test_settings_of_another_number_of_parts_are_other_trainings():
    assert replace(TokenSettings(), accumulate=4).recipe(276).accumulate == 4


def test_retrieval_is_scored_by_the_projector(complete, tmp_path):
    folder = shutil.copytree(complete, tmp_path / "run")
    assert run_command(["reconstruct", str(folder), "--controls", "none"]) == 0
    scores = Run(folder).evaluate("brainrecon-1")
    assert "mindeye2023 is compared by clip_retrieval where the protocol asks for clip_image." in scores.notes
    predicted = unit_rows(Run(folder).embeddings["clip_retrieval"])
    true = unit_rows(np.asarray(encode(Run(folder), Run(folder).chain, "test", ("clip_retrieval",))["clip_retrieval"]))
    similarity = predicted @ true.T
    found = {row.metric: row.mean for row in scores.embeddings.rows}
    # Fewer stimuli than 300: each is searched among all.
    assert found["image_retrieval"] == pytest.approx((similarity.argmax(1) == np.arange(len(true))).mean())
    assert found["brain_retrieval"] == pytest.approx((similarity.argmax(0) == np.arange(len(true))).mean())


def unit_rows(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)
