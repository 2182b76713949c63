"""LEA both ways: its settings, its links, what is trained in it, and whole runs on the embedded networks."""

import json

import numpy as np
import pytest
import torch
from chains import chain_of, pictures_of

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.region_latents import disjoint_columns
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.methods.lea2024 import LEA2024, LEA2024Settings
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from stages.networks.masked_tokens import MaskedTokens, MaskedTokensConfig
from weights import store

FEW = {
    "decoder": {"steps": 8, "warmup": 2, "batch_size": 4, "latent": 12, "width": 16, "n_heads": 2, "depth": 1}
    | {"decoder_width": 16, "latent_weight": 0.0},
    "generator": {"num_inference_steps": 3},
}
FEW_STEPS = [
    "--set=generator.num_inference_steps=3",
    *(f"--set=decoder.{name}={value}" for name, value in FEW["decoder"].items()),
]


def tiny(**settings):
    return chain_of("lea2024", FEW | settings, "tiny")


@pytest.fixture(scope="module")
def subject(small_cohort):
    return load(f"nsd:{small_cohort}")


@pytest.fixture(scope="module")
def fitted(subject):
    return tiny().fit_in_memory(subject)


def test_its_defaults_are_what_its_authors_ran():
    settings = LEA2024Settings()
    decoder, tokens = settings.decoder, settings.tokens
    recipe = decoder.recipe
    assert (recipe.steps, recipe.batch_size, recipe.clip) == (100_000, 8, 0.1)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (5e-5, 0.01)
    assert recipe.optimiser.betas == (0.9, 0.95) and (recipe.schedule.kind, recipe.schedule.warmup) == ("linear", 8000)
    assert (decoder.dropped, decoder.n_tokens, decoder.latent) == (0.25, 32, 1024)
    assert (decoder.width, decoder.depth, decoder.n_heads) == (1024, 24, 16)
    assert (decoder.decoder_width, decoder.decoder_depth, decoder.voxels) == (512, 8, "all voxels together")
    recipe = tokens.recipe
    assert (recipe.steps, recipe.batch_size, recipe.clip, recipe.schedule.warmup) == (300_000, 8, None, 20_000)
    assert (tokens.least, tokens.smoothing, recipe.optimiser.learning_rate, tokens.mirrored) == (0.5, 0.1, 5e-5, True)
    assert (settings.link.alpha, settings.link.rescale) == (500.0, "none")
    assert vars(settings.generator) == {"num_inference_steps": 11, "temperature": 4.5}
    assert from_dict(LEA2024Settings, to_dict(settings)) == settings


def test_its_chains_in_both_directions():
    assert repr(chain_of("lea2024", {}, "tiny")) == (
        "Chain(lea2024: Learn(brain_latent) -> DecodeLatent(clip_image) -> Draw(picture))"
    )
    assert "LearnTokens() -> Draw(picture)" in repr(chain_of("lea2024"))
    encoding = chain_of("lea2024", {"output": "responses"})
    assert repr(encoding) == "Chain(lea2024: Encode(clip_image) -> EvokeResponses(responses))"
    assert encoding.encodes and encoding.system.checkpoints == ("clip-vit-h-14-laion2b", "mindvis-hcp-encoder")
    assert "maskgit-imagenet256" in chain_of("lea2024").system.checkpoints
    assert LEA2024({"link": {"rescale": "transductive"}}).notes[0].startswith("Predictions are rescaled by statistics")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": "captions"}, "output is 'captions'"),
        ({"decoder": {"dropped": 1.0}}, "decoder.dropped is 1.0"),
        ({"decoder": {"batch_size": 8, "accumulate": 3}}, "accumulate is 3 but batch_size is 8"),
        ({"link": {"rescale": "always"}}, "link.rescale is 'always'"),
        ({"tokens": {"least": 2.0}}, "least is 2.0"),
        ({"generator": {"num_inference_steps": 0}}, "generator.num_inference_steps is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(InputError) as error:
        chain_of("lea2024", settings)
    assert said in str(error.value)


def test_the_latent_goes_through_the_origin_to_embeddings(fitted, subject):
    learned, link, _ = fitted.steps
    patterns = np.asarray(subject.train.patterns, dtype=np.float32)
    latents = learned.run([], {"patterns": patterns})["brain_latent"].astype(float)
    true = np.asarray(fitted.targets["clip_image"].target.encode(subject.train.images[:]), dtype=float)
    np.testing.assert_allclose(np.linalg.norm(true, axis=1), 1, rtol=1e-5)
    weights = np.linalg.solve(latents.T @ latents + 10.0 * np.eye(12), latents.T @ true)
    np.testing.assert_allclose(link.decoder.tensors_["coef"], weights.T, rtol=1e-3, atol=1e-6)
    assert not link.decoder.tensors_["intercept"].any()
    network = learned.decoder.network
    assert len(set(network.mean.tolist())) == 1 and len(set(network.scale.tolist())) == 1
    order = [voxel for region in disjoint_columns(subject, ()) for voxel in region]
    assert network.network.order.tolist() == order and sorted(order) == list(range(subject.n_voxels))


def test_regions_may_be_named(subject):
    early, rest = disjoint_columns(subject, ("early",))
    assert early == np.flatnonzero(subject.rois["early"]).tolist() and len(early) + len(rest) == subject.n_voxels


def test_transductive_rescaling_needs_more_than_one_pattern(subject):
    chain = tiny(link={"alpha": 10.0, "rescale": "transductive"}).fit_in_memory(subject)
    patterns = np.asarray(subject.test.patterns)
    found = chain.predict(patterns)["clip_image"]
    true = np.asarray(chain.targets["clip_image"].target.encode(subject.train.images[:]))
    np.testing.assert_allclose(found.mean(axis=0), true.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0, ddof=1), true.std(axis=0, ddof=1), rtol=1e-3)
    with pytest.raises(InputError, match="has no standard deviation"):
        chain.predict(patterns[:1])
    from brainrecon.assembly.condition import CONDITIONS

    assert "no spread" in CONDITIONS["mean_response"].why_not(chain)


def test_the_network_over_tokens_goes_on_from_one_with_a_class(subject, tmp_path, monkeypatch):
    torch.manual_seed(0)
    sizes = {"n_places": 256, "width": 16, "depth": 1, "n_heads": 2}
    published = MaskedTokens(MaskedTokensConfig(256, 3, context=0, class_place=True, **sizes))
    published.save_pretrained(tmp_path / "published", torch.float32)
    settings = {"learn_tokens": True, "checkpoints": {"generator": str(tmp_path / "published")}}
    tokens = {"steps": 3, "warmup": 1, "batch_size": 4}
    chain = tiny(tokens=tokens, **settings)
    learned = chain.steps[2]
    started, _ = learned._begin()
    assert torch.equal(started.token_emb.weight, published.token_emb.weight)
    assert torch.equal(started.de_pos_emb.weight, published.de_pos_emb.weight) and started.config.context == 64
    chain.fit_in_memory(subject)
    assert not torch.equal(learned.network.token_emb.weight, published.token_emb.weight)
    assert learned.network.config.n_classes == 3 and chain.steps[-1].generator.network is learned.network
    assert pictures_of(chain, subject).shape == (4, 64, 64, 3)
    again = tiny(tokens=tokens, **settings)
    chain.save(tmp_path / "saved")
    again.open(tmp_path / "saved")
    np.testing.assert_array_equal(pictures_of(again, subject), pictures_of(chain, subject))
    assert [row["network"] for row in again.summary() if "network" in row] == ["RegionAutoencoder", "MaskedTokens"]


def test_mirrored_pictures_are_learned_with_their_own_tokens_and_embeddings(subject):
    chain = tiny(learn_tokens=True, tokens={"steps": 2, "warmup": 1, "batch_size": 2})
    learned, given = chain.steps[2], []
    table = {
        name: np.asarray(chain.learned_targets[name].target.encode(subject.train.images[:]))
        for name in ("vq_tokens", "clip_image")
    }

    class Asked:
        subject, features = None, staticmethod(lambda names: {name: table[name] for name in names})

    Asked.subject = subject
    tokens, embeddings = learned._pictures(Asked, lambda *told: given.append(told))
    turned = np.ascontiguousarray(np.asarray(subject.train.images[:])[:, :, ::-1])
    np.testing.assert_array_equal(tokens[1], chain.learned_targets["vq_tokens"].target.encode(turned))
    np.testing.assert_allclose(embeddings[1], chain.targets["clip_image"].target.encode(turned), atol=1e-5)
    np.testing.assert_array_equal(tokens[0], table["vq_tokens"])
    assert given


def test_responses_are_predicted_from_pictures_alone(subject, tmp_path):
    chain = tiny(output="responses").fit_in_memory(subject)
    evoke = chain.steps[-1]
    found = chain.predict(np.asarray(subject.test.images[:]))["responses"]
    assert found.shape == (4, subject.n_voxels) and np.isfinite(found).all()
    network = evoke._learned.decoder.network
    true = chain.targets["clip_image"].target.encode(subject.test.images[:])
    latents = torch.from_numpy(evoke._ridge.predict(true.astype(float)).astype(np.float32))
    with torch.no_grad():
        wanted = network.network.decode(latents) * network.scale + network.mean
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-4)
    chain.save(tmp_path)
    again = Chain(system_class("lea2024")(chain.system.settings)).open(tmp_path)
    np.testing.assert_allclose(again.predict(np.asarray(subject.test.images[:]))["responses"], found, rtol=1e-5)


def test_a_run_of_the_encoding_direction_is_scored(small_cohort, features, tmp_path):
    out = tmp_path / "run"
    line = [
        "run",
        "lea2024",
        "--weights",
        "tiny",
        f"nsd:{small_cohort}",
        "--out",
        str(out),
        "--features",
        str(features),
    ]
    assert run_command([*line, *FEW_STEPS, "--set=output=responses"]) == 0
    run = Run(out)
    assert run.chain.encodes and run.scores.responses.row("voxel_correlation") is not None
    assert json.loads((out / "decoder" / "responses" / "config.json").read_text()) == {"class": "EvokeResponses"}
    assert 'id="responses"' in (out / "report.html").read_text()


def test_absent_weights_name_the_embedded_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    with pytest.raises(store.CheckpointError, match="maskgit-imagenet256.*--weights tiny"):
        chain_of("lea2024", {"learn_tokens": False}).steps[-1].generator
