"""NeuralDiffuser: what its scripts do in numbers, its options, and a fitted chain on random weights."""

import numpy as np
import pytest
import torch
from chains import chain_of
from small_systems import SMALL

import brainrecon
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.features.store import FeatureStore
from stages.generators.diffusion.start_rule import denoising_steps
from stages.ground.errors import InputError
from stages.networks.mindeye2 import MindEye2Network

NAME = "neuraldiffuser2024"
LAYERS = tuple(f"clip_block_{number}" for number in range(1, 7))


def count(module):
    return sum(one.numel() for one in module.parameters())


# What is published


def test_the_chain_in_the_published_order():
    decoded = "".join(f"Learn({one}_rough, {one}_retrieval) -> Refine({one}) -> " for one in ("clip_text", *LAYERS))
    chain = chain_of(NAME)
    assert repr(chain) == f"Chain({NAME}: {decoded}Learn(first_latent) -> Draw(picture))"
    learned = [step for step in chain.steps if step.is_learned]
    assert len(learned) == 8 and len({step.part for step in learned}) == 8
    assert {(step.averages, step.for_new_subject) for step in learned} == {("responses", "go on")}
    refined = [step for step in chain.steps if type(step).__name__ == "Refine"]
    assert all(step.told(frozenset()) == {"prior evaluations": 19} and not step._unit_token for step in refined)


def test_targets_are_what_the_scripts_encode():
    chain = chain_of(NAME)
    assert {chain.targets[name].checkpoints for name in LAYERS} == {("clip-vit-b-32-openai",)}
    assert chain.targets["clip_text"].checkpoints == ("stable-diffusion-1-4",)
    assert chain.targets["first_latent"].checkpoints == ("sd-image-variations-autoencoder",)
    assert chain.learned_targets["places"].checkpoints == ("vicregl-convnext-xl",)
    assert all(chain.targets[f"{name}_rough"] is chain.targets[f"{name}_retrieval"] for name in LAYERS)
    assert chain.image_embedding == "clip_block_6_retrieval"


def test_the_drawing_is_that_of_the_scripts():
    settings = system_class(NAME)().settings
    drawing, guidance = settings.generator, settings.guidance
    steps = denoising_steps(drawing.strength, drawing.num_inference_steps)
    assert (steps, drawing.guidance_scale, drawing.scheduler) == (37, 7.5, "ddim")
    assert (guidance.guided_steps(steps), guidance.scale, guidance.self_attention) == (7, 300000, 0.75)
    assert guidance.multipliers == (1.5, 1.2, 1, 1, 1, 1) and settings.seen.normalise == "ImageNet"
    # Mended, published by name.
    assert (guidance.noise_taken, settings.noised_to) == ("by its deviation", "first step")
    assert (settings.latent_statistics, settings.decoder.partners_in) == ("as decoded", "batch")


def test_the_training_is_that_of_the_scripts():
    settings = system_class(NAME)().settings
    tokens, latent = settings.decoder, settings.latent
    assert (tokens.prior_weight, tokens.contrast_weight, tokens.mixed_share, tokens.epochs) == (30, 1, 0.33, 150)
    assert (7 * tokens.batch_size_each, tokens.learning_rate, tokens.hidden) == (42, 3e-4, 4096)
    assert (7 * latent.batch_size_each, latent.teacher_weight, latent.teacher_temperature) == (84, 0.1, 0.075)
    assert (latent.trials, tokens.trials, latent.channels) == ("apart", "apart", (64, 128, 256))
    # Of several subjects an epoch has as many samples as the sessions of one have trials.
    assert latent.recipe().steps == 150 * 1250 == tokens.recipe().steps


@pytest.mark.parametrize(
    ("n_tokens", "prior"), [pytest.param(77, 55_161_152, id="text"), pytest.param(50, 55_098_944, id="layer")]
)
def test_parameters_of_a_network_of_tokens(n_tokens, prior):
    arguments = chain_of(NAME).steps[0].decoder.arguments
    gives = {"a_rough": (n_tokens, 768), "a_retrieval": (n_tokens, 768)}
    with torch.device("meta"):
        network = MindEye2Network({"subj01": 15724}, gives, **arguments)
    # 16 of them are frozen: the frequencies of the rotary embedding.
    assert count(network.diffusion_prior) == prior
    assert sum(one.numel() for one in network.diffusion_prior.parameters() if not one.requires_grad) == 16
    assert count(network.ridge) == 15724 * 4096 + 4096
    h, width = 4096, 768
    mixer = 4 * (2 * h + 2 * (h * h + h)) + 4 * (2 + 2 * 2)
    projector = 3 * (width * width + width) + 3 * 2 * width
    assert count(network.backbone) == mixer + h * n_tokens * width + n_tokens * width + projector


def test_blocks_over_values_learn_nothing():
    """The mixer is MindEye2's, whose larger half gets a gradient of exactly 0."""
    arguments = chain_of(NAME, SMALL[NAME].nested(), "tiny").steps[0].decoder.arguments
    gives = {"a_rough": (5, 8), "a_retrieval": (5, 8)}
    network = MindEye2Network({"subj01": 9}, gives, **arguments)
    found = network({"subj01": torch.randn(3, 9)})
    (found["a_rough"].square().sum() + found["a_retrieval"].sum()).backward()
    dead = [one.grad for name, one in network.named_parameters() if "mixer_blocks1" in name]
    assert dead and all(one is None or (one == 0).all() for one in dead)
    assert network.ridge.linears[0].weight.grad.abs().max() > 0


# Options


def test_without_captions_there_is_no_text():
    chain = chain_of(NAME, {"text_context": False})
    assert "clip_text" not in chain.given and len([step for step in chain.steps if step.is_learned]) == 7


@pytest.mark.parametrize("by", ["training", "transductive"])
def test_statistics_of_the_latent_are_a_step(by):
    chain = chain_of(NAME, {"latent_statistics": by})
    assert repr(chain).endswith("Learn(decoded_latent) -> MatchMoments(first_latent) -> Draw(picture))")
    assert chain.steps[-2].by == by and bool(chain.system.notes) == (by == "transductive")
    assert not chain_of(NAME).system.notes


def test_a_network_that_leads_is_named_where_it_judges():
    assert chain_of(NAME).system.fitted_through == ("clip-vit-b-32-openai",)
    assert chain_of(NAME, {"guidance": {"scale": 0}}).system.fitted_through == ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"latent_statistics": "tested"}, "latent_statistics is 'tested'"),
        ({"noised_to": "three steps before"}, "noised_to is 'three steps before'"),
        ({"picture_size": 0}, "picture_size is 0"),
        ({"blocks": [1, 2]}, r"blocks is \[1, 2\] with guidance.multipliers"),
        ({"blocks": [1, 1], "guidance": {"multipliers": [1, 1]}}, "each block once"),
        ({"blocks": [0], "guidance": {"multipliers": [1]}}, "blocks is 0"),
        ({"seen": {"normalise": "CLIP"}}, "normalise is 'CLIP'"),
        ({"guidance": {"share": 2}}, "share is 2"),
        ({"decoder": {"prior_weight": 0}}, "prior_weight is 0.0"),
        ({"latent": {"teacher_temperature": 0}}, "teacher_temperature is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_settings_of_drawing_are_none_of_learning():
    kind = system_class(NAME)
    assert set(kind.of_drawing) <= vars(kind().settings).keys()
    assert not any(name.startswith("checkpoints") for name in kind.of_drawing)


# A fitted chain


def test_samples_differ_and_do_not_depend_on_their_neighbours(cohort, features):
    kind, subject = system_class(NAME), brainrecon.load(f"nsd:{cohort}", subject="subj01")
    settings = SMALL[NAME].nested() | {"latent_statistics": "training"}
    system = kind(with_weights(settings, kind, "tiny"))
    chain = Chain(kind(system.settled_by(subject)))
    chain.fit_in_memory(subject, FeatureStore(features))
    ids, patterns = subject.test.stimulus_ids[:2], subject.test.patterns[:2]
    found = chain.run_from_patterns(ids, patterns, samples=2)
    assert found.shape == (2, 2, 64, 64, 3) and found.dtype == np.uint8
    assert np.abs(found[:, 0].astype(int) - found[:, 1]).max() > 5
    alone = chain.run_from_patterns(ids[1:], patterns[1:], samples=1)
    assert np.abs(alone[0, 0].astype(int) - found[1, 0]).max() <= 1
