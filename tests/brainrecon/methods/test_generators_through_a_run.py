"""From responses to pictures with every generator: random checkpoints of the published layouts, pulled and then used."""

import dataclasses

import numpy as np
import pytest
import random_checkpoints
from brainrecon.methods.two_stage import TwoStageMethod
from PIL import Image

import brainrecon
from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from weights import store

TWO_STAGE = [name for name in METHODS if issubclass(system_class(name), TwoStageMethod)]
# The VDVAE is embedded, and CLIP ViT-L/14 from where its file's hash is not known in advance.
CHECKPOINTS = {"vdvae": "tiny-vdvae"}
OTHERS = dict.fromkeys(("brain-diffuser", "brain-diffuser-unclip"), {"clip": "clip-vit-l-14-openclip"})
STEPS = 4


def settings_of(method):
    return {"checkpoints": CHECKPOINTS | OTHERS.get(method, {}), "generator": {"num_inference_steps": STEPS}}


@pytest.fixture(scope="module")
def run_of(cohort, features, tmp_path_factory):
    """Maker of a complete run: checkpoints pulled from folders, decoder fitted, pictures and controls drawn, once."""
    root = tmp_path_factory.mktemp("published")

    def make(method):
        patch.setenv("BRAINRECON_WEIGHTS", str(root / method / "store"))
        folder = root / method / "run"
        if folder.exists():
            return folder
        settings = settings_of(method)
        for name in vars(brainrecon.Reconstructor(method, settings=settings).method.settings.checkpoints).values():
            if not store.checkpoints()[name].embedded:
                origin = root / method / name
                random_checkpoints.write_published(
                    name, origin, 16 if method == "brain-diffuser" else random_checkpoints.EMBED_DIM
                )
                assert run_command(["weights", "pull", name, "--from", str(origin)]) == 0
        chosen = [f"--set={part}.{name}={value}" for part, values in settings.items() for name, value in values.items()]
        line = ["run", method, f"nsd:{cohort}", "--out", str(folder), "--features", str(features), "--controls", "all"]
        assert run_command([*line, *chosen]) == 0
        return folder

    with pytest.MonkeyPatch.context() as patch:
        yield make


@pytest.mark.parametrize("name", TWO_STAGE)
def test_every_stimulus_is_drawn_under_every_condition(run_of, name):
    run = Run(run_of(name))
    conditions = system_class(name)(settings_of(name)).conditions
    assert "without_stage_one" in conditions and "oracle_embeddings" in conditions
    for condition in conditions:
        drawn = [np.asarray(Image.open(run.image_path(condition, name))) for name in run.subject.test.stimulus_ids]
        assert len(drawn) == 12 and all(picture.std() > 0 for picture in drawn), condition
    assert (run.folder / "report.html").exists()


@pytest.mark.parametrize("name", TWO_STAGE)
def test_settings_are_honoured(run_of, features, name):
    folder = run_of(name)
    method = brainrecon.Reconstructor.from_pretrained(folder / "decoder", features=features).method
    subject = Run(folder).subject
    names, patterns = list(subject.test.stimulus_ids[:2]), subject.test.patterns[:2]
    as_they_are = method.settings

    def drawn(seed=0, sample=0, **changes):
        changed = dataclasses.replace(as_they_are.generator, **changes)
        method.settings = dataclasses.replace(as_they_are, generator=changed)
        requests = method.plan(names, patterns, (sample,))
        pictures = dict(method.generate(requests, seed=seed))
        return np.stack([pictures[position] for position in range(len(requests))]).astype(int)

    usual = drawn()
    filed = [np.asarray(Image.open(Run(folder).image_path(RECONSTRUCTION, name))).astype(int) for name in names]
    assert np.abs(usual - filed).max() <= 1
    np.testing.assert_array_equal(usual, drawn())
    others = {
        "seed": drawn(seed=1),
        "sample": drawn(sample=1),
        "strength": drawn(strength=0.5),
        "guidance": drawn(guidance_scale=1.5),
        "image weight": drawn(image_weight=0.2),
        "solver": drawn(scheduler="unipc", num_inference_steps=6),
    }
    if "without_text_context" in method.conditions:
        others["text weight"] = drawn(text_weight=0.1)
    for what, pictures in others.items():
        assert np.abs(usual - pictures).max() > 1, what
    # Without a step of denoising what is left is the first picture, through the autoencoder.
    np.testing.assert_array_equal(drawn(strength=0), drawn(strength=0, seed=5, image_weight=0.1))
