"""The twins of `takagi2023` and of its text variant: the whole way on a simulated subject with the embedded networks."""

import numpy as np
import pytest
from chains import chain_of
from safetensors.numpy import load_file
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import to_dict, with_weights
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.run import Run

NAME = "takagi2023"


def test_what_the_twin_sets_and_what_it_leaves():
    kind = system_class(NAME)
    published, twin = kind({}).settings, kind(with_weights({}, kind, "tiny")).settings
    assert kind(twin).checkpoints == ("tiny-stable-diffusion",)
    # The share of the drawn picture's side.
    assert twin.latent_size / 64 == published.latent_size / 512
    assert twin.decoder.intercept and not published.decoder.intercept
    settings = [to_dict(each) for each in (published, twin)]
    for each in settings:
        for name in ("checkpoints", "latent_size"):
            del each[name]
        for name in ("alpha", "intercept"):
            del each["decoder"][name]
        del each["generator"]["guidance_scale"]
    assert settings[0] == settings[1]


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twin") / "run"
    line = ["run", NAME, f"nsd:{cohort}", "--weights", "tiny", "--out", str(folder), "--features", str(features)]
    line += ["--roi", "early + ventral", "--controls", "none", "--set", "generator.num_inference_steps=10"]
    assert run_command(line) == 0
    return Run(folder, features)


def test_every_stimulus_is_drawn_at_64_pixels(run):
    names = run.subject.test.stimulus_ids
    pictures = np.stack([read_picture(run.image_path("reconstruction", name, 0)) for name in names])
    assert pictures.shape == (len(names), 64, 64, 3) and len(
        np.unique(pictures.reshape(len(names), -1), axis=0)
    ) == len(names)
    small = read_picture(run.layout.on_the_way("first_picture", "picture", str(names[0])))
    assert small.shape == (40, 40, 3)
    assert run.layout.report.exists()


def test_the_decoded_context_vs_scikit_learn(run):
    step, train, test = run.chain.steps[1], run.subject.train, run.subject.test
    scaler = StandardScaler().fit(betas := np.asarray(train.betas[:], dtype=np.float64)[:, step.voxels])
    contexts = run.chain.targets["clip_text"].target.encode(train.captions)
    ridge = Ridge(alpha=np.asarray(step.decoder.tensors_["column_alpha_"]))
    ridge.fit(scaler.transform(betas), contexts[train.positions])
    found = load_file(run.folder / "embeddings" / "test-text.safetensors")["clip_text"]
    expected = ridge.predict(scaler.transform(test.patterns[:, step.voxels]))
    assert found.shape[1] == 24 * 128 and np.abs(found - expected).max() < 1e-3 * expected.std()


def test_without_captions_the_twin_draws_from_the_latent_alone():
    kind = system_class(NAME)
    chain = chain_of(NAME, dict(kind.without_captions), "tiny")
    assert list(chain.targets) == ["sd_latent"] and chain.targets["sd_latent"].target.shape == (12, 5, 5)


def test_the_text_variants_twin_writes_captions_in_the_words_of_its_world(cohort, features, tmp_path):
    line = ["run", "takagi2023-text", f"nsd:{cohort}", "--weights", "tiny", "--out", str(tmp_path / "run")]
    line += ["--features", str(features), "--controls", "none", "--roi", "early + ventral"]
    line += ["--set", "caption_roi=early + ventral", "--set", "generator.num_inference_steps=3"]
    assert run_command(line) == 0
    run = Run(tmp_path / "run", features)
    said = [
        run.layout.on_the_way("caption", "caption", name).read_text(encoding="utf-8").strip()
        for name in map(str, run.subject.test.stimulus_ids)
    ]
    known = {word for captions in run.subject.train.captions for caption in captions for word in caption.split()}
    assert len(set(said)) > 1 and all(len(caption.split()) > 2 for caption in said)
    assert {word for caption in said for word in caption.split()} <= known | {"a", "an"}
