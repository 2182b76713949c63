"""A decoded depth map beside start and caption: the scripts' settings, and a picture held against the published order."""

import numpy as np
import pytest
import torch
from chains import chain_of
from PIL import Image
from small_systems import SMALL, pull_random
from stand_in_generators import StandIn, chain_with_shapes

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import ABSENT, Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.run import Run
from stages.generators.diffusion.depth import DepthDiffusionGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.networks.dpt_depth import load_dpt

NAME = "takagi2023-depth"
LEVELS = ("dpt_0", "dpt_1", "dpt_2", "dpt_3")
LAYERS = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4", "fc6", "fc7", "fc8")
PUBLISHED = {f"vgg19_{layer}": (1000,) for layer in LAYERS} | {"blip": (226, 768), "clip_text": (77, 1024)}
PUBLISHED |= dict.fromkeys(LEVELS, (577, 1024))
ALPHA_BARS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


# What is published


def test_the_chain_in_the_published_order():
    assert repr(chain_of(NAME)).endswith(
        "-> Draw(first_picture) -> Decode(blip) -> Draw(caption) -> Encode(clip_text) -> Decode(dpt_0, dpt_1, dpt_2, dpt_3) -> "
        "Draw(picture))"
    )
    levels = chain_of(NAME).steps[-2]
    assert set(levels.roi.split(" + ")) == {"early", "ventral", "midventral", "midlateral", "lateral", "parietal"}
    assert levels.decoder.alphas == (10_000.0, 20_000.0, 40_000.0) and not levels.decoder.intercept
    assert levels.settings.trials == "single" and levels.part == "depth"


def test_all_but_the_last_step_is_as_in_takagi2023_gan():
    own, other = (repr(chain_of(name)).partition(": ")[2] for name in (NAME, "takagi2023-gan"))
    assert own.replace(" -> Decode(dpt_0, dpt_1, dpt_2, dpt_3)", "") == other
    own, other = (system_class(name)().settings for name in (NAME, "takagi2023-gan"))
    for name in ("decoder", "states", "search", "caption", "layers", "channels", "noised_to", "start_posterior"):
        assert getattr(own, name) == getattr(other, name)


@pytest.fixture
def assembled(monkeypatch):
    """A chain with targets of the published shapes, and a generator that writes down what it is asked for."""

    def assemble(settings=None):
        takes = dict.fromkeys(LEVELS, (577, 1024)) | {"clip_text": (77, 1024)}
        monkeypatch.setattr(
            DepthDiffusionGenerator,
            "from_pretrained",
            lambda folder, **options: StandIn(folder, takes, ["clip_text"], **options),
        )
        monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
        return chain_with_shapes(NAME, settings or {}, PUBLISHED)

    return assemble


def asked(chain, absent=()):
    step = chain.steps[-1]
    values = {name: np.zeros((1, 577 * 1024), np.float32) for name in LEVELS}
    values |= {"clip_text": np.zeros((1, 77 * 1024)), "first_picture": np.zeros((1, 224, 224, 3), np.uint8)}
    list(step.stream([Item("", "a")], values | dict.fromkeys(absent, ABSENT)))
    return step.generator.asked[-1]


def test_the_generator_is_asked_for_what_the_scripts_do(assembled):
    chain = assembled()
    given, _, settings = asked(chain)
    generator = chain.steps[-1].generator
    assert generator.folder == "folder of stable-diffusion-2-depth"
    assert generator.options["dpt_folder"] == "folder of dpt-large"
    assert generator.options["scheduler"] == "ddim" and generator.options["acceleration"].dtype == "float32"
    rule = generator.options["start"]
    assert rule == StartRule("sample", "direct", "step before", strongest="all but one step")
    assert (rule.steps(0.8, 50), rule.steps(1.0, 50)) == (40, 49)
    assert given["first_picture"].shape == (1, 224, 224, 3) and given["dpt_3"].shape == (1, 577 * 1024)
    assert settings == {
        "num_inference_steps": 50,
        "guidance_scale": 5.0,
        "strength": 0.8,
        "weights": {"clip_text": 1.0},
        "greys": "cut off",
    }


def test_text_and_start_may_be_absent_and_depth_may_not(assembled):
    given, _, settings = asked(assembled(), ["clip_text"])
    assert given["clip_text"] is None and settings["weights"] == {"clip_text": 0.0}
    given, _, settings = asked(assembled(), ["first_picture"])
    assert given["first_picture"] is None and settings["strength"] == 1.0
    assert set(chain_of(NAME).steps[-1].reads) == set(LEVELS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strongest": "all"}, "strongest is 'all'"),
        ({"levels": {"folds": 1}}, "folds is 1"),
        ({"channels": "GRB"}, "channels is 'GRB'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


def test_which_conditions_apply():
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain_of(NAME))}
    assert {"oracle_embeddings", "without_text_context", "without_stage_one", "stage_one"} <= applied


# A whole run


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    """A run of six regions on small random networks in the published layouts, through the command line."""
    root = tmp_path_factory.mktemp(NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_random(NAME, root / "origins")
        kept = [one for one in SMALL[NAME].settings if "_roi" not in one and "num_inference_steps" not in one]
        chosen = [part for setting in kept for part in ("--set", setting)]
        line = ["run", NAME, f"nsd:{cohort}", "--out", str(root / "run"), "--features", str(features), *chosen]
        roi = system_class(NAME)().settings.levels_roi
        assert run_command([*line, "--roi", roi, "--controls", "none", "--samples", "2"]) == 0
        yield Run(root / "run", features)


def test_six_regions_are_read_and_no_other(run):
    rois, names = run.subject.rois, run.chain.steps[-2].roi.split(" + ")
    assert len(names) == 6 and "midparietal" not in names
    for step in (run.chain.steps[0], run.chain.steps[-2]):
        voxels = step.voxels
        assert voxels.sum() == sum(int(rois[name].sum()) for name in names) == run.subject.n_voxels
        assert step.decoder.n_features_in_ == voxels.sum()


def test_levels_in_blocks_vs_in_one_go(run):
    """Every width of a block gives the same penalties and predictions."""
    train, test = run.subject.train, run.subject.test
    step = run.chain.steps[-2]
    tables = {name: run.chain.targets[name].target.encode(train.images[:]) for name in LEVELS}
    responses = np.asarray(train.betas[:], dtype=np.float32)[:, step.voxels]
    found = []
    for columns in (None, 7, 64):
        decoder = type(step.decoder)(**step.decoder.get_params())
        if columns is not None:
            decoder.width = lambda n_new=0, columns=columns: columns
        decoder.fit_targets(responses, tables, stimuli=train.positions)
        found.append((np.array(decoder.tensors_["column_alpha_"]), decoder.predict(test.patterns[:, step.voxels])))
    for alphas, predictions in found[1:]:
        np.testing.assert_array_equal(alphas, found[0][0])
        np.testing.assert_allclose(predictions, found[0][1], atol=1e-5 * found[0][1].std())
    together = np.concatenate([run.chain.predict(test.patterns)[name] for name in LEVELS], axis=1)
    np.testing.assert_allclose(together, found[0][1], atol=1e-4 * together.std())


def test_captions_stand_one_for_each_stimulus(run):
    names = [str(name) for name in run.subject.test.stimulus_ids]
    places = [run.layout.on_the_way("caption", "caption", name) for name in names]
    captions = [place.read_text(encoding="utf-8").strip() for place in places]
    assert len(list(places[0].parent.glob("*.txt"))) == len(names) and all(captions)


def test_a_picture_vs_the_published_order_written_out(run):
    """Depth from four decoded levels, first picture encoded, noised to step 40 of 50, then 40 steps under depth and caption."""
    chain, name, sample = run.chain, str(run.subject.test.stimulus_ids[3]), 1
    predicted = chain.predict(run.subject.test.patterns[3:4])
    generator = chain.steps[-1].generator
    vae, unet, random = generator.pipeline.vae, generator.pipeline.unet, item_generator(run.config.seed, name, sample)
    dpt = load_dpt(run.config.system.folder("depth"))
    first = read_picture(run.layout.on_the_way("first_picture", "picture", name))
    with torch.inference_mode():
        levels = [torch.from_numpy(predicted[level].reshape(1, 17, 8)) for level in LEVELS]
        depth = dpt.head(dpt.neck(levels, patch_height=4, patch_width=4))
        depth = torch.nn.functional.interpolate(depth[:, None], size=(8, 8), mode="bicubic", align_corners=False)
        depth = 2 * (depth - depth.min()) / (depth.max() - depth.min()) - 1
        pixels = np.array(Image.fromarray(first).resize((generator.image_size,) * 2, Image.Resampling.BICUBIC))
        pixels = 2 * torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 1
        posterior = vae.encode(pixels).latent_dist
        x = 0.7 * (posterior.mean + posterior.std * torch.randn(4, 8, 8, generator=random))
        steps = np.arange(0, 1000, 20) + 1
        noise = torch.randn(4, 8, 8, generator=random)
        x = np.sqrt(ALPHA_BARS[steps[40]]) * x + np.sqrt(1 - ALPHA_BARS[steps[40]]) * noise
        context = torch.from_numpy(predicted["clip_text"].reshape(1, *generator.empty_text.shape))
        for index in range(39, -1, -1):
            rows = torch.cat([x.float(), depth], dim=1)
            nothing, under = (
                unet(rows, int(steps[index]), text).sample for text in (generator.empty_text[None], context)
            )
            epsilon = nothing + 5.0 * (under - nothing)
            now, then = ALPHA_BARS[steps[index]], ALPHA_BARS[steps[index - 1] if index else 0]
            clean = (x - np.sqrt(1 - now) * epsilon) / np.sqrt(now)
            x = np.sqrt(then) * clean + np.sqrt(1 - then) * epsilon
        picture = (255 * ((vae.decode(x.float() / 0.7).sample + 1) / 2).clamp(0, 1))[0].permute(1, 2, 0).numpy()
    assert depth.min() == -1 and depth.max() == 1 and first.shape == (32, 32, 3)
    filed = read_picture(run.image_path("reconstruction", name, sample)).astype(int)
    assert np.abs(filed - np.floor(picture)).max() <= 1


def test_each_decoded_level_matters(run):
    chain, test = run.chain, run.subject.test
    given = {name: values[:1] for name, values in chain.predict(test.patterns[:2]).items()}
    others = {name: values[1:] for name, values in chain.predict(test.patterns[:2]).items()}
    # Two random captions may have one encoding: the tokenizer knows two words.
    others["clip_text"] = given["clip_text"][:, ::-1].copy()
    item = [Item("", "a")]
    start = {"first_picture": np.zeros((1, 32, 32, 3), np.uint8)}
    read = (*LEVELS, "clip_text")
    usual = chain.steps[-1].run(item, {name: given[name] for name in read} | start)["picture"][0].astype(int)
    for name in read:
        changed = {one: (others if one == name else given)[one] for one in read}
        assert np.abs(chain.steps[-1].run(item, changed | start)["picture"][0] - usual).max() > 1, name
