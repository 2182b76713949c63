"""Pictures from layers of VGG19 through a generator: the whole way written out, both orders of colours, and the way back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_vgg19 import (
    BOUNDS,
    GENERATOR_CONFIG,
    SPREADS,
    VGG19_CONFIG,
    generator,
    save_deepsim,
    save_vgg19,
    spreads,
    vgg19,
)
from scipy import ndimage
from scipy.io import savemat

from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.inverters.feature_scaling import scaled
from stages.inverters.feature_spreads import SPREADS_FILES, read_spreads
from stages.inverters.looks import Look
from stages.inverters.picture_search_presets import PRESETS
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.inverters.search_starts import first_input
from stages.inverters.searched_pictures import PictureSearch
from stages.networks.vgg19 import MEANS, VGG19
from stages.networks.vgg19_names import PLACES
from stages.targets.vgg19_layers import VGG19Layer
from weights.manifest import CheckpointError

LAYERS = ("conv1_2", "conv3_4", "conv5_4", "fc7", "fc8")
FEW = PictureSearchSettings(steps=5)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("search")
    save_vgg19(place / "vgg19")
    save_deepsim(place / "generator")
    return place / "vgg19", place / "generator"


@pytest.fixture(scope="module")
def features():
    """Of three pictures, as they might be decoded: weaker than true ones, with noise."""
    random, network = np.random.default_rng(0), vgg19()
    shown = torch.from_numpy(random.normal(0, 60, (3, 3, 32, 32)).astype(np.float32))
    true = network(shown, LAYERS)
    return {
        f"vgg19_{name}": 0.2 * values.numpy() + 0.1 * random.standard_normal(values.shape).astype(np.float32)
        for name, values in true.items()
    }


def test_a_picture_vs_the_whole_way_written_out(folders, features):
    """Five steps through both networks by plain torch, from features as they are decoded to grey levels."""
    searching = PictureSearch.from_pretrained(*folders, LAYERS, settings=FEW, channels="RGB")
    (drawn,) = in_order(searching.draw({name: rows[1:2] for name, rows in features.items()}, [Item("a")], seed=4))
    network, draws, usual = vgg19(), generator(), spreads(vgg19())
    wanted = {}
    for name in LAYERS:
        values = features[f"vgg19_{name}"][1].astype(np.float64)
        channels = values.reshape(len(values), -1) if values.ndim == 3 else values[None]
        spread = channels.std(axis=1, ddof=1).mean()
        wanted[name] = torch.from_numpy((values - values.mean()) / spread * usual[name].mean() + values.mean()).float()
    weights = np.array([1 / float(values.square().sum()) for values in wanted.values()])
    weights /= weights.sum()
    latent = first_input(FEW, (6,), 4, Item("a")).requires_grad_()
    velocity, bound = torch.zeros(6), torch.tensor([2.0, 3, 4, 5, 6, 2])
    for step in range(5):
        picture = draws(latent[None])[:, :, 16:48, 16:48]
        x, seen, loss = picture, {}, 0
        for number, module in enumerate(network.features):
            seen["features", number] = x = module(x)
        x = x.flatten(1)
        for number, module in enumerate(network.classifier):
            seen["classifier", number] = x = module(x)
        for weight, (name, values) in zip(weights, wanted.items()):
            loss = loss + weight * (seen[PLACES[name]][0] - values).square().sum()
        (gradient,) = torch.autograd.grad(loss, latent)
        velocity = 0.9 * velocity + gradient / gradient.abs().mean()
        latent = (latent.detach() - (2 + step * (1e-10 - 2) / 5) * velocity) * 0.99
        latent = torch.minimum(latent.clamp(min=0), bound).requires_grad_()
    greys = picture[0].detach().double().permute(1, 2, 0).numpy() + [104.00698793, 116.66876762, 122.67891434]
    low, high = np.percentile(greys, [2, 98])
    expected = np.floor(255 * (np.clip(greys, low, high) - low) / (high - low))
    assert drawn.shape == (32, 32, 3) and np.abs(drawn - expected).max() <= 1 and drawn.std() > 20


def test_the_middle_of_the_generators_picture_is_looked_at(folders):
    assert GENERATOR_CONFIG.picture - VGG19_CONFIG.picture == 2 * 16
    searching = PictureSearch.from_pretrained(*folders, LAYERS)
    drawn = searching.generator(torch.ones(1, 6))
    for name, values in searching.looks[0].network(drawn[..., 16:48, 16:48], LAYERS).items():
        assert torch.equal(searching._looked_at(drawn)[f"vgg19_{name}"], values)


def test_blue_first_is_turned_round_and_red_first_is_not(folders, features):
    """The search is the same in either order; what its channels are called differs, and the means with them."""
    both = [PictureSearch.from_pretrained(*folders, LAYERS, settings=FEW, channels=order) for order in ("RGB", "BGR")]
    red, blue = (in_order(one.draw(features, [Item("a"), Item("b"), Item("c")]))[0] for one in both)
    np.testing.assert_array_equal(red, blue[..., ::-1])
    assert np.abs(red.astype(int) - blue).max() > 10


def test_the_slip_is_undone_for_a_network_that_tells_no_channels_apart_and_for_no_other(folders):
    """Features of red first and no turn, or of blue first and a turn: one picture only if the three channels are alike."""
    pictures = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    # Three grey means are three channels alike, too; without them the search sees a swap alone.
    ways = {}
    for symmetric in (True, False):
        network, draws = vgg19(), generator()
        if symmetric:
            network.features[0].weight.data[:] = network.features[0].weight.mean(dim=1, keepdim=True)
            draws.deconv0.weight.data[:] = draws.deconv0.weight.mean(dim=1, keepdim=True)
            draws.deconv0.bias.data[:] = draws.deconv0.bias.mean()
        looks, usual = [Look(network, LAYERS, prefix="vgg19_")], {f"vgg19_{name}": 1.0 for name in LAYERS}
        for order in ("RGB", "BGR"):
            values = {f"vgg19_{name}": VGG19Layer(network, name, channels=order).encode(pictures) for name in LAYERS}
            searching = PictureSearch(looks, draws, FEW, usual, bounds=torch.full((6,), 4.0), channels=order)
            ways[symmetric, order] = in_order(searching.draw(values, [Item("a")]))[0].astype(int)
    greys = [ways[True, order].mean(axis=-1) for order in ("RGB", "BGR")]
    assert np.abs(greys[0] - greys[1]).max() <= 2
    assert np.abs(ways[False, "RGB"] - ways[False, "BGR"]).mean() > 5


def test_a_picture_of_the_generators_own_is_found_again(folders):
    searching = PictureSearch.from_pretrained(
        *folders, LAYERS, settings=PictureSearchSettings(steps=150, scaling="none", learning_rate=0.3, decay=0.0)
    )
    latent = torch.tensor([[0.3, 2.0, 1.0, 0.1, 3.0, 1.5]])
    picture = searching.generator(latent)
    shown = {name: values.numpy() for name, values in searching._looked_at(picture).items()}
    start = first_input(searching.settings, (6,), 0, Item("a"))
    found, (losses,) = searching.search(shown, [Item("a")])
    assert losses[-1] < 0.2 * losses[0]
    begun, ended = (
        np.corrcoef(one[..., 16:48, 16:48].flatten().numpy(), picture[..., 16:48, 16:48].flatten().numpy())[0, 1]
        for one in (searching.generator(start[None]), found)
    )
    assert ended > 0.9 and ended > begun + 0.1


def test_what_it_takes_and_whether_it_draws_by_lot(folders, features):
    searching = PictureSearch.from_pretrained(*folders, LAYERS, settings=FEW)
    assert searching.takes == {f"vgg19_{name}": VGG19_CONFIG.shape(name) for name in LAYERS} and searching.draws_by_lot
    shared = PictureSearch.from_pretrained(*folders, LAYERS, settings=PictureSearchSettings(steps=2, start="zeros"))
    items = [Item("a"), Item("b")]
    same = {name: rows[:1].repeat(2, axis=0) for name, rows in features.items()}
    assert not shared.draws_by_lot
    np.testing.assert_array_equal(*in_order(shared.draw(same, items)))
    one, other = in_order(searching.draw(same, items))
    assert np.abs(one.astype(int) - other).max() > 1


def test_progress_counts_steps_and_pictures(folders, features):
    calls = []
    searching = PictureSearch.from_pretrained(*folders, LAYERS, settings=FEW)
    list(searching.draw(features, [Item(name) for name in "abc"], progress=lambda *call: calls.append(call)))
    assert calls[4] == ("searching", 5, 15) and calls[14] == ("searching", 15, 15) and calls[-1] == ("pictures", 3, 3)


def test_spreads_are_those_of_channels(folders):
    found = read_spreads(folders[0] / SPREADS, LAYERS)
    for name, expected in ((name, spreads(vgg19())[name]) for name in LAYERS):
        np.testing.assert_allclose(found[name], expected if expected.ndim == 3 else expected.item())


def test_what_is_missing_is_named(folders, tmp_path):
    with pytest.raises(CheckpointError, match="spread nan of relu7"):
        PictureSearch.from_pretrained(*folders, ("conv1_1", "relu7"))
    with pytest.raises(InputError, match="layer is 'fc9'"):
        PictureSearch.from_pretrained(*folders, ("fc9",), settings=PictureSearchSettings(scaling="none"))
    with pytest.raises(InputError, match=r"layers is \[\]; expected one or more"):
        PictureSearch.from_pretrained(*folders, ())
    looks, usual = [Look(vgg19(), LAYERS)], dict.fromkeys(LAYERS, 1.0)
    with pytest.raises(InputError, match="The bounds are not given"):
        PictureSearch(looks, generator(), spreads=usual)
    with pytest.raises(InputError, match="The spreads are given without fc8"):
        PictureSearch(looks, generator(), spreads=dict.fromkeys(LAYERS[:-1], 1.0))
    with pytest.raises(InputError, match="The means are not given"):
        about = PictureSearchSettings(scaling="feature_std_train_mean_center")
        PictureSearch(looks, generator(), about, usual)
    with pytest.raises(InputError, match="the generator is NoneType; expected a generator"):
        PictureSearch(looks, None, spreads=usual)
    with pytest.raises(InputError, match="0 networks look at pictures"):
        PictureSearch([], generator(), spreads=usual)
    with pytest.raises(InputError, match="Two values are called the same"):
        PictureSearch([*looks, *looks], generator(), spreads=usual)
    save_vgg19(tmp_path / "vgg19")
    save_deepsim(tmp_path / "generator")
    (tmp_path / "generator" / BOUNDS).unlink()
    (tmp_path / "vgg19" / SPREADS).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="estimated_cnn_feat_std.*MATLAB"):
        PictureSearch.from_pretrained(tmp_path / "vgg19", folders[1], LAYERS)
    with pytest.raises(CheckpointError, match="fc7.txt is absent"):
        PictureSearch.from_pretrained(folders[0], tmp_path / "generator", LAYERS)


def test_a_generator_of_smaller_pictures_is_refused(features):
    settings = PictureSearchSettings(scaling="none", bounds="none", steps=1)
    searching = PictureSearch([Look(vgg19(), LAYERS, prefix="vgg19_")], generator(), settings, image_size=96)
    with pytest.raises(InputError, match="draws 64 x 64 pixels where the network reads 96"):
        in_order(searching.draw(features, [Item(name) for name in "abc"]))


# Other forms

PIXELS = replace(PRESETS["dir-pixels"], steps=25)


def test_pixels_are_found_again_through_the_leaky_network(folders):
    """From the mean colour, within black and white."""
    settings, layers = replace(PIXELS, steps=40, scaling="none"), ("conv1_1", "conv1_2")
    searching = PictureSearch.from_pretrained(folders[0], None, layers, settings=settings, variant="leaky")
    assert list(searching.takes) == ["vgg19_leaky_conv1_1", "vgg19_leaky_conv1_2"] and not searching.draws_by_lot
    greys = ndimage.zoom(np.random.default_rng(5).uniform(0, 255, (3, 4, 4)), (1, 8, 8), order=1)
    shown = torch.from_numpy(greys[None] - np.array(MEANS)[:, None, None]).float()
    features = {name: values.numpy() for name, values in searching._looked_at(shown).items()}
    pictures, (losses,) = searching.search(features, [Item("a")])
    found = pictures[0].double().numpy() + np.array(MEANS)[:, None, None]
    assert losses[-1] < 0.01 * losses[0] and found.min() > -1e-3 and found.max() < 255.001
    assert np.corrcoef(found.ravel(), greys.ravel())[0, 1] > 0.9


def test_the_leaky_network_has_its_own_spreads(tmp_path):
    save_vgg19(tmp_path)
    with pytest.raises(CheckpointError, match="estimated_vgg19LeakyReluAvePool_cnn_feat_std.mat"):
        PictureSearch.from_pretrained(tmp_path, None, LAYERS, settings=PIXELS, variant="leaky")
    savemat(tmp_path / SPREADS_FILES["leaky"][0], {name: np.float32([[3.0]]) for name in LAYERS})
    searching = PictureSearch.from_pretrained(tmp_path, None, LAYERS, settings=PIXELS, variant="leaky")
    assert searching._spreads == {f"vgg19_leaky_{name}": 3.0 for name in LAYERS}
    # The original's lies there under either of two names.
    (tmp_path / SPREADS).rename(tmp_path / SPREADS_FILES["original"][1])
    assert set(PictureSearch.from_pretrained(tmp_path, None, LAYERS, settings=PIXELS)._spreads) == {
        f"vgg19_{name}" for name in LAYERS
    }


def test_several_networks_look_at_once_each_at_what_it_takes(folders, features):
    """One takes greys of 0 to 1 and other sizes, and has values of its own name."""

    class Colours(torch.nn.Module):
        def forward(self, pictures, layers):
            seen.append(pictures.detach())
            return {layer: pictures.mean((2, 3)) for layer in layers}

    seen = []
    colours = Look(
        Colours(), ("mean",), size=16, shapes={"mean": (3,)}, prefix="colour_", prepare=lambda greys: greys / 255
    )
    settings = PictureSearchSettings(steps=6, scaling="none", bounds="none", start="zeros")
    both = PictureSearch([Look(vgg19(), ("fc7",), prefix="vgg19_"), colours], generator(), settings)
    assert both.takes == {"vgg19_fc7": (8,), "colour_mean": (3,)} and both.image_size == 32

    def drawn(mean):
        values = {"vgg19_fc7": features["vgg19_fc7"][:1], "colour_mean": np.float32([mean])}
        return in_order(both.draw(values, [Item("a")]))[0].astype(int)

    assert np.abs(drawn([0.9, 0.5, 0.1]) - drawn([0.1, 0.5, 0.9])).max() > 1
    # Red first, whatever the search has first.
    expected = generator()(torch.zeros(1, 6))[..., 16:48, 16:48] + torch.tensor(MEANS)[:, None, None]
    torch.testing.assert_close(seen[0].mean((2, 3)), expected.flip(1).mean((2, 3)) / 255, rtol=1e-4, atol=1e-5)
    assert seen[0].shape == (1, 3, 16, 16)


def test_features_straight_into_the_generator(folders):
    """Scaled, drawn once, and looked at by nothing."""
    settings, draws = PRESETS["direct"], generator()
    direct = PictureSearch([], draws, settings, spreads={"caffenet_relu7": 2.0}, latent="caffenet_relu7")
    assert direct.takes == {"caffenet_relu7": (6,)} and not direct.draws_by_lot and direct.image_size == 64
    decoded = np.random.default_rng(2).uniform(0, 1, (2, 6)).astype(np.float32)
    pictures, losses = direct.search({"caffenet_relu7": decoded}, [Item("a"), Item("b")])
    expected = draws(torch.from_numpy(decoded / decoded.std(axis=1, keepdims=True) * 2))
    torch.testing.assert_close(pictures, expected, rtol=1e-4, atol=1e-2)
    calls = []
    drawn = in_order(
        direct.draw({"caffenet_relu7": decoded}, [Item("a"), Item("b")], progress=lambda *call: calls.append(call))
    )
    assert drawn[0].shape == (64, 64, 3) and losses == [[], []] and calls[-1] == ("pictures", 2, 2)


def test_a_search_may_start_from_decoded_features(folders, features):
    settings = PictureSearchSettings(steps=1, scaling="none", bounds="none", start="decoded")
    searching = PictureSearch([Look(vgg19(), ("fc7",), prefix="vgg19_")], generator(), settings, latent="relu7")
    latent = np.float32([[1, 2, 3, 4, 5, 6]])
    pictures, _ = searching.search({"vgg19_fc7": features["vgg19_fc7"][:1], "relu7": latent}, [Item("a")])
    torch.testing.assert_close(pictures, generator()(torch.from_numpy(latent)))
    with pytest.raises(InputError, match="The latent are not given; .* start='noise'"):
        PictureSearch([Look(vgg19(), ("fc7",))], generator(), settings)


def test_all_that_is_drawn_may_be_looked_at_smaller_and_stretched():
    settings = replace(PRESETS["spurious-adamw"], steps=2, scaling="none")
    network, draws = vgg19(), generator()
    searching = PictureSearch([Look(network, ("fc7",))], draws, settings)
    drawn = draws(torch.ones(1, 6))
    smaller = torch.nn.functional.interpolate(drawn, size=(32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(searching._looked_at(drawn)["fc7"], network(smaller, ("fc7",))["fc7"])
    greys = (
        (drawn[0].double() + torch.tensor(MEANS).double()[:, None, None]).flip(0).clamp(0, 255).permute(1, 2, 0).numpy()
    )
    low, high = np.percentile(greys, [2, 98])
    expected = np.floor(255 * (np.clip(greys[16:48, 16:48], low, high) - low) / (high - low))
    assert np.abs(searching._shown(drawn[0]) - expected).max() <= 1


def test_of_256_pixels_the_middle_224_begin_at_16():
    with torch.device("meta"):
        searching = PictureSearch([Look(VGG19(), LAYERS)], None, replace(PIXELS, scaling="none"))
    rows = torch.arange(256.0)[:, None].expand(3, 256, 256)
    assert searching.space.middle(rows)[0, [0, -1], 0].tolist() == [16, 239]


def test_scaling_about_training_means(folders, features):
    """As `scaled` does it, with the mean of each value."""
    settings = PictureSearchSettings(steps=2, scaling="feature_std_train_mean_center", bounds="none", start="zeros")
    means = {name: rows.mean(axis=0) for name, rows in features.items()}
    usual = {name: 2.0 for name in features}
    looks = [Look(vgg19(), LAYERS, prefix="vgg19_")]
    searching = PictureSearch(looks, generator(), settings, usual, means)
    _, losses = searching.search({name: rows[:1] for name, rows in features.items()}, [Item("a")])
    wanted = {name: scaled(rows[0], 2.0, settings.scaling, means[name]) for name, rows in features.items()}
    plain = PictureSearch(looks, generator(), replace(settings, scaling="none"))
    _, expected = plain.search({name: rows[None] for name, rows in wanted.items()}, [Item("a")])
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
