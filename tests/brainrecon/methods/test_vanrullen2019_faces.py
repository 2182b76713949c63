"""Faces by an inverted encoding model: its order, its formula, and whole runs, also on the authors' own encoding model."""

import numpy as np
import pytest
import torch
from chains import chain_of
from faces_files import Faces
from tensorflow_files import written

import brainrecon
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.runs.run import Run
from stages.generators.gan.face_vaegan import FaceVAEGANGenerator, displayed
from stages.ground.errors import InputError
from stages.networks.face_vaegan import PUBLISHED, FaceVAEGAN, FaceVAEGANConfig
from stages.networks.face_vaegan_names import published_name
from stages.targets.face_latents import FaceLatents
from weights import store
from weights.conversion import convert

NAME = "vanrullen2019-faces"
SMALL = FaceVAEGANConfig(picture=16, channels=(4, 6), hidden=7, latents=5)


@pytest.fixture
def network(tmp_path):
    """A folder of a small network whose pictures differ."""
    whole = FaceVAEGAN(SMALL, seed=4).eval()
    random = torch.Generator().manual_seed(1)
    for name, value in whole.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.copy_(0.3 * torch.randn(value.shape, generator=random))
    whole.save_pretrained(tmp_path / "small-vaegan")
    return tmp_path / "small-vaegan"


# What is published


def test_the_chain_in_the_published_order():
    chain = chain_of(NAME)
    assert repr(chain) == f"Chain({NAME}: InvertEncoding(face_latents) -> Draw(picture))"
    assert chain.system.checkpoints == ("face-vaegan-celeba",)
    settings = chain.system.settings
    assert (settings.crop, settings.decoder.encoding_penalty, settings.decoder.inverse_penalty) == (0.8, 0, 0)
    assert settings.decoder.trials == "single"


def test_the_published_checkpoint_is_converted_to_what_the_network_reads(tmp_path):
    """A small file in TensorFlow's format, under the names, the filter and the description of the manifest's entry."""
    entry = store.entry("face-vaegan-celeba")
    (file,) = entry.files
    assert file.converted == "model.safetensors" and file.size == 554_656_600
    config = dict(entry.writes["config.json"])
    assert config.pop("architecture") == "FaceVAEGAN" and FaceVAEGANConfig(**config) == PUBLISHED
    with torch.device("meta"):
        wanted = {published_name(name) for name in FaceVAEGAN().state_dict()}
    whole, arrays = FaceVAEGAN(SMALL, seed=4).eval(), {"discriminator/fc/W": np.ones((2, 2), np.float32)}
    for name, value in whole.state_dict().items():
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(value.ndim, (0,))
        arrays[published_name(name)] = value.permute(axes).numpy()
        arrays[f"{published_name(name)}/Adam"] = arrays[published_name(name)]
    assert arrays.keys() - {name for name in arrays if "Adam" in name} - {"discriminator/fc/W"} <= wanted
    whole.save_pretrained(tmp_path)
    (tmp_path / "vaegan_celeba.ckpt").write_bytes(written(arrays))
    convert(tmp_path / "vaegan_celeba.ckpt", tmp_path / file.converted, keeps=file.keeps)
    again = FaceVAEGAN.from_pretrained(tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_which_conditions_apply():
    expected = {"reconstruction", "shuffled_responses", "ridge_to_pixels", "oracle_embeddings", "mean_picture"}
    expected |= {"nearest_training_picture"}
    assert {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME))} == expected | {"mean_response"}
    published = chain_of(NAME, {"decoder": {"model": "published"}})
    assert {name for name, one in CONDITIONS.items() if one.applies_to(published)} == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crop": 0.0}, "crop is 0.0; expected a number above 0 and up to 1|crop"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"decoder": {"model": "theirs"}}, "model is 'theirs'"),
        ({"decoder": {"inverse_penalty": -1.0}}, "inverse_penalty is -1.0"),
        ({"decoder": {"trials": "double"}}, "trials"),
        ({"decoder": {"model": "published", "encoding_penalty": 1.0}}, "the published encoding model is as it is"),
    ],
)
def test_settings_are_checked(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


# Whole ways


def drawn_by_hand(folder, patterns, weights):
    """Pictures of the pseudo-inverse written out."""
    found = (patterns.astype(np.float64) @ weights.T @ np.linalg.inv(weights @ weights.T))[:, :-1]
    values = FaceVAEGANGenerator.from_pretrained(folder).values(found)
    return np.rint(255 * displayed(values)), found


def settings_of(folder, **decoder):
    return {"checkpoints": {"generator": str(folder)}, "crop": 1.0, "decoder": decoder}


def test_own_betas_are_decoded_by_the_formula(tmp_path, network):
    study = Faces(tmp_path / "ds001761", results=False)
    subject = load(f"faces:{study.root}")
    fitted = brainrecon.Reconstructor(NAME, settings_of(network)).fit(subject)
    pictures = fitted.reconstruct(subject.test.patterns, subject.test.stimulus_ids)[:, 0]
    latents = FaceLatents.from_pretrained(network, crop=1.0).encode(subject.train.images[:])[subject.train.positions]
    design = np.column_stack([latents, np.ones(len(latents))])
    weights = np.linalg.lstsq(design, subject.train.betas[:].astype(np.float64), rcond=None)[0]
    expected, _ = drawn_by_hand(network, subject.test.patterns, weights)
    assert np.abs(pictures - expected).max() <= 1


def test_the_authors_encoding_model_is_inverted(tmp_path, network):
    study = Faces(tmp_path / "ds001761", betas=False)
    subject = load(f"faces:{study.root}")
    fitted = brainrecon.Reconstructor(NAME, settings_of(network)).fit(subject)
    pictures = fitted.reconstruct(subject.test.patterns, subject.test.stimulus_ids)[:, 0]
    expected, found = drawn_by_hand(network, study.patterns, study.weights)
    np.testing.assert_allclose(found, study.latents, atol=1e-6)
    assert np.abs(pictures - expected).max() <= 1
    part = load(f"faces:{study.root}", roi="vaegan_occipital")
    again = brainrecon.Reconstructor(NAME, settings_of(network)).fit(part)
    np.testing.assert_allclose(
        again.predict(part.test.patterns)["face_latents"], drawn_by_hand(network, *of(study, 3))[1], atol=1e-3
    )


def of(study, step):
    return study.patterns[:, ::step], study.weights[:, ::step]


def test_a_model_that_is_not_there_or_of_another_network_is_refused(tmp_path, network):
    study = Faces(tmp_path / "ds001761")
    own, published = load(f"faces:{study.root}"), load(f"faces:{study.root}", responses="published")
    with pytest.raises(InputError, match="comes without an encoding model of face_latents"):
        brainrecon.Reconstructor(NAME, settings_of(network, model="published")).fit(own)
    with pytest.raises(InputError, match="has 5 latents but the network 64"):
        brainrecon.Reconstructor(NAME, weights="tiny").fit(published)
    with pytest.raises(InputError, match="single training faces were not published"):
        brainrecon.Reconstructor("ridge-to-pixels").fit(published)


def test_a_run_on_the_authors_results(tmp_path, network, capsys):
    study, out = Faces(tmp_path / "ds001761", betas=False), tmp_path / "run"
    command = ["run", NAME, f"faces:{study.root}", "--out", str(out), "--set", f"checkpoints.generator={network}"]
    assert run_command([*command, "--set", "crop=1.0"]) == 0
    run = Run(out)
    assert run.config.settings.decoder.model == "published"
    names = {path.name for path in (out / "images").iterdir()}
    assert names == {f"stim-{name}_sample-0.png" for name in study.test}
    assert (out / "report.html").exists()
    assert run_command(["trace", str(out), study.test[1]]) == 0
    capsys.readouterr()
    imagined = ["run", NAME, f"faces:{study.root}", "--out", str(tmp_path / "imagery"), "--split", "imagery"]
    assert run_command([*imagined, "--set", f"checkpoints.generator={network}", "--set", "crop=1.0"]) == 0
    assert [path.name for path in (tmp_path / "imagery" / "images").iterdir()] == [f"stim-{study.test[2]}_sample-0.png"]


def test_what_the_data_settle():
    system = system_class(NAME)({"decoder": {"model": "fitted"}})
    assert system.settled(None) is system.settings
