"""A start from decoded layers of VGG19: the scripts' settings, and each value of a run held against its own maker."""

import numpy as np
import pytest
import torch
from chains import chain_of
from random_vgg19 import generator, spreads, vgg19
from small_systems import SMALL, pull_random

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.run import Run
from stages.decoders.ridge.kfold_ridge import KFoldRidgeDecoder
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.errors import InputError
from stages.ground.item_seeds import named_generator

NAME = "takagi2023-gan"
LAYERS = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4", "fc6", "fc7", "fc8")
VALUES = tuple(f"vgg19_{layer}" for layer in LAYERS)
SIX = {"early", "ventral", "midventral", "midlateral", "lateral", "parietal"}


# What is published


def test_the_chain_in_the_published_order():
    decode = f"Decode({', '.join(VALUES)})"
    assert repr(chain_of(NAME)) == (
        f"Chain({NAME}: {decode} -> Draw(first_picture) -> Decode(blip) -> Draw(caption) -> Encode(clip_text) -> Draw(picture))"
    )
    layers, _, states, *_ = chain_of(NAME).steps
    assert set(layers.roi.split(" + ")) == set(states.roi.split(" + ")) == SIX
    without = chain_of(NAME, {"text_context": False, "layers": ["fc7", "fc8"]})
    assert repr(without) == f"Chain({NAME}: Decode(vgg19_fc7, vgg19_fc8) -> Draw(first_picture) -> Draw(picture))"
    assert without.image_embedding == "vgg19_fc8"


def test_the_decoders_are_those_of_the_scripts():
    layers, _, states, *_ = chain_of(NAME).steps
    for step in (layers, states):
        decoder = step.decoder
        assert isinstance(decoder, KFoldRidgeDecoder) and decoder.alphas == (10_000.0, 20_000.0, 40_000.0)
        assert (decoder.folds, decoder.folds_of, decoder.intercept) == (5, "trials", False)
    # The scripts write averages of the layers and would read single trials; all of them are averages here.
    assert layers.settings.trials == "averaged" and states.settings.trials == "single"


def test_the_search_is_that_of_the_scripts():
    search = system_class(NAME)().settings.search
    assert (search.steps, search.learning_rate, search.last_learning_rate) == (200, 2.0, 1e-10)
    assert (search.momentum, search.decay, search.scaling, search.bounds) == (
        0.9,
        0.01,
        "feature_std",
        "activation range",
    )
    assert (search.clip, search.greys, search.start) == (4.0, "cut off", "noise")


def test_what_is_drawn_is_what_takagi2023_text_draws():
    """Same settings but for the start's picture, so that both differ in where denoising starts from alone."""
    own, other = (system_class(name)().settings for name in (NAME, "takagi2023-text"))
    for name in ("generator", "states", "caption", "caption_roi", "noised_to", "start_posterior"):
        assert getattr(own, name) == getattr(other, name)
    assert own.start() == other.start() == StartRule("sample", "direct", "step before")
    assert not system_class(NAME).needs.captions and system_class(NAME).without_captions == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"channels": "GRB"}, "channels is 'GRB'"),
        ({"layers": []}, "layers is "),
        ({"layers": ["fc7", "fc7"]}, "each once"),
        ({"layers": ["fc9"]}, "layers is 'fc9'"),
        ({"search": {"steps": 0}}, "search.steps is 0"),
        ({"decoder": {"trials": "some"}}, "decoder.trials is 'some'"),
        ({"noised_to": "later"}, "noised_to is 'later'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_which_conditions_apply():
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME))}
    expected = {"reconstruction", "oracle_embeddings", "shuffled_responses", "stage_one", "without_stage_one"}
    assert expected | {"without_text_context", "nearest_training_picture"} <= applied


def test_of_the_mean_response_something_is_decoded_with_an_intercept_alone():
    why = CONDITIONS["mean_response"].why_not
    assert "rounding" in why(chain_of(NAME))
    assert why(chain_of(NAME, {"decoder": {"intercept": True}})) is None
    assert why(chain_of(NAME, {"search": {"scaling": "none"}})) is None


def test_the_twin_searches_by_the_embedded_networks():
    kind = system_class(NAME)
    twin = kind(with_weights({}, kind, "tiny"))
    assert {"tiny-vgg19", "tiny-deepsim", "tiny-stable-diffusion"} <= set(twin.checkpoints)
    assert twin.settings.search.steps < kind().settings.search.steps and twin.settings.decoder.intercept
    # Nothing embedded draws under a depth map.
    depth = system_class("takagi2023-depth")
    assert depth(with_weights({}, depth, "tiny")).settings == depth().settings


# A whole run


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    """A run on small random networks in the published layouts, through the command line."""
    root = tmp_path_factory.mktemp(NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_random(NAME, root / "origins")
        chosen = [part for setting in SMALL[NAME].settings for part in ("--set", setting)]
        line = ["run", NAME, f"nsd:{cohort}", "--out", str(root / "run"), "--features", str(features), *chosen]
        options = ["--roi", "early + ventral", "--samples", "2", "--controls", "without_stage_one,shuffled_responses"]
        assert run_command([*line, *options]) == 0
        yield Run(root / "run", features)


def found_of(run, name):
    return read_picture(run.layout.on_the_way("first_picture", "picture", name)).astype(int)


def test_layers_are_decoded_from_averages_of_their_own_region(run):
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    step, train, test = run.chain.steps[0], run.subject.train, run.subject.test
    rois = run.subject.rois
    np.testing.assert_array_equal(step.voxels, rois["early"] | rois["ventral"])
    scaler = StandardScaler().fit(patterns := np.asarray(train.patterns, dtype=np.float64)[:, step.voxels])
    predicted, place = run.chain.predict(test.patterns), 0
    for value in VALUES:
        table = run.chain.targets[value].target.encode(train.images[:])
        alphas = np.asarray(step.decoder.tensors_["column_alpha_"][place : place + table.shape[1]])
        ridge = Ridge(alpha=alphas, fit_intercept=False).fit(scaler.transform(patterns), table)
        expected = ridge.predict(scaler.transform(test.patterns[:, step.voxels]))
        assert np.abs(predicted[value] - expected).max() < 1e-3 * expected.std(), value
        place += table.shape[1]
    assert place == len(step.decoder.tensors_["column_alpha_"])


def test_the_first_picture_vs_the_search_written_out(run):
    """Three steps through both networks from the decoded layers; red stays first, since it was first in what was decoded."""
    name = str(run.subject.test.stimulus_ids[2])
    predicted = run.chain.predict(run.subject.test.patterns[2:3])
    network, draws, usual, wanted = vgg19(), generator(), spreads(vgg19()), {}
    for layer in LAYERS:
        values = predicted[f"vgg19_{layer}"].astype(np.float64).reshape(network.config.shape(layer))
        rows = values.reshape(len(values), -1) if values.ndim == 3 else values[None]
        values = (values - values.mean()) / rows.std(axis=1, ddof=1).mean() * usual[layer].mean() + values.mean()
        wanted[layer] = torch.from_numpy(values).float()
    weights = {layer: 1 / float(values.square().sum()) for layer, values in wanted.items()}
    total = sum(weights.values())
    latent = torch.randn(6, generator=named_generator(f"{run.config.seed}/{name}/0/start of a search"))
    velocity, bound = torch.zeros(6), torch.tensor([2.0, 3, 4, 5, 6, 2])
    for step in range(3):
        latent = latent.requires_grad_()
        picture = draws(latent[None])[:, :, 16:48, 16:48]
        seen = network(picture, LAYERS)
        loss = sum(weights[one] / total * (seen[one][0] - wanted[one]).square().sum() for one in LAYERS)
        (gradient,) = torch.autograd.grad(loss, latent)
        velocity = 0.9 * velocity + gradient / gradient.abs().mean()
        latent = 0.99 * (latent.detach() - (2 + step * (1e-10 - 2) / 3) * velocity)
        latent = torch.minimum(latent.clamp(min=0), bound)
    greys = picture[0].detach().double().permute(1, 2, 0).numpy() + [104.00698793, 116.66876762, 122.67891434]
    low, high = np.percentile(greys, [2, 98])
    expected = np.floor(255 * (np.clip(greys, low, high) - low) / (high - low))
    assert np.abs(found_of(run, name) - expected).max() <= 2 and expected.std() > 20


def test_blue_first_is_another_target_and_a_picture_that_is_turned(run):
    chains = [chain_of(NAME, SMALL[NAME].nested() | {"channels": order}) for order in ("RGB", "BGR")]
    images = run.subject.test.images[:2]
    red, blue = (chain.targets["vgg19_fc7"].target.encode(images) for chain in chains)
    assert np.abs(red - blue).max() > 1e-3 * red.std()
    given = {value: run.chain.predict(run.subject.test.patterns[:1])[value] for value in VALUES}
    one, other = (chain.steps[1].run([Item("", "a")], given)["first_picture"][0] for chain in chains)
    np.testing.assert_array_equal(one, other[..., ::-1])


def test_the_samples_of_a_stimulus_start_from_one_picture_and_those_of_another_from_another(run):
    names = [str(one) for one in run.subject.test.stimulus_ids]
    pictures = [found_of(run, name) for name in names]
    assert len({picture.tobytes() for picture in pictures}) == len(names)
    one, other = (read_picture(run.image_path("reconstruction", names[0], sample)).astype(int) for sample in (0, 1))
    assert np.abs(one - other).max() > 1
    folder = run.layout.on_the_way("first_picture", "picture", names[0]).parent
    # Of the partner's responses there is the partner's own picture.
    assert len(list(folder.glob("*.png"))) == len(names)


def test_a_start_for_all_is_a_setting(run):
    """From one start equal layers are one picture; from noise of each stimulus they are not."""
    given = {value: run.chain.predict(run.subject.test.patterns[:1])[value].repeat(2, axis=0) for value in VALUES}
    items = [Item("", "a"), Item("", "b")]
    for start, equal in (("shared noise", True), ("zeros", True), ("noise", False)):
        settings = SMALL[NAME].nested() | {"search": {"steps": 3, "start": start}}
        one, other = chain_of(NAME, settings).steps[1].run(items, given)["first_picture"]
        assert np.array_equal(one, other) == equal, start


def test_pictures_and_their_controls_are_scored_and_reported(run):
    assert {"reconstruction", "stage_one", "without_stage_one", "shuffled_responses"} <= set(run.scores.conditions)
    assert NAME in run.layout.report.read_text(encoding="utf-8")
