"""MinD-Vis: the scripts' numbers, what is tuned and what is not, and its released files' layout, at random."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from chains import chain_of
from random_label2img import ADDED, WIDTH, save_label2img
from torch import nn
from torch.nn import functional

from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.generators.diffusion.vq_diffusion_model import load_vq_unet
from stages.networks.brain_diffusion import BrainDiffusion, authors_tensors
from stages.networks.masked_brain import MaskedBrainAutoencoder
from stages.networks.tuned_network import tuned_names
from weights.manifest import read_manifest

NAME = "mindvis2023"
ENCODER = {"patch_size": 8, "width": 16, "depth": 1, "n_heads": 2}
SMALL = (
    *(f"pretraining.{name}={value}" for name, value in ENCODER.items()),
    *("pretraining.decoder_width=8", "pretraining.decoder_depth=1", "pretraining.decoder_heads=2"),
    *("pretraining.epochs=2", "pretraining.warmup_epochs=1", "pretraining.batch_size=8"),
    *("decoder.epochs=2", "decoder.batch_size=8", "decoder.n_tokens=5", "generator.num_inference_steps=3"),
    *("checkpoints.encoder=", "pretrains=true"),
)


# What is published


def test_the_chain_and_its_parts():
    tuned = "Learn(brain_tokens) -> Draw(picture)"
    assert repr(chain_of(NAME)) == f"Chain({NAME}: {tuned})"
    assert repr(chain_of(NAME, {"pretrains": True})).startswith(f"Chain({NAME}: Pretrain(")


def test_training_and_drawing_are_those_of_the_scripts():
    settings = system_class(NAME)().settings
    own, recipe = settings.decoder, settings.decoder.recipe()
    assert (recipe.steps, recipe.batch_size, recipe.clip, recipe.average) == (500 * 240, 5, 0.5, None)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay, recipe.optimiser.undecayed) == (
        5.3e-5,
        0.01,
        "none",
    )
    assert recipe.schedule.kind == "constant" and recipe.schedule.warmup == 0
    assert (own.n_tokens, own.pooled, own.times, own.trials, own.cropped, own.crop) == (
        77,
        False,
        True,
        "single",
        0.5,
        0.2,
    )
    again = settings.pretraining
    assert (again.epochs, again.warmup_epochs, again.batch_size, again.learning_rate) == (15, 2, 16, 5.3e-5)
    assert not settings.pretrains and not again.transductive
    drawing = settings.generator
    assert (drawing.num_inference_steps, drawing.guidance_scale, drawing.scheduler) == (250, 1.0, "plms")
    assert drawing.greys == "cut off"


def test_pictures_are_cropped_to_205_of_256_pixels():
    learned = chain_of(NAME).steps[0]
    (changes,) = learned._changing.values()
    assert changes.size == 256 and changes.cropped_of == "pictures" and changes.cropped == 0.5
    assert round(256 * changes.scale[0] ** 0.5) == 205 and changes.ratio == (1.0, 1.0)
    assert chain_of(NAME, {"decoder": {"cropped": 0.0}}).steps[0]._changing == {}


@pytest.fixture(scope="module")
def outline():
    """The network of GOD's third subject at its published size, without values."""
    unet = read_manifest()["label2img-ldm"].writes["unet/config.json"]
    tuned = system_class(NAME)().settings.decoder.tuned
    with torch.device("meta"):
        return BrainDiffusion(4643, {"brain_tokens": (77, 512)}, {}, unet, tuned)


def size(module):
    return sum(one.numel() for one in module.parameters())


def test_sizes_of_the_published_network(outline):
    conditioner, denoiser = outline.cond_stage_model, outline.denoiser
    assert conditioner.mae.n_patches == 291
    assert size(conditioner.mae.blocks) == 24 * 6_301_696
    assert size(conditioner.channel_mapper) == 291 * 145 + 145 + 145 * 77 + 77
    assert size(conditioner.dim_mapper) == 1024 * 512 + 512
    assert size(denoiser.time_mapper) == 77 * 38 + 38 + 38 + 1 + 512 * 768 + 768
    assert size(denoiser.unet.base) == 400_920_579
    # Four attentions of 384, 576 and 960 values on the way down and up, and one in the middle; two normalisations' numbers each.
    width_of = {384: 2 + 3, 576: 2 + 3, 960: 2 + 1 + 3}
    attention = {width: 2 * width**2 + 2 * 512 * width + width for width in width_of}
    assert size(denoiser.unet) == sum(n * (attention[width] + 2 * width) for width, n in width_of.items())
    assert len(list(denoiser.unet.parameters())) == 16 * 7


def test_names_of_the_published_network(outline):
    places = {name.removeprefix("denoiser.") for name in outline.state_dict()}
    assert {name.split(".")[0] for name in places} == {"cond_stage_model", "unet", "time_mapper"}
    mapper = {f"time_mapper.time_embed_condtion.{layer}.{kind}" for layer in range(3) for kind in ("weight", "bias")}
    assert mapper == {name for name in places if name.startswith("time_mapper")}
    conditioner = {name.removeprefix("cond_stage_model.") for name in places if name.startswith("cond_stage_model")}
    encoder = set(
        MaskedBrainAutoencoder(
            32, depth=24, width=8, n_heads=2, decoder_depth=1, decoder_width=8, decoder_heads=2
        ).state_dict()
    )
    encoder = {f"mae.{name}" for name in encoder if not name.startswith(("decoder_", "mask_token"))}
    mappers = {f"channel_mapper.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")}
    assert conditioner == encoder | mappers | {"dim_mapper.weight", "dim_mapper.bias"}


# The network


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return save_label2img(tmp_path_factory.mktemp("label2img") / "model")


def small_network(folder, **options):
    torch.manual_seed(1)
    unet = load_vq_unet(folder)
    network = BrainDiffusion(
        30,
        {"brain_tokens": (5, WIDTH)},
        ENCODER,
        dict(unet.config),
        system_class(NAME)().settings.decoder.tuned,
        **options,
    )
    return network.take_unet(unet)


def test_tokens_are_the_formula_and_do_not_depend_on_the_class_token(generator):
    network, patterns = small_network(generator), torch.randn(3, 30)
    conditioner = network.cond_stage_model
    patches = conditioner.mae.encode(patterns)
    first, second = conditioner.channel_mapper
    by_hand = torch.einsum("tp,npw->ntw", first.weight[..., 0], patches) + first.bias[:, None]
    by_hand = torch.einsum("tp,npw->ntw", second.weight[..., 0], by_hand) + second.bias[:, None]
    by_hand = by_hand @ conditioner.dim_mapper.weight.T + conditioner.dim_mapper.bias
    torch.testing.assert_close(network(patterns)["brain_tokens"], by_hand, rtol=1e-4, atol=1e-5)
    # The token that stands for all is read by the others, but is not among them.
    assert patches.shape == (3, 4, 16)


def test_pooled_patches_are_one_token(generator):
    torch.manual_seed(1)
    unet = load_vq_unet(generator)
    network = BrainDiffusion(30, {"brain_tokens": (1, WIDTH)}, ENCODER, dict(unet.config), [r".*attn2.*"], pooled=True)
    assert network(torch.randn(3, 30))["brain_tokens"].shape == (3, 1, WIDTH)
    assert isinstance(network.denoiser.time_mapper.time_embed_condtion, nn.Linear)


def test_both_ways_lead_the_noise_that_is_found(generator):
    network = small_network(generator).eval()
    noisy, steps = torch.randn(2, 3, 16, 16), torch.tensor([3, 900])
    one, other = torch.randn(2, 2, 5, WIDTH)
    found = network.denoiser(noisy, steps, one)
    assert not torch.allclose(found, network.denoiser(noisy, steps, other))
    plain = load_vq_unet(generator)
    with torch.no_grad():
        for layer in (network.denoiser.time_mapper.time_embed_condtion[2],):
            layer.weight.zero_(), layer.bias.zero_()
        expected = plain(noisy, steps, one, class_labels=torch.zeros(2, ADDED)).sample
        torch.testing.assert_close(network.denoiser(noisy, steps, one), expected, rtol=1e-4, atol=1e-5)
    again = small_network(generator).eval()
    with torch.no_grad():
        for name, parameter in again.denoiser.unet.named_parameters():
            if "to_out" in name:
                parameter.zero_()
    # Cross-attention gives nothing then; the time embedding still tells tokens apart.
    assert not torch.allclose(again.denoiser(noisy, steps, one), again.denoiser(noisy, steps, other))


# A run


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def fitted(small_cohort, generator, tmp_path_factory):
    """A fitted run, and the hashes of the generator's files before."""
    before, folder = hashes(generator), tmp_path_factory.mktemp("mindvis") / "run"
    settings = [f"--set={each}" for each in (*SMALL, f"checkpoints.generator={generator}")]
    line = ["fit", NAME, f"nsd:{small_cohort}", "--weights", "tiny", *settings, "--out", str(folder)]
    line += ["--features", str(folder.parent / "features")]
    assert run_command(line) == 0
    return folder, before


def test_only_what_is_named_is_tuned_and_all_else_is_equal_to_the_byte(fitted, generator):
    folder, before = fitted
    assert hashes(generator) == before
    run = Run(folder)
    learned, drawn = run.chain.steps[1:]
    drawn.load()
    plain, used = load_vq_unet(generator), drawn.generator.pipeline.unet
    named = tuned_names(plain, run.config.settings.decoder.tuned)
    assert named and len(named) < len(list(plain.parameters())) / 2
    theirs = dict(used.named_parameters())
    for name, value in plain.named_parameters():
        assert torch.equal(value, theirs[name]) == (name not in named), name
    tuned = dict(learned.decoder.network.network.denoiser.unet.named_parameters())
    assert set(tuned) == named and all(torch.equal(theirs[name], value) for name, value in tuned.items())


def test_the_encoder_begins_with_what_was_pretrained_and_is_learned_with_its_places(fitted):
    run = Run(fitted[0])
    pretrained, learned = run.chain.steps[:2]
    before = pretrained.pretraining.network.state_dict()
    after = learned.decoder.network.network.cond_stage_model.mae.state_dict()
    assert after.keys() < before.keys()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    # Two epochs of a small rate: near by, and all of it learned, places too.
    assert "pos_embed" in changed and "blocks.0.attn.qkv.weight" in changed
    for name in changed:
        assert functional.mse_loss(after[name], before[name]) < 0.05, name


def test_a_response_becomes_one_scale_for_all_voxels(fitted):
    run = Run(fitted[0])
    voxels, train = run.chain.steps[1].decoder.network, run.subject.train
    betas = np.asarray(train.betas[:])
    assert torch.unique(voxels.mean).numel() == torch.unique(voxels.scale).numel() == 1
    np.testing.assert_allclose(float(voxels.mean[0]), betas.mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(float(voxels.scale[0]), betas.std(), rtol=1e-3)


# Released files


def authors_file(network, unet_places, seed=3):
    """What the authors' file holds, from a network by our names, with what is not tuned at random."""
    state = network.state_dict()
    stored = {name: value for name, value in state.items() if name.startswith("cond_stage_model.")}
    for name, value in state.items():
        if name.startswith("denoiser.time_mapper."):
            stored["model.diffusion_model." + name.removeprefix("denoiser.time_mapper.")] = value
        elif name.startswith("denoiser.unet."):
            stored[unet_places[name.removeprefix("denoiser.unet.")].name] = value
    stored["cond_stage_model.mae.mask_token"] = torch.zeros(1, 1, 8)
    stored["cond_stage_model.mae.decoder_embed.weight"] = torch.zeros(8, 16)
    stored["first_stage_model.quant_conv.bias"] = torch.zeros(3)
    stored["model.diffusion_model.out.2.bias"] = torch.zeros(3)
    stored["model_ema.decay"] = torch.zeros(())
    return stored


def test_the_authors_model_gives_the_tensors_of_what_was_tuned(generator):
    from stages.checkpoints.single_file_names import unet_places

    network = small_network(generator)
    unet, tuned = load_vq_unet(generator), system_class(NAME)().settings.decoder.tuned
    places = unet_places(unet.config, unet.state_dict())
    found = authors_tensors(authors_file(network, places), dict(unet.config), tuned)
    state = network.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert places["down_blocks.1.attentions.0.transformer_blocks.0.norm2.weight"].name == (
        "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.norm2.weight"
    )


def test_other_settings_that_were_published_or_are_asked_for():
    chosen = system_class(NAME)({"decoder": {"pooled": True, "average": 0.999}}).settings.decoder
    assert chosen.n_tokens == 1 and chosen.recipe().average == 0.999
    assert replace(chosen, times=False).times is False
