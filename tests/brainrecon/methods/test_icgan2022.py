"""IC-GAN from responses to pictures: its parts, its settings, and whole runs on the embedded networks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from chains import COMPLETE, chain_of
from interruption import COMMAND_LINE, interrupted
from PIL import Image
from safetensors.numpy import load_file

import brainrecon
from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.cli.main import run_command
from brainrecon.evaluation.protocols import specs
from brainrecon.methods.icgan2022 import ICGAN2022, PUBLISHED_DECODER
from brainrecon.runs.predict import encode
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from brainrecon.studies.plan import Plan
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from weights import store
from weights.store import CheckpointError

FEW = {"inversion": {"noise_steps": 2, "dense_steps": 2}}
FEW_STEPS = [f"--set=inversion.{name}={value}" for name, value in FEW["inversion"].items()]


def tiny(**settings):
    return chain_of("icgan2022", FEW | settings, "tiny")


@pytest.fixture(scope="module")
def run_folder(small_cohort, features, tmp_path_factory):
    """A complete run: fitted, drawn under every condition, scored, reported."""
    folder = tmp_path_factory.mktemp("icgan") / "run"
    line = [
        "run",
        "icgan2022",
        "--weights",
        "tiny",
        f"nsd:{small_cohort}",
        "--out",
        str(folder),
        "--features",
        str(features),
    ]
    assert run_command([*line, *FEW_STEPS, "--controls", "all"]) == 0
    return folder


def true_values(run, split_name, *names):
    """True values of targets, dict of arrays."""
    return {name: np.asarray(table) for name, table in encode(run, run.chain, split_name, names).items()}


def pictures(run, condition, names):
    return np.stack([np.asarray(Image.open(run.image_path(condition, name))) for name in names]).astype(int)


# Settings


def test_its_chain_decodes_and_draws_without_lot():
    chain = chain_of("icgan2022")
    assert repr(chain) == "Chain(icgan2022: Decode(instance, noise, dense) -> Draw(picture))"
    assert not any(step.by_lot for step in chain.steps) and chain.image_embedding == "instance"


def test_settings_survive_their_file():
    kind = ICGAN2022.settings_class
    assert from_dict(kind, to_dict(kind())) == kind()
    published = from_dict(kind, {"decoder": PUBLISHED_DECODER})
    assert from_dict(kind, to_dict(published)) == published
    assert published.decoder.alpha == {"instance": 500, "noise": 1, "dense": 100}
    assert published.decoder.rescale == {"instance": "transductive", "noise": "none", "dense": "none"}


def test_every_checkpoint_is_in_the_manifest_and_says_so():
    known = store.checkpoints()
    named = set(vars(ICGAN2022().settings.checkpoints).values())
    assert {name for name, entry in known.items() if "icgan2022" in entry.needed_by and not entry.embedded} == named
    twins = set(ICGAN2022.tiny["checkpoints"].values())
    assert {name for name, entry in known.items() if "icgan2022" in entry.needed_by and entry.embedded} == twins


def test_absent_weights_name_the_embedded_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="icgan-biggan-imagenet256.*--weights tiny"):
        chain_of("icgan2022").steps[-1].generator


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"inversion": {"noise_steps": -1}}, "inversion.noise_steps"),
        ({"decoder": {"rescale": {"instance": "maybe"}}}, "decoder.rescale.instance is 'maybe'"),
        ({"decoder": {"rescale": {"instance": "held_out"}, "held_out": "none"}}, "set one of the two anew"),
    ],
)
def test_impossible_settings_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        chain_of("icgan2022", settings)


def test_both_latents_share_one_inversion_and_one_network():
    chain = tiny()
    assert list(chain.targets) == ["instance", "noise", "dense"]
    noise, dense = chain.targets["noise"].target, chain.targets["dense"].target
    generator = chain.steps[-1].generator
    assert noise.inversion is dense.inversion and noise.inversion.network is generator.network
    assert noise.inversion.instance is chain.targets["instance"].target
    assert noise.inversion.settings.noise_steps == 2
    assert {name: (source.target.n_targets,) for name, source in chain.targets.items()} == generator.takes


def test_latents_belong_to_both_networks(monkeypatch):
    targets = tiny().targets
    whole = targets["noise"].fingerprint
    monkeypatch.setattr("weights.store.fingerprint", lambda name: f"<{name}>")
    assert targets["dense"].fingerprint == "<tiny-clip>+<tiny-icgan>" != whole
    assert targets["instance"].fingerprint == "<tiny-clip>"


# A run


def test_every_stimulus_is_drawn_under_every_condition(run_folder):
    run = Run(run_folder)
    names = list(run.subject.test.stimulus_ids)
    conditions = [name for name, one in CONDITIONS.items() if one.applies_to(run.chain)]
    assert len(conditions) == 7 and "stage_one" not in conditions
    drawn = {condition: pictures(run, condition, names) for condition in conditions}
    for condition, images in drawn.items():
        assert images.shape == (4, 64, 64, 3) and images.std() > 0, condition
    # The average response gives everybody the same picture; the others have their own.
    assert (drawn["mean_response"] == drawn["mean_response"][:1]).all()
    assert len(np.unique(drawn[RECONSTRUCTION].reshape(4, -1), axis=0)) == 4
    assert (run_folder / "report.html").exists()


def test_a_run_draws_what_its_embeddings_say(run_folder):
    run = Run(run_folder)
    embeddings = load_file(run_folder / "embeddings" / "test.safetensors")
    assert {name: values.shape for name, values in embeddings.items()} == {
        "instance": (4, 64),
        "noise": (4, 80),
        "dense": (4, 3072),
    }
    values, names = RunValues(run), list(run.subject.test.stimulus_ids)
    items, generator = [Item(name) for name in names], run.chain.steps[-1].generator
    drawn = np.stack(in_order(generator.draw(embeddings, items))).astype(int)
    assert np.abs(drawn - pictures(run, RECONSTRUCTION, names)).max() <= 1
    partners = [values.row[values.partner(name)] for name in names]
    assert np.abs(drawn[partners] - pictures(run, "shuffled_responses", names)).max() <= 1
    true = true_values(run, "test", "instance", "noise", "dense")
    ceiling = np.stack(in_order(generator.draw(true, items)))
    assert np.abs(ceiling.astype(int) - pictures(run, "oracle_embeddings", names)).max() <= 1


def test_the_nearest_training_picture_is_nearest_by_instance_features(run_folder):
    run = Run(run_folder)
    train = true_values(run, "train", "instance")["instance"].astype(float)
    decoded = load_file(run_folder / "embeddings" / "test.safetensors")["instance"].astype(float)
    scaled = [(values - train.mean(axis=0)) / train.std(axis=0) for values in (decoded, train)]
    nearest = np.corrcoef(*scaled)[:4, 4:].argmax(axis=1)
    shown = pictures(run, "nearest_training_picture", run.subject.test.stimulus_ids)
    np.testing.assert_array_equal(shown, np.stack([run.subject.train.images[int(row)] for row in nearest]))


def test_instance_features_can_be_scored_as_embeddings(run_folder, tmp_path):
    shipped = (Path(specs.__file__).parent / "brainrecon-1.toml").read_text(encoding="utf-8")
    protocol = tmp_path / "instances.toml"
    protocol.write_text(
        shipped.replace('target = "clip_image"', 'target = "instance"').replace("brainrecon-1", "instances")
    )
    folder = shutil.copytree(run_folder, tmp_path / "run")
    assert run_command(["evaluate", str(folder), "--protocol", str(protocol)]) == 0
    scored = json.loads((folder / "scores" / "instances.json").read_text())["embeddings"]
    truth = true_values(Run(folder), "test", "instance")["instance"]
    decoded = load_file(folder / "embeddings" / "test.safetensors")["instance"]
    correlations = np.corrcoef(decoded, truth)[:4, 4:]
    own = np.diag(correlations)[:, None]
    np.testing.assert_allclose(scored["values"]["two_way_clip_image"], (correlations < own).sum(axis=1) / 3)


def test_fitting_again_optimises_nothing_and_a_decoder_serves_new_patterns(
    run_folder, small_cohort, features, tmp_path, monkeypatch
):
    def refuse(*arguments):
        raise AssertionError("a picture was optimised again")

    monkeypatch.setattr("stages.inverters.latent_search.Inversion.optimise", refuse)
    line = ["fit", "icgan2022", "--weights", "tiny", f"nsd:{small_cohort}", "--out", str(tmp_path / "again")]
    assert run_command([*line, "--features", str(features), *FEW_STEPS]) == 0
    first, again = (
        load_file(folder / "embeddings" / "test.safetensors") for folder in (run_folder, tmp_path / "again")
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    run = Run(run_folder)
    reconstructor = brainrecon.Reconstructor.from_pretrained(run_folder / "decoder", features=features)
    names = list(run.subject.test.stimulus_ids[:2])
    found = reconstructor.reconstruct(run.subject.test.patterns[:2], names, samples=2)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert np.abs(found[:, 0].astype(int) - pictures(run, RECONSTRUCTION, names)).max() <= 1


def test_the_published_penalties_and_no_dense_vector(small_cohort, features, tmp_path):
    settings = {"decoder.alpha": "{instance=500.0,noise=1.0,dense=100.0}"}
    settings |= {f"decoder.rescale.{name}": way for name, way in PUBLISHED_DECODER["rescale"].items()}
    chosen = [f"--set={name}={value}" for name, value in settings.items()]
    line = ["run", "icgan2022", "--weights", "tiny", f"nsd:{small_cohort}", "--features", str(features), *FEW_STEPS]
    assert run_command([*line, *chosen, "--out", str(tmp_path / "published")]) == 0
    assert Run(tmp_path / "published").chain.steps[0].decoder.alpha_ == {"instance": 500, "noise": 1, "dense": 100}
    embeddings = load_file(tmp_path / "published" / "embeddings" / "test.safetensors")
    run = Run(tmp_path / "published")
    known = true_values(run, "train", "instance", "dense")
    truth, dense = known["instance"], known["dense"]
    # One prediction has no spread of its own, so that this control is left out and not failed on.
    assert list(run.not_drawn(["mean_response", "shuffled_responses"])) == ["mean_response"]
    # Rescaled against the test set itself, as published; the latents are as ridge leaves them.
    assert embeddings["dense"].std(axis=0).mean() < 0.9 * dense.std(axis=0).mean()
    np.testing.assert_allclose(embeddings["instance"].mean(axis=0), truth.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(embeddings["instance"].std(axis=0), truth.std(axis=0), rtol=1e-3)
    assert run_command([*line, "--set=dense=false", "--out", str(tmp_path / "noise")]) == 0
    without = Run(tmp_path / "noise")
    assert list(without.chain.targets) == ["instance", "noise"]
    names = without.subject.test.stimulus_ids
    assert np.abs(pictures(without, RECONSTRUCTION, names) - pictures(run, RECONSTRUCTION, names)).mean() > 1


def test_every_system_by_way_of_targets_says_how_pictures_are_compared():
    chains = [chain_of(name) for name in COMPLETE]
    with_targets = [chain for chain in chains if chain.targets]
    assert "icgan2022" in {chain.name for chain in with_targets} and len(with_targets) > 1
    for chain in with_targets:
        # Numbers of codes are not near to each other; whatever else is decoded tells which picture is nearest.
        of_codes = all(name.startswith("vq_") for name in chain.targets)
        assert of_codes or chain.image_embedding in chain.targets, chain.name


def test_names_of_targets_that_do_not_exist_are_refused():
    with pytest.raises(
        InputError, match="decoder.rescale names the target 'dens'; expected some of instance, noise, dense"
    ):
        chain_of("icgan2022", {"decoder": {"rescale": {"dens": "held_out"}}})
    with pytest.raises(InputError, match="decoder.alpha names the target 'densee'"):
        chain_of("icgan2022", {"decoder": {"alpha": {"densee": 1.0}}})


def test_the_clip_of_a_plans_clusters_does_not_depend_on_the_order_of_methods():
    methods = {"icgan2022": {"method": "icgan2022"}, "brain-diffuser": {"method": "brain-diffuser"}}
    for order in (methods, dict(reversed(methods.items()))):
        assert (
            Plan("nsd:somewhere", order, ("subj01",), heldout="clusters:20").split_checkpoint
            == "clip-vit-l-14-quickgelu"
        )


@pytest.mark.slow
def test_a_killed_search_for_latents_goes_on_and_ends_in_the_same_bytes(small_cohort, tmp_path):
    line = ["fit", "icgan2022", "--weights", "tiny", f"nsd:{small_cohort}", *FEW_STEPS]

    # A process that is killed between its writing and its renaming leaves a hidden file beside the whole ones.
    def latents(store):
        return {path.name: path.read_bytes() for path in (store / "inversions").rglob("[!.]*.safetensors")}

    assert run_command([*line, "--features", str(tmp_path / "whole"), "--out", str(tmp_path / "undisturbed")]) == 0
    again = [*line, "--features", str(tmp_path / "halves"), "--out", str(tmp_path / "killed")]
    interrupted(COMMAND_LINE, *again, when=lambda: latents(tmp_path / "halves"))
    begun = latents(tmp_path / "halves")
    assert 0 < len(begun) < 26
    assert run_command(again) == 0
    assert latents(tmp_path / "halves") == latents(tmp_path / "whole") and len(latents(tmp_path / "whole")) == 26
    assert begun.items() <= latents(tmp_path / "halves").items()
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "killed" / "decoder" / name).read_bytes() == (
            tmp_path / "undisturbed" / "decoder" / name
        ).read_bytes()
