"""CMVDM: the scripts' numbers, what each stage begins with and trains, and what steers at the start and afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from chains import chain_of
from random_label2img import WIDTH, save_label2img
from torch.nn import functional

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import ABSENT, Item
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.generators.diffusion.vq_diffusion_model import load_vq_unet
from stages.networks.attribute_head import AlignedBrainDiffusion, AttributeHead
from stages.networks.brain_diffusion import BrainDiffusion
from stages.networks.controlled_diffusion import ControlledDiffusion, ResidualBlock
from stages.networks.structure_decoder import StructureDecoder
from stages.objectives.attribute_alignment import AttributeAlignment
from stages.objectives.structure_error import StructureError, structural_similarity
from stages.targets.silhouette import DrawnSilhouette
from weights.manifest import read_manifest

NAME = "cmvdm2024"
ENCODER = {"patch_size": 8, "width": 16, "depth": 1, "n_heads": 2}
SMALL = (
    *(f"pretraining.{name}={value}" for name, value in ENCODER.items()),
    *("pretraining.decoder_width=8", "pretraining.decoder_depth=1", "pretraining.decoder_heads=2"),
    *("pretraining.epochs=1", "pretraining.warmup_epochs=0", "pretraining.batch_size=8"),
    *("decoder.epochs=1", "decoder.batch_size=16", "decoder.n_tokens=5"),
    *("alignment.epochs=1", "alignment.batch_size=16", "alignment.n_tokens=5", "alignment.learning_rate=1e-3"),
    *("structure.epochs=2", "control.epochs=1", "control.batch_size=16", "generator.num_inference_steps=3"),
)


# What is published


def test_the_chain_and_its_numbers():
    chain = chain_of(NAME)
    learned = "Learn() -> Learn(brain_tokens) -> Learn(structure) -> Learn(residual) -> Hint(hint) -> Draw(picture)"
    assert repr(chain) == f"Chain({NAME}: {learned})"
    settings = system_class(NAME)().settings
    aligned, structure, control = settings.alignment, settings.structure, settings.control
    assert (aligned.alignment, aligned.batch_size, aligned.learning_rate, aligned.clip) == (0.004, 24, 5.3e-5, 0.5)
    assert (aligned.head_channels, aligned.head_hidden) == (64, 1024) and aligned.clip_input == "own preprocessing"
    recipe = replace(structure, steps_per_epoch=50).recipe()
    assert (recipe.steps, recipe.batch_size, recipe.optimiser.name) == (150 * 50, 24, "adam")
    rates = [recipe.schedule.factor(step, recipe.steps) for step in (0, 100 * 50 - 1, 100 * 50, 140 * 50)]
    assert np.allclose(rates, [1, 1, 0.2, 0.04]) and recipe.optimiser.learning_rate == 5e-3
    assert (structure.absolute, structure.similarity, structure.variation) == (1.0, 0.1, 0.3)
    recipe = control.recipe()
    assert (control.batch_size, recipe.clip, recipe.schedule.kind) == (32, 0.5, "constant")
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (5.3e-5, 0.01)


def size(module):
    return sum(one.numel() for one in module.parameters())


def test_sizes_of_the_published_networks():
    unet = read_manifest()["label2img-ldm"].writes["unet/config.json"]
    tuned = system_class(NAME)().settings.decoder.tuned
    aligned = {"encoder": {}, "unet": unet, "tuned": list(tuned)}
    with torch.device("meta"):
        network = ControlledDiffusion(
            4643, {"residual": (3, 512, 512)}, (77, 512), aligned, {"side": 112, "channels": 64}
        )
        head = AttributeHead(77, 512, 512)
    with torch.device("meta"):
        structure = StructureDecoder(4643, {"structure": (3, 112, 112)})
    assert size(structure.full) == 64 * 14 * 14 * (4643 + 1)
    assert size(structure.convolutions) == 3 * (64 * 64 * 25 + 64) and size(structure.last) == 64 * 3 * 25 + 3
    assert [layer.out_features for layer in network.residual.full] == [1024] * 3
    convolutions = 9 * 32 + 32 + 32 * 64 * 9 + 64 + 64 * 3 * 49 + 3 + 3 * 3 * 49 + 3
    assert size(network.residual) == 4644 * 1024 + 2 * 1025 * 1024 + convolutions
    hint = network.control.controlnet_cond_embedding
    shapes = [tuple(one.weight.shape[:2]) + one.stride for one in (hint.conv_in, *hint.blocks, hint.conv_out)]
    wanted = [(16, 3, 1), (16, 16, 1), (32, 16, 2), (32, 32, 1), (96, 32, 2), (96, 96, 1), (256, 96, 2), (192, 256, 1)]
    assert [one[:3] for one in shapes] == wanted
    # Three levels of two blocks with a way down each, one without; each gives to a skip, and the input too.
    assert len(network.control.controlnet_down_blocks) == 12 and network.control.class_embedding is None
    assert size(head) == 77 * 64 * 3 + 64 + 64 * 4 * 3 + 4 + 2049 * 1024 + 3 * 1025 * 1024 + 1025 * 512
    zero = size(network.control.controlnet_down_blocks) + size(network.control.controlnet_mid_block)
    half = size(network.control) - size(hint) - zero
    with torch.device("meta"):
        whole = type(network.steered.denoiser.unet.base).from_config(unet)
    assert half == size(whole) - size(whole.up_blocks) - size(whole.conv_norm_out) - size(whole.conv_out)


# Parts


def test_the_head_and_its_loss():
    head = AttributeHead(77, 512, 512)
    tokens = torch.randn(3, 77, 512)
    assert head.second(head.first(tokens)).shape == (3, 4, 512) and head(tokens).shape == (3, 512)
    assert head(10 * tokens).min() > -0.2785
    loss = AttributeAlignment("attributes", "meaning")
    same, across = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    for one, other, wanted in (
        (same, 2 * same, 0.004 * np.exp(-1)),
        (same, across, 0.004),
        (same, -same, 0.004 * np.e),
    ):
        assert loss({"attributes": one}, {"meaning": other}, 0)[0].item() == pytest.approx(wanted, rel=1e-5)
    assert 0.004 * np.exp(-1) == pytest.approx(1.4715e-3, rel=1e-4)


def test_the_decoder_of_structure_is_the_formula():
    torch.manual_seed(0)
    decoder, patterns, found = StructureDecoder(20, {"structure": (3, 112, 112)}), torch.randn(2, 20), []
    for convolution in decoder.convolutions:
        convolution.register_forward_hook(lambda module, given, made: found.append(made.shape[-1]))
    maps = decoder(patterns)["structure"]
    assert maps.shape == (2, 3, 112, 112) and found == [28, 56, 112] and 0 < maps.min() < maps.max() < 1
    hidden = (patterns @ decoder.full.weight.T + decoder.full.bias).view(2, 64, 14, 14)
    for convolution, norm in zip(decoder.convolutions, decoder.normalisations):
        hidden = torch.nn.Upsample(scale_factor=2, mode="bicubic")(hidden)
        hidden = functional.conv2d(torch.nn.ReflectionPad2d(2)(hidden), convolution.weight, convolution.bias)
        hidden = torch.nn.SiLU()(functional.group_norm(hidden, 32, norm.weight, norm.bias))
    hidden = functional.conv2d(torch.nn.ReflectionPad2d(2)(hidden), decoder.last.weight, decoder.last.bias)
    torch.testing.assert_close(maps, hidden.sigmoid())


def masks(n, side, seed=0):
    """Discs anywhere, 0 or 1."""
    random, (down, across) = np.random.default_rng(seed), np.indices((side, side))
    found = [(down - y) ** 2 + (across - x) ** 2 < r**2 for y, x, r in random.uniform(side * 0.25, side * 0.6, (n, 3))]
    return torch.tensor(np.array(found), dtype=torch.float32)


def test_the_decoder_of_structure_learns_what_voxels_say_of_pixels():
    torch.manual_seed(0)
    true = masks(220, 16)
    voxels = true.flatten(1) @ torch.randn(256, 60) / 8
    voxels = (voxels - voxels[:180].mean()) / voxels[:180].std()
    decoder, error = StructureDecoder(60, {"structure": (3, 16, 16)}, channels=32), StructureError("structure", "mask")
    optimiser = torch.optim.Adam(decoder.parameters(), 2e-3)
    for step in range(100):
        rows = torch.randint(0, 180, (24,))
        loss, _ = error(decoder(voxels[rows]), {"mask": true[rows]}, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        found = decoder(voxels[180:])["structure"].mean(dim=1)
    each = [np.corrcoef(one.flatten(), other.flatten())[0, 1] for one, other in zip(found, true[180:])]
    assert np.mean(each) > 0.9


def test_structural_similarity_is_scikit_images():
    from skimage.metrics import structural_similarity as reference

    one, other = torch.rand(2, 1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    wanted = np.mean([reference(a.numpy(), b.numpy(), **options) for a, b in zip(one[0], other[0])])
    assert structural_similarity(one, other).item() == pytest.approx(wanted, abs=1e-5)


# What steers


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return save_label2img(tmp_path_factory.mktemp("label2img") / "model")


@pytest.fixture
def controlled(generator):
    """A control branch on a tuned model, at the start, and the model."""
    torch.manual_seed(1)
    unet = load_vq_unet(generator)
    own = {"encoder": ENCODER, "unet": dict(unet.config), "tuned": [r".*\.attn2\..*"]}
    model = BrainDiffusion(30, {"brain_tokens": (5, WIDTH)}, **own).take_unet(unet)
    with torch.no_grad():
        for parameter in model.denoiser.unet.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    structure = StructureDecoder(30, {"structure": (3, 32, 32)}, channels=32)
    network = ControlledDiffusion(30, {"residual": (3, 128, 128)}, (5, WIDTH), own, {"side": 32, "channels": 32})
    return network.take(model, structure), model


def test_at_the_start_nothing_is_steered_and_zeros_learn_first(controlled):
    network, model = controlled
    found = network(torch.randn(2, 30))
    noisy, steps = torch.randn(2, 3, 16, 16), torch.tensor([3, 900])
    plain = model.denoiser(noisy, steps, found["context"])
    steered = network.denoise(noisy, steps, found["context"], found["hint"])
    assert torch.equal(plain, steered)
    assert (network.residual(torch.randn(2, 30)) == 0).all()
    assert found["hint"].shape == (2, 3, 128, 128)
    assert torch.equal(found["hint"][..., ::4, ::4], found["hint"][..., 3::4, 1::4])
    functional.mse_loss(steered, torch.zeros_like(steered)).backward()
    zeros = [*network.control.controlnet_down_blocks, network.control.controlnet_mid_block]
    assert all(one.weight.grad.abs().sum() > 0 for one in zeros)
    before = [network.control.conv_in.weight, network.control.controlnet_cond_embedding.conv_out.weight]
    before += [network.residual.last.weight, network.residual.full[0].weight]
    assert all(one.grad is None or not one.grad.any() for one in before)
    # A picture that begins with zeros learns by its last convolution.
    block = ResidualBlock(30, 64)
    block(torch.randn(2, 30)).sum().backward()
    assert block.last.weight.grad.any() and not block.third.weight.grad.any()


def test_the_branch_begins_as_the_tuned_first_half_and_reads_the_plain_time(controlled):
    network, model = controlled
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    tuned, base = dict(model.denoiser.unet.named_parameters()), dict(model.denoiser.unet.base.named_parameters())
    own = dict(network.control.named_parameters())
    assert torch.equal(own[name], tuned[name]) and not torch.equal(own[name], base[name])
    assert torch.equal(own["conv_in.weight"], base["conv_in.weight"])
    assert network.control.class_embedding is None
    # What is trained, by name: nothing of the model, nor of the decoder of structure.
    trained = {name.split(".")[0] for name, one in network.named_parameters() if one.requires_grad}
    assert trained == {"control", "residual"} and not any(one.requires_grad for one in model.parameters())


def test_each_stage_begins_with_all_that_the_one_before_has(generator):
    unet = load_vq_unet(generator)
    own = {"encoder": ENCODER, "unet": dict(unet.config), "tuned": [r".*\.attn2\..*"]}
    first = BrainDiffusion(30, {"first_tokens": (5, WIDTH)}, **own).take_unet(unet)
    aligned = AlignedBrainDiffusion(30, {"brain_tokens": (5, WIDTH)}, **own, head={"values": 9})
    missing = aligned.take_tuned(first)
    assert missing and all(name.startswith("attribute_head.") for name in missing)
    patterns = torch.randn(2, 30)
    assert torch.equal(first(patterns)["first_tokens"], aligned(patterns)["brain_tokens"])
    assert aligned(patterns)["attributes"].shape == (2, 9)
    control = ControlledDiffusion(30, {"residual": (3, 128, 128)}, (5, WIDTH), own, {"side": 32, "channels": 32})
    assert {name.split(".")[0] for name in control.state_dict()} == {"control", "residual"}
    half = {name for name in control.control.state_dict() if not name.startswith("controlnet_")}
    assert half <= aligned.denoiser.unet.base.state_dict().keys()


# A run


@pytest.fixture(scope="module")
def fitted(small_cohort, generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cmvdm") / "run"
    settings = [f"--set={each}" for each in (*SMALL, f"checkpoints.generator={generator}")]
    line = ["fit", NAME, f"nsd:{small_cohort}", "--weights", "tiny", *settings, "--out", str(folder)]
    assert run_command([*line, "--features", str(folder.parent / "features")]) == 0
    return folder


def test_control_and_residual_alone_are_trained(fitted, generator):
    run = Run(fitted)
    _, first, aligned, _, control, _, _ = run.chain.steps
    plain, own = load_vq_unet(generator).state_dict(), control.decoder.network.network
    tuned = plain | dict(aligned.decoder.network.network.denoiser.unet.named_parameters())
    moved = [
        not torch.equal(value, tuned[name])
        for name, value in own.control.state_dict().items()
        if not name.startswith("controlnet_")
    ]
    assert np.mean(moved) > 0.5 and own.residual.last.weight.any()
    before = first.decoder.network.network.state_dict()
    after = aligned.decoder.network.network.state_dict()
    assert set(after) - set(before) == {name for name in after if name.startswith("attribute_head.")}
    assert any(not torch.equal(after[name], value) for name, value in before.items())


def test_the_hint_steers_the_picture(fitted):
    run = Run(fitted)
    draw, found = run.chain.steps[-1], run.embeddings
    values = {name: found[name][:1] for name in ("brain_tokens", "hint")}
    structure, residual = (
        found[name][0].reshape(3, *[side] * 2) for name, side in (("structure", 32), ("residual", 128))
    )
    wanted = structure.repeat(4, axis=1).repeat(4, axis=2) + residual
    np.testing.assert_allclose(values["hint"][0], wanted.ravel(), atol=1e-6)
    draw.load()
    (branches,) = draw.generator.conditioners[1:]
    torch.manual_seed(0)
    with torch.no_grad():
        for zero in branches.networks[0].controlnet_down_blocks:
            zero.weight.normal_(std=0.1)
        branches.networks[0].controlnet_cond_embedding.conv_out.weight.normal_(std=100)
    pictures = [
        draw.run([Item("subj01", "a")], {**values, "hint": hint}, seed=0)["picture"][0]
        for hint in (values["hint"], values["hint"], -20 * values["hint"], ABSENT)
    ]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2]) and not np.array_equal(pictures[0], pictures[3])


def test_published_and_own_looks_of_clip_differ(generator):
    from stages.targets.clip import CLIPImageVector
    from stages.targets.decoded_clip import DecodedCLIPVector
    from weights import store

    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    clip = store.path("tiny-clip")
    published = DecodedCLIPVector.from_pretrained(clip, autoencoder=generator, size=64)
    plain = CLIPImageVector.from_pretrained(clip)
    assert published.shape == plain.shape and not np.allclose(published.encode(pictures), plain.encode(pictures))
    latents = torch.from_numpy(published.latents.encode(pictures)).view(-1, *published.latents.shape)
    with torch.no_grad():
        side = published.model.visual.image_size
        side = (side, side) if isinstance(side, int) else tuple(side)
        wanted, _ = published.model.visual(functional.interpolate(published.latents.space.decode(latents), side))
    np.testing.assert_allclose(published.encode(pictures), wanted.numpy(), atol=1e-5)
    assert chain_of(NAME, {"alignment": {"clip_input": "as published"}}).steps[1].beside["meaning"].checkpoints == (
        "clip-vit-b-32-openai",
        "label2img-ldm",
    )


def test_silhouettes_of_the_tiny_twin_are_drawn_without_a_network():
    settings = system_class(NAME).tiny
    chain = chain_of(NAME, {"checkpoints": {"silhouette": ""}, "structure": settings["structure"]})
    target = chain.steps[-4].beside["silhouette"].target
    assert isinstance(target, DrawnSilhouette) and target.shape == (32, 32)
