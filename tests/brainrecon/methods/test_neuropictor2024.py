"""NeuroPictor: the scripts' numbers, what is trained and what is not, its phases, its guidance, and exchanged regions."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chains import chain_of
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import Item, Workspace
from brainrecon.datasets import load
from brainrecon.datasets.exchanged_regions import exchanged
from brainrecon.datasets.subject_raster import raster_of
from brainrecon.features.store import FeatureStore
from stages.checkpoints.pretrained import save_network
from stages.generators.diffusion.control_maps import Control
from stages.generators.diffusion.controls import ControlBranch
from stages.generators.diffusion.loading import load_unet
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.generator import in_order
from stages.ground.errors import InputError
from stages.networks.surface_autoencoder import SurfaceAutoencoder
from weights import store
from weights.manifest import CheckpointError

NAME = "neuropictor2024"
TOKENS, MAP = "clip_text", "control_map"
FEW = {"epochs": 2, "emptied_epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "learning_rate": 5e-3}


def small(decoder=None, **settings):
    """The chain at the embedded networks' sizes, with few steps."""
    own = {"decoder": {**FEW, **(decoder or {})}, "generator": {"num_inference_steps": 3}, **settings}
    return chain_of(NAME, own, "tiny")


@pytest.fixture(scope="module")
def subject(small_cohort):
    return load(f"nsd:{small_cohort}", subject="subj01")


@pytest.fixture(scope="module")
def fitted(subject, features):
    """A chain that took six steps, of which the last two with some empty tokens."""
    chain = small()
    chain.fit_in_memory(subject, FeatureStore(features))
    return chain


def drawn(chain, values, **options):
    """Pictures of the chain's last step."""
    items = [Item("subj01", str(row)) for row in range(len(next(iter(values.values()))))]
    return np.stack(chain.steps[1].run(items, values)["picture"])


def predicted(chain, subject):
    items = [Item("subj01", one) for one in subject.test.stimulus_ids]
    return chain.steps[0].run(items, {"patterns": np.asarray(subject.test.patterns)})


# What is published


def test_the_chain_and_its_parts():
    assert repr(chain_of(NAME)) == f"Chain({NAME}: BrainControl(clip_text, control_map) -> Draw(picture))"
    assert set(chain_of(NAME).system.checkpoints) == {
        "stable-diffusion-2-1-base",
        "clip-vit-h-14-laion2b",
        "neuropictor-ukb-autoencoder",
    }


def test_training_and_drawing_are_those_of_the_scripts():
    settings = system_class(NAME)().settings
    own, before = settings.decoder, settings.decoder.for_pretraining()
    each = own.steps_of_an_epoch
    recipe = own.recipe()
    assert recipe.batch_size == 16 * 2 and recipe.steps == (160 + 15) * each and recipe.precision == "bf16"
    spec = recipe.optimiser
    assert (spec.name, spec.learning_rate, spec.weight_decay, spec.undecayed) == ("adamw", 1e-4, 0.01, "none")
    rates = [
        spec.learning_rate * recipe.schedule.factor(step, recipe.steps) for step in (0, 160 * each - 1, 160 * each)
    ]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5])
    assert (own.text_weight, own.emptied_share, recipe.average, recipe.clip) == (0.1, 0.05, None, None)
    assert (before.epochs, before.emptied_epochs, before.text_weight) == (80, 20, 0.0)
    assert own.batch_size_each * 8 == 16 * 6
    drawing = settings.generator
    assert (drawing.num_inference_steps, drawing.guidance_scale, drawing.scheduler) == (50, 5.0, "ddim")
    assert (settings.uncond_control, settings.text_layer, settings.latent_size) == ("kept", "last", 512)
    assert (own.size, own.patch_size, own.width, own.hidden) == (256, 16, 1024, 128)


def test_several_subjects_are_learned_from_without_captions_tokens_and_one_with_them():
    both, one = (chain_of(NAME, {"decoder": {"text_weight": weight}}).steps[0] for weight in (0.0, 0.1))
    assert list(both.targets) == [] and both.gives == (TOKENS, MAP)
    assert list(one.targets) == [TOKENS] and one.gives == (TOKENS, MAP)
    assert chain_of(NAME, {"decoder": {"text_weight": 0.0}, "text_layer": "penultimate"}).system.checkpoints == (
        "neuropictor-ukb-autoencoder",
        "stable-diffusion-2-1-base",
    )


def test_steps_of_an_epoch_are_filled_by_all_pictures_of_all_subjects():
    cohort = {
        name: SimpleNamespace(train=SimpleNamespace(n_stimuli=n)) for name, n in (("subj01", 1000), ("subj02", 900))
    }
    settings = system_class(NAME)().settings.decoder.settled_with(cohort)
    assert settings.samples_of_a_step == 2 * 12 and settings.steps_per_epoch == 1900 // 24
    assert settings.first_emptied == 160 * (1900 // 24)
    assert settings.settled_with({"subj01": cohort["subj01"]}).steps_per_epoch == 1900 // 24
    alone = system_class(NAME)().settings.decoder.settled_with({"subj01": cohort["subj01"]})
    assert (alone.samples_of_a_step, alone.steps_per_epoch) == (32, 1000 // 32)


# What is trained


def test_the_models_tensors_are_those_of_the_file_to_the_byte(subject, features):
    folder = store.path("tiny-stable-diffusion")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}
    held, chain = [], small()
    load_once = chain.steps[0]._load_unet

    def kept(check=True):
        found = load_once(check)
        held.extend([found] if check else [])
        return found

    chain.steps[0]._load_unet = kept
    chain.fit_in_memory(subject, FeatureStore(features))
    file = load_unet(folder, torch.float32, "Stable Diffusion").state_dict()
    (unet,) = held
    assert all(torch.equal(value, file[name]) for name, value in unet.state_dict().items())
    assert not any(one.requires_grad for one in unet.parameters())
    assert before == {path: hashlib.sha256(path.read_bytes()).digest() for path in before}
    # Nor is it stored: what is written is what was trained.
    names = set(chain.steps[0].decoder.network.state_dict())
    assert not any("unet" in name or "up_blocks" in name for name in names)
    # The branch began as the model's first half, and went on from there.
    branch = chain.steps[0].branch.state_dict()
    moved = [name for name in branch if name in file and not torch.equal(branch[name], file[name])]
    assert moved and max((branch[name] - file[name]).abs().max() for name in moved) < 0.2


def test_what_fits_no_expression_keeps_every_byte(subject, features):
    chains = {
        name: small({"trains": [pattern]}) for name, pattern in (("low", r"low_level\..*"), ("high", r"high_level\..*"))
    }
    for chain in chains.values():
        chain.fit_in_memory(subject, FeatureStore(features))
    low, high = (chain.steps[0].decoder.network.network.state_dict() for chain in chains.values())
    same = {name for name in low if torch.equal(low[name], high[name])}
    assert {name for name in low if name.startswith(("encoder.", "rasters."))} <= same
    assert {name for name in low if name not in same} <= {
        name for name in low if name.startswith(("high_level.", "low_level."))
    }
    # Through zero convolutions of a branch that is not trained nothing reaches the map: only what the tokens do is learned.
    assert any(not torch.equal(low[name], high[name]) for name in low if name.startswith("high_level."))
    with pytest.raises(InputError, match="fits no parameter"):
        small({"trains": ["unet.*"]}).fit_in_memory(subject, FeatureStore(features))


def test_what_was_learned_comes_back_from_its_folder(subject, fitted, tmp_path):
    fitted.steps[0].save(tmp_path)
    again = small()
    again.steps[0].open(Workspace(None, tmp_path))
    for name, values in predicted(fitted, subject).items():
        assert np.array_equal(predicted(again, subject)[name], values)
    assert np.array_equal(drawn(again, predicted(again, subject)), drawn(fitted, predicted(fitted, subject)))


def test_the_encoder_starts_from_a_pretrained_one(subject, features, tmp_path):
    own = small().system.settings.decoder
    sizes = {name: getattr(own, name) for name in ("size", "patch_size", "width", "depth", "n_heads")}
    torch.manual_seed(1)
    save_network(
        SurfaceAutoencoder(**sizes, bottleneck=8, decoder_width=8, decoder_depth=1, decoder_heads=2), tmp_path, {}
    )
    pretrained = load_file(tmp_path / "model.safetensors")
    chain = small({"pretrained": True, "trains": [r"high_level\..*"]}, checkpoints={"encoder": str(tmp_path)})
    chain.fit_in_memory(subject, FeatureStore(features))
    encoder = chain.steps[0].decoder.network.network.encoder.state_dict()
    assert encoder and all(torch.equal(value, pretrained[name]) for name, value in encoder.items())
    other = small({"pretrained": True, "depth": 3}, checkpoints={"encoder": str(tmp_path)})
    with pytest.raises((InputError, CheckpointError), match=r"blocks\.2"):
        other.fit_in_memory(subject, FeatureStore(features))


@pytest.mark.parametrize("space", ["func1pt8mm", "fsaverage"])
def test_values_lie_where_they_are_unless_it_is_said_otherwise(space, surface_cohort, features):
    """On the flattened cortex, or, of a volume, slice by slice."""
    one = load(f"nsd:{surface_cohort}", subject="subj01", space=space)
    chain = small({"layout": "places", "epochs": 1, "emptied_epochs": 0, "steps_per_epoch": 1})
    chain.fit_in_memory(one, FeatureStore(features))
    network, raster = chain.steps[0].decoder.network.network, raster_of(one, 64)
    assert np.array_equal(network.rasters.raster("subj01").pixels, raster.pixels)
    assert ("flat map" in raster.origin) == (space == "fsaverage")
    patterns = torch.from_numpy(np.asarray(one.test.patterns[:2]))
    assert torch.equal(network.rasters({"subj01": patterns}), raster.to_raster(patterns))
    assert drawn(chain, predicted(chain, one)).shape == (one.test.n_stimuli, 64, 64, 3)


# Guidance


@pytest.fixture(scope="module")
def steered():
    """``steered(unconditional) -> generator``: the embedded model with a branch whose last convolutions are not zero."""
    from stages.networks.feature_control import branch_config, feature_branch, with_first_half

    folder = store.path("tiny-stable-diffusion")
    unet = load_unet(folder, torch.float32, "Stable Diffusion")
    torch.manual_seed(0)
    branch = with_first_half(feature_branch(branch_config(unet)), unet)
    with torch.no_grad():
        for layer in (*branch.controlnet_down_blocks, branch.controlnet_mid_block):
            layer.weight.normal_(std=0.05)

    def make(unconditional="kept"):
        control = Control(MAP, "", (80, 8, 8), hint="features", unconditional=unconditional)
        return StableDiffusionGenerator.from_pretrained(folder, branches=[ControlBranch(branch, control)])

    return make


@pytest.fixture(scope="module")
def values():
    random = np.random.default_rng(0)
    return {
        TOKENS: random.standard_normal((2, 24, 128), dtype=np.float32),
        MAP: random.standard_normal((2, 80, 8, 8), dtype=np.float32),
    }


def pictures(generator, values, scale):
    items = [Item("subj01", str(row)) for row in range(2)]
    return np.stack(in_order(generator.draw(values, items, num_inference_steps=3, guidance_scale=scale))).astype(int)


def test_with_one_text_in_both_halves_the_scale_does_not_matter(steered, values):
    generator = steered()
    same = {**values, TOKENS: np.stack([generator.empty_text.numpy()] * 2)}
    found = [pictures(generator, same, scale) for scale in (1.0, 5.0, 20.0)]
    assert np.abs(found[1] - found[0]).max() <= 1 and np.abs(found[2] - found[0]).max() <= 1
    # Without the map in one half it does.
    other = [pictures(steered("none"), same, scale) for scale in (1.0, 5.0)]
    assert np.abs(other[0] - found[0]).max() <= 1 and np.abs(other[1] - other[0]).max() > 10


def test_the_unconditional_half_has_the_empty_text_and_the_map(steered, values):
    """ε = ε(empty, map) + s (ε(tokens, map) − ε(empty, map)), each computed by itself."""
    generator, scale = steered(), 5.0
    sampling = generator.prepared(*_rows(generator, values), guidance_scale=scale)
    unet, (control,) = generator.pipeline.unet, sampling.controls
    empty = generator.empty_text.expand(2, -1, -1)
    maps, tokens = torch.from_numpy(values[MAP]), torch.from_numpy(values[TOKENS])
    noisy, timestep = torch.randn(2, 12, 8, 8), torch.tensor(500)
    (branch,) = generator.pipeline.controlnet.nets

    def alone(context):
        down, middle = branch(noisy, timestep, context, maps, return_dict=False)
        return unet(
            noisy,
            timestep,
            context,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample

    with torch.no_grad():
        both, context = torch.cat([noisy, noisy]), torch.cat([empty, tokens])
        residuals = control(both, timestep, context, {})
        nothing, conditional = unet(both, timestep, context, **residuals).sample.chunk(2)
        torch.testing.assert_close(nothing, alone(empty), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(conditional, alone(tokens), atol=1e-4, rtol=1e-4)
    assert torch.equal(sampling.contexts[0].nothing, empty)


def _rows(generator, values):
    from stages.generators.diffusion.latent_diffusion import Row

    weights = {TOKENS: 1.0, MAP: 1.0}
    rows = [
        Row(
            str(row),
            0,
            {**dict.fromkeys(generator.takes), **{name: own[row] for name, own in values.items()}},
            weights,
            1.0,
        )
        for row in range(2)
    ]
    return rows, 0, 3


def test_an_untrained_branch_changes_no_bit_of_a_picture(values):
    from stages.networks.feature_control import branch_config, feature_branch, with_first_half

    folder = store.path("tiny-stable-diffusion")
    unet = load_unet(folder, torch.float32, "Stable Diffusion")
    branch = with_first_half(feature_branch(branch_config(unet)), unet)
    control = Control(MAP, "", (80, 8, 8), hint="features")
    generator = StableDiffusionGenerator.from_pretrained(folder, branches=[ControlBranch(branch, control)])
    plain = StableDiffusionGenerator.from_pretrained(folder)
    alone = pictures(plain, {TOKENS: values[TOKENS]}, 5.0)
    assert np.array_equal(pictures(generator, values, 5.0), alone)


# Exchanged regions


def test_regions_of_another_response_take_the_place_of_ones_own(subject, fitted):
    """All of them give the other's picture, none one's own, and some neither."""
    one, other = np.asarray(subject.test.patterns)[:1], np.asarray(subject.test.patterns)[1:2]
    every, some = (exchanged(subject, roi, one, other) for roi in ("all", "early"))
    none = exchanged(subject, "early", one, one)
    found = fitted.steps[0].run(
        [Item("subj01", "same")] * 5, {"patterns": np.concatenate([one, other, every, none, some])}
    )
    shown = drawn_alike(fitted, found)
    assert np.array_equal(shown[2], shown[1]) and np.array_equal(shown[3], shown[0])
    for name in (TOKENS, MAP):
        assert not np.array_equal(found[name][4], found[name][0]) and not np.array_equal(found[name][4], found[name][1])


def drawn_alike(chain, values):
    """Pictures of rows from one noise."""
    return np.stack(chain.steps[1].run([Item("subj01", "same")] * len(values[MAP]), values)["picture"])


# Sizes


def test_the_published_network_in_outline():
    from stages.networks.feature_control import branch_config
    from stages.networks.neuropictor import NeuroPictorNetwork

    own = system_class(NAME)().settings.decoder
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
        sizes = {name: getattr(own, name) for name in ("size", "patch_size", "width", "depth", "n_heads", "hidden")}
        network = NeuroPictorNetwork(
            {"subj01": 15724}, {TOKENS: (77, 1024), MAP: (320, 64, 64)}, branch_config(unet), **sizes
        )
        found = network({"subj01": torch.empty(2, 15724)})
    assert found[TOKENS].shape == (2, 77, 1024) and found[MAP].shape == (2, 320, 64, 64)
    counted = {name: sum(one.numel() for one in part.parameters()) for name, part in network.named_children()}
    assert counted == {
        "rasters": 0,
        "encoder": 302_838_784,
        "high_level": 2_207_074,
        "low_level": 4_803_332,
        "control_model": 363_141_760,
    }
