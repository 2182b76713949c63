"""The network of several subjects as it is trained: numbers of the published script, and what follows from the data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brainrecon.assembly.shared_network import MIXERS, SharedNetworkSettings, prior_of, shared_network
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.errors import InputError
from stages.networks import mindeye2
from stages.networks.mindeye2 import MindEye2Network
from stages.objectives.contrastive import draw_mixture, mixed_nce, soft_views
from stages.training.optimisers import learning_rate, make_optimisers
from stages.training.picture_changes import PictureChanges
from stages.training.trainable import only_trained

NAMES = ("clip_rough", "clip_retrieval")
SMALL = {
    "hidden": 16,
    "map_channels": 32,
    "channels": (32, 32),
    "prior_depth": 1,
    "prior_heads": 2,
    "prior_head_width": 4,
}
GIVES = dict.fromkeys(NAMES, (3, 8)) | {"sd_latent": (4, 8, 8)}


def source(*shape):
    return TargetSource(type("Made", (), {"shape": shape, "n_targets": int(np.prod(shape))}), checkpoints=())


TOKENS, LATENT, TEACHER = source(256, 1664), source(4, 28, 28), source(49, 512)


def made(settings=None, latent=True, teacher=True, names=NAMES):
    settings = SharedNetworkSettings(**(settings or {}))
    latent = ("sd_latent", LATENT) if latent else None
    return shared_network(names, TOKENS, settings, Machine(), "network", latent, TEACHER if teacher else None)


def small_network(**changed):
    torch.manual_seed(0)
    return MindEye2Network({"subj01": 9, "subj02": 7}, GIVES, **{**SMALL, **changed})


def cohort(*trials, n_tested=0, sessions=True):
    """Subjects of whom the first session alone is learned from: so many trials, and some that are tested."""

    def split(n, of):
        own = np.repeat(of, n) if sessions else None
        return SimpleNamespace(n_stimuli=max(n // 3, 2), n_trials=n, sessions=own)

    # What is tested was seen in the sessions that are learned from, and as much of it in others.
    tested = split(2 * n_tested, [1])
    if sessions:
        tested.sessions = np.repeat([1, 2], n_tested)
    return {f"subj{place:02d}": SimpleNamespace(train=split(n, [1]), test=tested) for place, n in enumerate(trials, 1)}


# What is published


def test_steps_of_an_epoch_are_the_published_ones():
    settings = SharedNetworkSettings()
    one = settings.settled_with(cohort(27_000, n_tested=3000))
    assert (one.steps_per_epoch, one.samples_of_a_step, one.recipe().steps) == (1250, 24, 150 * 1250)
    session = settings.settled_with(cohort(690, n_tested=60))
    assert (session.steps_per_epoch, session.recipe().steps) == (31, 150 * 31)
    seven = settings.settled_with(cohort(*[27_000] * 4, *[22_000] * 3, n_tested=3000))
    assert (seven.steps_per_epoch, seven.samples_of_a_step, seven.recipe().batch_size) == (714, 42, 42)
    assert settings.recipe().steps == one.recipe().steps


def test_data_without_sessions_fill_an_epoch_with_what_is_learned_from():
    found = SharedNetworkSettings().settled_with(cohort(480, 240, n_tested=900, sessions=False))
    assert (found.steps_per_epoch, found.recipe().batch_size) == (40, 12)
    kept = SharedNetworkSettings(steps_per_epoch=7).settled_with(cohort(480))
    assert kept.steps_per_epoch == 7


def test_a_pretraining_counts_its_own_subjects():
    new = SharedNetworkSettings(pretraining_epochs=300).settled_with(cohort(480))
    before = new.for_pretraining()
    assert (before.epochs, before.subjects, before.steps_per_epoch) == (300, None, None)
    assert before.settled_with(cohort(480, 480)).recipe().steps == 300 * 40
    assert SharedNetworkSettings().for_pretraining().epochs == 150


def test_the_recipe_is_that_of_the_script():
    recipe = made().decoder.recipe
    assert (recipe.clip, recipe.average, recipe.seed, recipe.validate_every) == (None, None, 42, 1250)
    assert (recipe.optimiser.name, recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (
        "adamw",
        3e-4,
        1e-2,
    )
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([parameter], lr=3e-4)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-4, total_steps=187_500, pct_start=2 / 150, final_div_factor=1000
    )
    for step in range(3000):
        assert learning_rate(recipe, step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        theirs.step()


def test_decay_leaves_out_what_the_script_leaves_out():
    """All of the subjects' layers decay; elsewhere whatever has "bias" in its name does not."""
    network, spec = small_network(), made().decoder.recipe.optimiser
    named = {f"network.network.{name}": one for name, one in network.named_parameters() if one.requires_grad}
    (optimiser,) = make_optimisers(named, spec)
    decays = {id(one): group["weight_decay"] for group in optimiser.param_groups for one in group["params"]}
    found = {name for name, one in network.named_parameters() if decays.get(id(one)) == 0}
    expected = {name for name, _ in network.named_parameters() if "bias" in name and not name.startswith("ridge.")}
    assert found == expected and len(decays) == len(named)
    assert "diffusion_prior.net.causal_transformer.rel_pos_bias.relative_attention_bias.weight" in found
    assert "backbone.mixer_blocks1.0.0.weight" not in found


def test_the_network_has_the_published_sizes():
    step = made()
    with torch.device("meta"):
        shapes = {name: one.outline.shape for name, one in step.targets.items()}
        network = step.decoder.make({"subj01": 15_724}, shapes, **step.decoder.arguments)
    assert sum(one.numel() for one in network.parameters()) == 2_227_294_844
    assert (step.part, step._trials, step.for_new_subject) == ("network", "apart", "go on")


def test_the_objectives_are_those_of_the_script():
    contrast, prior, latent, places = made().decoder.objectives(small_network())
    assert (contrast.reads, contrast.weight, contrast.temperature) == (("clip_retrieval",), 1.0, 0.006)
    assert (contrast.n_mixed_epochs, contrast.n_epochs - contrast.n_mixed_epochs) == (49, 101)
    assert (contrast.first, contrast.last) == (0.004, 0.0075)
    assert (contrast.own_partner, contrast.partners_in) == ("whole", "batch")
    assert (prior.reads, prior.weight, prior.prior.process.n_steps) == (("clip_rough",), 30.0, 100)
    assert (prior.prior.without_brain, prior.prior.without_image) == (0.2, 0.2)
    assert prior.prior.scale_of(torch.zeros(1, 3, 1664)) == 1
    assert (latent.reads, latent.weight) == (("sd_latent",), 0.5)
    assert (places.reads, places.other_view, places.temperature) == (("places",), "changed_places", 0.2)
    assert places.weight == pytest.approx(0.05)


def test_the_loss_of_a_step_vs_the_formula():
    step, network = made({"steps_per_epoch": 5}), small_network().eval()
    objectives = step.decoder.objectives(network)
    torch.manual_seed(1)
    patterns = {"subj02": torch.randn(3, 7), "subj01": torch.randn(3, 9)}
    targets = {"clip_rough": torch.randn(6, 3, 8), "sd_latent": torch.randn(6, 4, 8, 8)}
    targets["clip_retrieval"] = targets["clip_rough"]
    targets |= {name: torch.randn(6, 16, 512) for name in ("places", "changed_places")}
    torch.manual_seed(2)
    mixed = objectives[0].before(patterns, 0)
    outputs = network(mixed)
    state = torch.random.get_rng_state()
    found = sum(one(outputs, targets, 0)[0] for one in objectives)

    torch.manual_seed(2)
    mixtures = [draw_mixture(3) for _ in patterns]
    for (name, rows), mixture in zip(patterns.items(), mixtures):
        torch.testing.assert_close(mixed[name], mixture.mix(rows))
    joined = type(mixtures[0])(
        torch.cat([mixtures[0].partners, 3 + mixtures[1].partners]), torch.cat([one.shares for one in mixtures])
    )
    clip = mixed_nce(outputs["clip_retrieval"], targets["clip_retrieval"], joined, 0.006)
    torch.random.set_rng_state(state)
    prior = prior_of(network).loss(outputs["clip_rough"], targets["clip_rough"])
    latent = (outputs["sd_latent"] - targets["sd_latent"]).abs().mean()
    rows = (one.reshape(96, 512) for one in (outputs["places"], targets["places"], targets["changed_places"]))
    soft = soft_views(*rows, 0.2)
    torch.testing.assert_close(found, 30 * prior + clip + 0.5 * (latent + 0.1 * soft))


def test_pictures_change_for_the_teacher_as_in_the_script():
    step = made()
    colours = {"jittered": 0.8, "grey": 0.1, "solarised": 0.1, "blurred": 0.0, "mirrored": 0.0}
    changes = PictureChanges(size=224, scale=(0.9, 0.9), cropped=1.0, crop_last=True, seed=42, **colours)
    assert step._changing == {"changed_places": changes}
    assert (changes.brightness, changes.contrast, changes.saturation, changes.hue) == (0.4, 0.4, 0.2, 0.1)
    assert step.beside == {"places": TEACHER, "changed_places": TEACHER}


# Variants


def test_mixers_are_those_of_the_network():
    assert MIXERS == mindeye2.MIXERS


def test_without_a_teacher_its_layers_are_not_trained():
    step = made(teacher=False)
    assert [one.reads[0] for one in step.decoder.objectives(small_network())][-1] == "sd_latent"
    assert not step.beside and not step._changing
    network = small_network()
    with only_trained(network, step.decoder.recipe.trains) as named:
        left = {name for name, one in network.named_parameters() if one.is_leaf and name not in named}
    assert {name.split(".")[1] for name in left} == {"b_maps_projector", "net"}
    assert all("rotary" in name for name in left if ".net." in name)


def test_without_a_picture_or_a_prior_there_are_no_layers_of_it():
    light = made({"hidden": 1024}, latent=False)
    assert list(light.targets) == list(NAMES) and "channels" not in light.decoder.arguments
    assert [type(one).__name__ for one in light.decoder.objectives(small_network())] == ["MixedThenSoft", "PriorError"]
    without = made({"prior_weight": 0.0}, latent=False)
    network = small_network(prior="none")
    assert without.decoder.arguments["prior"] == "none"
    assert [type(one).__name__ for one in without.decoder.objectives(network)] == ["MixedThenSoft", "MeanSquaredError"]
    alone = made(latent=False, names=("clip_retrieval",))
    assert [type(one).__name__ for one in alone.decoder.objectives(network)] == ["MixedThenSoft"]


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size_each": 0},
        {"subjects": 0},
        {"pretraining_epochs": 1.5},
        {"prior_weight": -1},
        {"contrast_weight": 0},
        {"teacher_temperature": 0},
        {"teacher_size": 16},
        {"teacher_std": "own"},
        {"trials": "together"},
        {"mixer": "mlp"},
        {"mixed_share": 2},
        {"own_partner": "none"},
        {"partners_in": "subject"},
        {"prior_heads": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        SharedNetworkSettings(**settings)
