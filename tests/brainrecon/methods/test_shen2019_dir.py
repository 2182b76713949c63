"""Deep image reconstruction: the authors' settings, layers decoded unit by unit, pictures held against their own search."""

import numpy as np
import pytest
import torch
from chains import chain_of
from random_vgg19 import generator, spreads, vgg19
from scipy.optimize import fmin_l_bfgs_b
from small_systems import SMALL, pull_random

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.run import Run
from stages.ground.errors import InputError

NAME = "shen2019-dir"
LAYERS = ("conv2_2", "conv4_4", "fc7")
MEANS = np.array([104.00698793, 116.66876762, 122.67891434])
# Of the evaluation network and CLIP, both embedded.
DRAWN = {
    "layers": ["maps6", "features"],
    "instance": True,
    "spreads": "training",
    "checkpoints": {"features": "tiny-evaluation", "pictures": "tiny-deepsim", "instance": "tiny-clip"},
}


# What is published


def test_all_nineteen_layers_and_one_search():
    chain = chain_of(NAME)
    decode, draw = chain.steps
    blocks = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}
    names = [f"vgg19_conv{block}_{place}" for block, n in blocks.items() for place in range(1, n + 1)]
    assert list(decode.gives) == [*names, "vgg19_fc6", "vgg19_fc7", "vgg19_fc8"] == list(draw.reads)
    assert chain.output == "picture" and chain.image_embedding == "vgg19_fc8"
    # Fixed starts: all samples of a stimulus are one picture.
    assert not draw.by_lot and chain_of(NAME, {"form": "icnn-generator-lbfgs"}).steps[1].by_lot


def test_the_search_and_the_decoder_are_those_of_the_scripts():
    settings = system_class(NAME)().settings
    search, decoder = settings.searching, settings.decoder
    assert (search.steps, search.learning_rate, search.last_learning_rate, search.momentum) == (200, 2.0, 1e-10, 0.9)
    assert (search.decay, search.start, search.bounds) == (0.01, "zeros", "activation range")
    assert (search.scaling, search.varied, search.optimiser) == ("spread", "latent", "gradient descent")
    assert (decoder.kind, decoder.voxels, decoder.alpha, decoder.trials) == ("ridge", 500, 100.0, "single")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("dir-pixels", {"steps": 200, "optimiser": "L-BFGS-B", "start": "zeros", "bounds": "greys"}),
        ("cookbook", {"steps": 1000, "scaling": "feature_std_train_mean_center", "start": "shared noise"}),
        ("spurious-adamw", {"steps": 800, "optimiser": "AdamW", "fitted": "resized", "learning_rate": 0.1}),
    ],
)
def test_other_forms_by_name(form, expected):
    searching = system_class(NAME)({"form": form}).settings.searching
    assert {name: getattr(searching, name) for name in expected} == expected
    fewer = system_class(NAME)({"form": form, "search": {"steps": 7}}).settings.searching
    assert fewer.steps == 7 and fewer.optimiser == searching.optimiser


def test_only_what_is_read_is_asked_for():
    kind = system_class(NAME)
    assert kind().checkpoints == ("deepsim-fc7", "vgg19-caffe")
    leaky = {"form": "dir-pixels", "variant": "leaky", "checkpoints": {"features": "vgg19-caffe-leaky"}}
    assert kind(leaky).checkpoints == ("vgg19-caffe-leaky",)
    assert kind(leaky).image_embedding == "vgg19_leaky_fc8"
    twin = kind(with_weights({}, kind, "tiny"))
    assert twin.checkpoints == ("tiny-deepsim", "tiny-vgg19") and twin.fitted_through == ("tiny-vgg19",)
    assert kind(DRAWN).fitted_through == ("tiny-evaluation", "tiny-clip")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"form": "dreams"}, "form is 'dreams'"),
        ({"layers": []}, "layers is "),
        ({"layers": ["fc7", "maps1"]}, "expected some of VGG19, or of maps1"),
        ({"layers": ["fc7", "fc7"]}, "each once"),
        ({"variant": "wet"}, "variant is 'wet'"),
        ({"instance": True}, "spreads is 'published'"),
        ({"layers": ["features"]}, "spreads is 'published'"),
        ({"search": {"steps": 0}}, "search.steps is 0"),
        ({"search": {"stops": 3}}, "no setting 'search.stops'"),
        ({"search": {"varied": "pixels"}}, "search.bounds is 'activation range'"),
        ({"decoder": {"voxels": 0}}, "decoder.voxels is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_which_conditions_apply():
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME))}
    expected = {
        "reconstruction",
        "oracle_embeddings",
        "shuffled_responses",
        "mean_response",
        "nearest_training_picture",
    }
    assert expected <= applied
    # About the training mean nothing is left of it but rounding.
    assert "rounding" in CONDITIONS["mean_response"].why_not(chain_of(NAME, {"form": "cookbook"}))


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
        assert run_command([*line, "--roi", "early", "--controls", "shuffled_responses"]) == 0
        yield Run(root / "run", features)


def test_units_are_decoded_each_from_its_own_voxels(run):
    """Correlation, choice and ridge written out, an intercept that is penalised like a weight."""
    train, test, n_chosen = run.subject.train, run.subject.test, 20
    X, shown = np.asarray(train.betas[:], dtype=np.float64), train.positions
    predicted = run.chain.predict(test.patterns)
    mean, std = X.mean(0), X.std(0, ddof=1)
    for layer, units in (("conv2_2", (0, 700)), ("fc7", (3, 5))):
        table = run.chain.targets[f"vgg19_{layer}"].target.encode(train.images[:]).astype(np.float64)
        for unit in units:
            own_mean, own_std = table[:, unit].mean(), table[:, unit].std(ddof=1)
            y = ((table[:, unit] - own_mean) / own_std)[shown]
            correlations = np.abs([np.corrcoef(column, y)[0, 1] for column in X.T])
            chosen = np.argsort(-correlations)[:n_chosen]
            A = np.column_stack([((X - mean) / std)[:, chosen], np.ones(len(X))])
            weights = np.linalg.solve(A.T @ A + 100 * np.eye(n_chosen + 1), A.T @ y)
            new = np.column_stack([((test.patterns - mean) / std)[:, chosen], np.ones(test.n_stimuli)])
            expected = new @ weights * own_std + own_mean
            found = predicted[f"vgg19_{layer}"].reshape(test.n_stimuli, -1)[:, unit]
            np.testing.assert_allclose(found, expected, atol=1e-3 * own_std)


def wanted_of(predicted, usual):
    """Decoded layers of one picture at the spread of true ones, as the authors scale them, and what each counts."""
    wanted = {}
    for layer in LAYERS:
        values = predicted[f"vgg19_{layer}"].astype(np.float64).reshape(vgg19().config.shape(layer))
        rows = values.reshape(len(values), -1) if values.ndim == 3 else values[None]
        factor = usual[layer].mean() / (rows.std(axis=1).mean() if values.ndim == 3 else rows.std())
        wanted[layer] = torch.from_numpy(values * factor).float()
    weights = {layer: 1 / float(values.square().sum()) for layer, values in wanted.items()}
    return wanted, {layer: weight / sum(weights.values()) for layer, weight in weights.items()}


def stretched(picture, clip=0.04):
    greys = picture.permute(1, 2, 0).double().numpy() + MEANS
    low, high = np.percentile(greys, [clip / 2, 100 - clip / 2])
    return np.floor(255 * (np.clip(greys, low, high) - low) / (high - low))[..., ::-1]


def test_the_picture_vs_the_search_written_out(run):
    """Three steps from zeros through both networks, bounded; the picture before the last change, red first again."""
    name = str(run.subject.test.stimulus_ids[2])
    network, draws = vgg19(), generator()
    wanted, weights = wanted_of(run.chain.predict(run.subject.test.patterns[2:3]), spreads(network))
    latent, velocity, bound = torch.zeros(6), torch.zeros(6), torch.tensor([2.0, 3, 4, 5, 6, 2])
    for step in range(3):
        latent = latent.requires_grad_()
        picture = draws(latent[None])[:, :, 16:48, 16:48]
        seen = network(picture, LAYERS)
        loss = sum(weights[one] * (seen[one][0] - wanted[one]).square().sum() for one in LAYERS)
        (gradient,) = torch.autograd.grad(loss, latent)
        velocity = 0.9 * velocity + gradient / gradient.abs().mean()
        latent = 0.99 * (latent.detach() - (2 + step * (1e-10 - 2) / 3) * velocity)
        latent = torch.minimum(latent.clamp(min=0), bound)
    expected = stretched(picture[0].detach())
    found = read_picture(run.image_path("reconstruction", name, 0)).astype(int)
    assert np.abs(found - expected).max() <= 2 and expected.std() > 20


def test_pixels_vs_scipys_own_search(run):
    """The same layers, pixel by pixel: shapes, letters and imagery."""
    predicted = run.chain.predict(run.subject.test.patterns[:1])
    chain = chain_of(NAME, SMALL[NAME].nested() | {"form": "dir-pixels", "search": {"steps": 4}})
    found = chain.steps[1].run([Item("", "a")], predicted)["picture"][0].astype(int)
    network = vgg19()
    wanted, weights = wanted_of(predicted, spreads(network))

    def loss(flat):
        x = torch.from_numpy(flat.reshape(1, 3, 32, 32)).float().requires_grad_()
        seen = network(x, LAYERS)
        value = sum(weights[one] * (seen[one][0] - wanted[one]).square().sum() for one in LAYERS)
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.numpy().astype(np.float64).ravel()

    lowest = np.broadcast_to(-MEANS[:, None, None], (3, 32, 32)).ravel()
    best, *_ = fmin_l_bfgs_b(loss, np.zeros(3072), maxiter=4, bounds=list(zip(lowest, lowest + 255)))
    expected = stretched(torch.from_numpy(best.reshape(3, 32, 32)))
    assert np.abs(found - expected).max() <= 2 and expected.std() > 20


def test_pictures_and_their_controls_are_scored_and_reported(run):
    assert {"reconstruction", "shuffled_responses"} <= set(run.scores.conditions)
    assert NAME in run.layout.report.read_text(encoding="utf-8")


# Other networks than VGG19


@pytest.fixture(scope="module")
def drawn(cohort, features, tmp_path_factory):
    """A run whose pictures the evaluation network and CLIP look at, about the training mean."""
    folder = tmp_path_factory.mktemp("drawn") / "run"
    chosen = [
        *('layers=["maps6", "features"]', "instance=true", "spreads=training", "form=cookbook", "search.steps=3"),
        *(f"checkpoints.{role}={name}" for role, name in DRAWN["checkpoints"].items()),
        "decoder.voxels=20",
    ]
    line = ["run", NAME, f"nsd:{cohort}", "--out", str(folder), "--features", str(features), "--controls", "none"]
    assert run_command([*line, *(part for setting in chosen for part in ("--set", setting))]) == 0
    return Run(folder, features)


def test_the_evaluation_network_and_clip_may_look_at_pictures(drawn):
    decode, draw = drawn.chain.steps
    assert decode.gives == ("evaluation_maps6", "evaluation_features", "instance")
    images = drawn.subject.train.images[:]
    for name in decode.gives:
        target = drawn.chain.targets[name].target
        table = target.encode(images).astype(np.float64)
        np.testing.assert_allclose(decode.training_means[name], table.mean(0).reshape(target.shape), atol=1e-4)
        rows = table.reshape(len(table), *target.shape)
        expected = rows.reshape(len(rows), target.shape[0] if rows.ndim == 4 else 1, -1).std(axis=2, ddof=1).mean()
        assert decode.spreads[name] == pytest.approx(expected, rel=1e-4)
    searching = draw.generator
    assert searching.takes == {"evaluation_maps6": (104, 8, 8), "evaluation_features": (64,), "instance": (64,)}
    # What is looked at is what was decoded: the networks see in a picture what the targets say of it.
    greys = torch.from_numpy(images[:2, ..., ::-1] - np.float32(MEANS)).permute(0, 3, 1, 2)
    with torch.no_grad():
        seen = searching._looked_at(greys)
    for name, values in seen.items():
        expected = drawn.chain.targets[name].target.encode(images[:2])
        np.testing.assert_allclose(values.flatten(1).numpy(), expected, atol=0.02 * expected.std())
    assert "evaluation" in " ".join(drawn.chain.system.fitted_through)
