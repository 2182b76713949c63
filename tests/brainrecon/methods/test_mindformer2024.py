"""MindFormer: the chain, its guesses as settings, and the way from several subjects to a new one."""

import numpy as np
import pytest
from chains import chain_of
from safetensors.torch import load_file
from small_systems import SMALL, pull_checkpoints
from stand_in_generators import StandIn

import brainrecon
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.generators.diffusion.ip_tokens import StableDiffusionIPTokensGenerator
from stages.ground.errors import InputError
from stages.objectives.regression import MeanAbsoluteError
from stages.objectives.retrieval import HardContrast
from stages.training.recipe import Schedule

NAME = "mindformer2024"


def objectives_of(settings=None):
    decoder = chain_of(NAME, settings, "tiny").steps[0].decoder
    return decoder.objectives(None)


# What the paper says, and what it leaves open


def test_the_chain_and_its_target():
    chain = chain_of(NAME)
    assert repr(chain) == f"Chain({NAME}: Learn(ip_tokens) -> Draw(picture))"
    learned, drawn = chain.steps
    assert (learned.for_new_subject, chain.system.many_subjects) == ("go on", "together")
    assert chain.targets["ip_tokens"].checkpoints == ("clip-vit-h-14-laion2b", "ip-adapter-plus-sd15")
    # No first picture: it is drawn from noise.
    assert (drawn.reads, drawn.optional) == (("ip_tokens",), ())
    assert chain.system.checkpoints == ("clip-vit-h-14-laion2b", "ip-adapter-plus-sd15", "stable-diffusion-1-5")


def test_the_loss_is_the_absolute_error_and_a_tenth_of_the_contrast():
    first, second = objectives_of()
    assert type(first) is MeanAbsoluteError and first.weight == 1.0
    assert type(second) is HardContrast
    assert (second.weight, second.temperature, second.directions, second.learned) == (0.1, 0.07, "prediction", False)
    assert second.reads == ("ip_tokens",)
    assert [type(one) for one in objectives_of({"decoder": {"contrast_weight": 0}})] == [MeanAbsoluteError]
    _, changed = objectives_of({"decoder": {"centred": True, "learned_temperature": True, "directions": "both"}})
    assert changed.reads == ("ip_tokens", "ip_tokens_mean") and changed.learned and changed.directions == "both"


@pytest.mark.parametrize("schedule", ["cosine", "constant", "one-cycle"])
def test_the_schedule_is_a_setting(schedule):
    recipe = chain_of(NAME, {"decoder": {"schedule": schedule}}).steps[0].decoder.recipe
    assert recipe.schedule.kind == schedule
    assert schedule == "one-cycle" or recipe.schedule == Schedule(schedule)
    assert (recipe.optimiser.name, recipe.optimiser.learning_rate, recipe.optimiser.betas) == (
        "adamw",
        3e-4,
        (0.9, 0.999),
    )


def test_sizes_of_the_network_are_settings():
    changed = {"depth": 3, "n_heads": 4, "feed_forward": 99, "dropout": 0.2, "norm": "after", "positions": False}
    changed |= {"subject_token": "added", "token_spread": 0.1}
    assert chain_of(NAME, {"decoder": changed}).steps[0].decoder.arguments == changed


@pytest.fixture
def asked(monkeypatch):
    """What the generator is loaded with and asked for, for one item."""

    def ask(settings):
        takes, chain = {"ip_tokens": (16, 768)}, chain_of(NAME, settings)
        monkeypatch.setattr(
            StableDiffusionIPTokensGenerator,
            "from_pretrained",
            lambda folder, **options: StandIn(folder, takes, list(takes), **options),
        )
        monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
        step = chain.steps[-1]
        monkeypatch.setattr(step, "_sources", {})
        list(step.stream([Item("", "a")], {"ip_tokens": np.zeros((1, 16 * 768), np.float32)}))
        return step.generator

    return ask


def test_the_generator_is_asked_for_100_steps_from_noise_under_the_empty_text(asked):
    generator = asked({})
    given, _, settings = generator.asked[-1]
    assert given.keys() == {"ip_tokens"} and generator.folder == "folder of stable-diffusion-1-5"
    assert (settings["num_inference_steps"], settings["guidance_scale"], settings["strength"]) == (100, 7.5, 1.0)
    assert settings["weights"] == {"ip_tokens": 1.0, "clip_text": 0.0}
    options = {name: generator.options[name] for name in ("ip_adapter", "clip", "scheduler")}
    assert options == {
        "ip_adapter": "folder of ip-adapter-plus-sd15",
        "clip": "folder of clip-vit-h-14-laion2b",
        "scheduler": "ddim",
    }
    assert "autoencoder" not in generator.options


def test_another_stable_diffusion_and_another_autoencoder_are_settings(asked):
    checkpoints = {"generator": "realistic-vision-4-0", "autoencoder": "sd-vae-ft-mse"}
    generator = asked({"checkpoints": checkpoints, "generator": {"image_weight": 0.6}})
    assert generator.folder == "folder of realistic-vision-4-0"
    assert generator.options["autoencoder"] == "folder of sd-vae-ft-mse"
    assert generator.asked[-1][2]["weights"]["ip_tokens"] == 0.6


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"depth": 0}, "depth is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"temperature": 0}, "temperature is 0"),
        ({"norm": "both"}, "norm is 'both'"),
        ({"subject_token": "last"}, "subject_token is 'last'"),
        ({"directions": "one"}, "directions is 'one'"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"contrast_weight": -1}, "contrast_weight is -1"),
        ({"batch_size_each": 0}, "batch_size_each is 0"),
        ({"new_subject": "token"}, "new_subject is 'token'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, {"decoder": settings})


def test_settings_of_drawing_are_none_of_learning():
    kind = system_class(NAME)
    settings = kind().settings
    for name in kind.of_drawing:
        owner, _, last = name.rpartition(".")
        assert hasattr(getattr(settings, owner) if owner else settings, last), name


# From responses to pictures


def small(**changed):
    settings = (*SMALL[NAME].settings, *(f"{name}={value}" for name, value in changed.items()))
    return [part for text in settings for part in ("--set", text)]


@pytest.fixture(scope="module")
def cohort_of_three(tmp_path_factory):
    place = tmp_path_factory.mktemp("three")
    brainrecon.simulate(place / "nsd", subjects=3, sessions=2, trials_per_session=36, shared=6, voxels=160)
    return place


def test_of_a_new_subject_its_layer_and_token_alone_are_learned(cohort_of_three):
    place = cohort_of_three
    line = ["fit", NAME, f"nsd:{place / 'nsd'}", "--weights", "tiny", "--features", str(place / "features")]
    line += small(**{"decoder.new_subject": '"own layers"', "decoder.batch_size_each": 2, "decoder.batch_size": 4})
    line += ["--set", "decoder.epochs=2"]
    assert run_command([*line, "--subjects", "1,2", "--new-subject", "3", "--out", str(place / "run")]) == 0
    run = Run(place / "run")
    learned, others = (load_file(one.folder / "decoder/network/model.safetensors") for one in (run, run.pretraining))
    assert learned.keys() == others.keys() and all((learned[name] == others[name]).all() for name in learned)
    assert not any("linears" in name or "tokens" in name for name in learned)
    own = load_file(run.folder / "decoder/network/subjects/subj03.safetensors")
    assert {"network.linear.weight", "network.linear.bias", "network.subject.token"} <= own.keys()
    # A step holds as many of each subject as are asked for.
    assert [one.chain.steps[0].decoder.recipe.batch_size for one in (run.pretraining, run)] == [4, 4]
    assert run.embeddings["ip_tokens"].shape == (run.subject.test.n_stimuli, 2048)


def test_a_centred_contrast_is_of_the_training_mean(cohort_of_three):
    place = cohort_of_three
    line = ["fit", NAME, f"nsd:{place / 'nsd'}", "--weights", "tiny", "--features", str(place / "features")]
    line += [*small(**{"decoder.centred": "true"}), "--subjects", "1,2", "--out", str(place / "centred")]
    assert run_command(line) == 0
    run = Run(place / "centred")
    assert {"ip_tokens difference", "ip_tokens contrast"} <= set(run.chain.steps[0].decoder.curves())


@pytest.mark.slow
def test_published_files_are_pulled_and_read(tmp_path, monkeypatch, cohort_of_three):
    """Random files in the published layout, through `weights pull`, with another Stable Diffusion and another autoencoder."""
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    names = ("ip-adapter-plus-sd15", "realistic-vision-4-0", "sd-vae-ft-mse")
    pull_checkpoints(names, tmp_path / "origins")
    chain = chain_of(NAME, {"checkpoints": {"generator": names[1], "autoencoder": names[2]}})
    from random_checkpoints import save_open_clip

    clip = save_open_clip(tmp_path / "clip", layers=2)
    generator = StableDiffusionIPTokensGenerator.from_pretrained(
        chain.system.folder("generator"),
        chain.system.folder("adapter"),
        clip,
        scheduler="ddim",
        autoencoder=chain.system.folder("autoencoder"),
    )
    ((_, picture),) = generator.draw(
        {"ip_tokens": np.ones((1, 3, 16), np.float32)}, [Item("", "a")], num_inference_steps=2
    )
    assert picture.shape == (16, 16, 3)
