"""From responses to pictures with every generator: random checkpoints of the published layouts, pulled and then used."""

import numpy as np
import published_checkpoints
import pytest
import random_checkpoints
from chains import COMPLETE, chain_of
from PIL import Image

from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.assembly.settings import merged, to_dict
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from weights import store

# These have tests of their own, and draw with brain-diffuser's generator or with another one.
ALIKE = ("dbdm2023", "ferrante2023-alignment", "mindldm2024")
TWO_STAGE = [name for name in COMPLETE if "vdvae" in chain_of(name).given and name not in ALIKE]
# The VDVAE is embedded, and CLIP ViT-L/14 from where its file's hash is not known in advance.
CHECKPOINTS = {"vdvae": "tiny-vdvae"}
OTHERS = dict.fromkeys(("brain-diffuser", "brain-diffuser-unclip"), {"clip": "clip-vit-l-14-openclip"})
STEPS = 4
# tests/conformance/test_systems.py draws all that there are.
CONTROLS = ("without_stage_one", "oracle_embeddings")


def settings_of(method):
    return {"checkpoints": CHECKPOINTS | OTHERS.get(method, {}), "generator": {"num_inference_steps": STEPS}}


# The laws of systems draw with each of them in the ordinary group.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_of(small_cohort, features, tmp_path_factory):
    """Maker of a complete run: checkpoints pulled from folders, decoder fitted, pictures and controls drawn, once."""
    root = tmp_path_factory.mktemp("published")

    def make(method):
        patch.setenv("BRAINRECON_WEIGHTS", str(root / method / "store"))
        folder = root / method / "run"
        if folder.exists():
            return folder
        settings = settings_of(method)
        for name in chain_of(method, settings).system.checkpoints:
            if not store.checkpoints()[name].embedded:
                origin = root / method / name
                published_checkpoints.write_published(
                    name, origin, 16 if method == "brain-diffuser" else random_checkpoints.EMBED_DIM
                )
                assert run_command(["weights", "pull", name, "--from", str(origin)]) == 0
        chosen = [f"--set={part}.{name}={value}" for part, values in settings.items() for name, value in values.items()]
        line = ["run", method, f"nsd:{small_cohort}", "--out", str(folder), "--features", str(features)]
        assert run_command([*line, "--controls", ",".join(CONTROLS), *chosen]) == 0
        return folder

    with pytest.MonkeyPatch.context() as patch:
        yield make


@pytest.mark.parametrize("name", TWO_STAGE)
def test_every_stimulus_is_drawn(run_of, name):
    run = Run(run_of(name))
    for condition in (RECONSTRUCTION, *CONTROLS):
        drawn = [np.asarray(Image.open(run.image_path(condition, name))) for name in run.subject.test.stimulus_ids]
        assert len(drawn) == 4 and all(picture.std() > 0 for picture in drawn), condition
    assert (run.folder / "report.html").exists()


@pytest.mark.parametrize("name", TWO_STAGE)
def test_settings_are_honoured(run_of, features, name):
    run = Run(run_of(name), features)
    names, patterns = list(run.subject.test.stimulus_ids[:2]), run.subject.test.patterns[:2]
    as_they_are, opened = to_dict(run.config.settings), {}

    def drawn(seed=0, sample=0, more=None, **changes):
        """Pictures of the chain at other settings of its generator, and `more`, whose fitted steps are the same."""
        solver = changes.get("scheduler")
        chain = chain_of(name, merged(as_they_are, {"generator": changes} | (more or {}))).open(
            run.layout.decoder, run.store
        )
        # Networks are loaded once for each solver.
        if solver not in opened:
            opened[solver] = chain.steps[-1].generator
        vars(chain.steps[-1])["generator"] = opened[solver]
        pictures = chain.run_from_patterns(names, patterns, samples=sample + 1, seed=seed)
        return pictures[:, sample].astype(int)

    usual = drawn()
    filed = [np.asarray(Image.open(run.image_path(RECONSTRUCTION, name))).astype(int) for name in names]
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
    if "clip_text" in run.chain.given:
        others["text weight"] = drawn(text_weight=0.1)
    for what, pictures in others.items():
        assert np.abs(usual - pictures).max() > 1, what
    if name == "brain-diffuser":
        # Published: cut off. A grey level at most, and never a brighter one.
        darker = drawn(greys="rounded") - usual
        assert set(np.unique(darker)) == {0, 1} and 0.3 < darker.mean() < 0.7
    # Without a step of denoising what is left is the first picture, through the autoencoder.
    first = drawn(strength=0.0)
    np.testing.assert_array_equal(first, drawn(strength=0.0, seed=5, image_weight=0.1))
    # Random networks see little of it, so that any difference is one.
    by_lot = {"vdvae": {"temperature": 1.0, "sample_pixels": True}}
    again, other = drawn(strength=0.0, more=by_lot), drawn(strength=0.0, more=by_lot, seed=5)
    np.testing.assert_array_equal(again, drawn(strength=0.0, more=by_lot))
    assert (again != first).any() and (again != other).any()
