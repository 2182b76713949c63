"""Ridge to Stable Diffusion's latent and text context: its published numbers, its order of operations, and a whole run."""

import json

import numpy as np
import pytest
import torch
from chains import chain_of
from diffusers import UNet2DConditionModel
from interruption import COMMAND_LINE, interrupted
from PIL import Image
from random_checkpoints import save_generator
from small_systems import pull_checkpoints
from stand_in_generators import StandIn, chain_with_shapes

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.values import ABSENT, Item
from brainrecon.cli.main import run_command
from brainrecon.datasets.stimulus_images import read_picture
from brainrecon.runs.layout import Layout
from brainrecon.runs.run import Run
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.targets.diffusion_text import DiffusionTextTokens

NAME = "takagi2023"
SIZE = 12
ALPHA_BARS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
SHAPES = {"sd_latent": (4, 40, 40), "clip_text": (77, 768)}


# What is published


def test_the_chain_in_the_published_order():
    assert repr(chain_of(NAME)) == (
        "Chain(takagi2023: Decode(sd_latent) -> Decode(clip_text) -> Show(first_picture) -> Draw(picture))"
    )
    latent, text, *_ = chain_of(NAME).steps
    assert (latent.roi, text.roi) == ("early", "ventral") and (latent.part, text.part) == ("latent", "text")


def test_the_decoders_are_those_of_the_scripts():
    for step in chain_of(NAME).steps[:2]:
        decoder = step.decoder
        assert decoder.alphas == pytest.approx((1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0))
        assert (decoder.folds, decoder.folds_of, decoder.intercept) == (5, "trials", False)
        assert step.settings.trials == "single" and step.settings.voxels == "all"


@pytest.fixture
def assembled(monkeypatch):
    """A chain with targets of the published shapes, and a generator that writes down what it is asked for."""

    def assemble(settings=None):
        monkeypatch.setattr(
            StableDiffusionGenerator,
            "from_pretrained",
            lambda folder, **options: StandIn(folder, {"clip_text": (77, 768)}, ["clip_text"], **options),
        )
        monkeypatch.setattr(system_class(NAME), "folder", lambda self, role: f"folder of {self._roles[role]}")
        return chain_with_shapes(NAME, settings or {}, SHAPES)

    return assemble


def asked(chain, absent=()):
    step = chain.steps[-1]
    values = {"clip_text": np.zeros((1, 77 * 768)), "first_picture": np.zeros((1, 320, 320, 3), np.uint8)}
    read = {name: values[name] for name in (*step.reads, *step.optional)} | dict.fromkeys(absent, ABSENT)
    list(step.stream([Item("", "a")], read))
    return step.generator.asked[-1]


def test_the_generator_is_asked_for_what_the_scripts_do(assembled):
    chain = assembled()
    given, _, settings = asked(chain)
    assert chain.steps[-1].generator.folder == "folder of stable-diffusion-1-4"
    options = chain.steps[-1].generator.options
    assert options["scheduler"] == "ddim" and options["start"] == StartRule("sample", "direct", "step before")
    assert given["first_picture"].shape == (1, 320, 320, 3)
    assert settings == {
        "num_inference_steps": 50,
        "guidance_scale": 5.0,
        "strength": 0.8,
        "weights": {"clip_text": 1.0},
        "greys": "cut off",
    }


def test_the_variants_of_the_paper_are_conditions(assembled):
    """The latent alone is drawn without text; the text alone starts from noise."""
    given, _, settings = asked(assembled(), ["clip_text"])
    assert given["clip_text"] is None and settings["weights"] == {"clip_text": 0.0} and settings["strength"] == 0.8
    given, _, settings = asked(assembled(), ["first_picture"])
    assert given["first_picture"] is None and settings["strength"] == 1.0


@pytest.mark.parametrize("text_context", [True, False])
def test_which_conditions_apply(text_context):
    chain = chain_of(NAME, {"text_context": text_context})
    expected = {"reconstruction", "shuffled_responses", "mean_response", "ridge_to_pixels", "oracle_embeddings"}
    expected |= {"nearest_training_picture", "mean_picture", "stage_one", "without_stage_one"}
    expected |= {"without_text_context"} if text_context else set()
    assert {name for name, one in CONDITIONS.items() if one.applies_to(chain)} == expected


def test_repairs_are_settings():
    repaired = {"decoder": {"intercept": True, "folds_of": "stimuli"}, "latent_posterior": "mean"}
    repaired |= {"start_posterior": "mode", "noised_to": "first step", "latent_greys": "rounded"}
    chain = chain_of(NAME, repaired)
    assert chain.steps[0].decoder.intercept and chain.steps[1].decoder.folds_of == "stimuli"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": {"trials": "some"}}, "decoder.trials is 'some'"),
        ({"decoder": {"folds": 1}}, "folds is 1"),
        ({"decoder": {"folds_of": "runs"}}, "folds_of is 'runs'"),
        ({"noised_to": "later"}, "noised_to is 'later'"),
        ({"start_posterior": "mean"}, "posterior is 'mean'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_encoded(settings, message):
    with pytest.raises(InputError, match=message):
        chain_of(NAME, settings)


@pytest.mark.parametrize(("timestep", "expected"), [(801, 0.1912), (781, 0.2085)])
def test_the_published_schedule(timestep, expected):
    assert np.sqrt(ALPHA_BARS[timestep]) == pytest.approx(expected, abs=5e-5)


def test_six_captions_are_averaged_and_not_joined(tmp_path):
    target = DiffusionTextTokens.from_pretrained(save_generator("sd", tmp_path / "sd"))
    captions = ["a", "b", "a b", "b a", "a a", "b b b"]
    found = target.encode([captions])
    alone = np.stack([target.encode([[caption]])[0] for caption in captions])
    np.testing.assert_allclose(found[0], alone.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert np.abs(found - target.encode([[" ".join(captions)]])).max() > 1e-3


# A whole run


@pytest.fixture(scope="module")
def place(small_cohort, features, tmp_path_factory):
    """Folder of a run from responses to a report at the published number of steps, through the command line."""
    root = tmp_path_factory.mktemp(NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_checkpoints(["stable-diffusion-1-4"], root / "origins")
        assert run_command(line_of(small_cohort, features, root / "run")) == 0
        yield root


def line_of(cohort, features, folder):
    chosen = ["--set", f"latent_size={SIZE}", "--controls", "none", "--roi", "early + ventral", "--samples", "2"]
    return ["run", NAME, f"nsd:{cohort}", "--out", str(folder), "--features", str(features), *chosen, "--reproducible"]


@pytest.fixture
def run(place, features):
    return Run(place / "run", features)


def test_each_target_is_decoded_from_its_region(run):
    assert run.config.settings.generator.num_inference_steps == 50
    for step, region in zip(run.chain.steps, ("early", "ventral")):
        np.testing.assert_array_equal(step.voxels, run.subject.rois[region])
        assert 0 < step.voxels.sum() < run.subject.n_voxels
        assert step.decoder.n_features_in_ == step.voxels.sum()
    predicted = sorted(path.name for path in (run.folder / "embeddings").glob("test*"))
    assert predicted == ["test-latent.safetensors", "test-text.safetensors"]
    assert run.layout.report.exists() and "takagi2023" in run.layout.report.read_text()
    samples = [read_picture(run.image_path("reconstruction", run.subject.test.stimulus_ids[0], one)) for one in (0, 1)]
    assert np.abs(samples[0].astype(int) - samples[1]).max() > 1


def test_decoded_values_vs_scikit_learn_on_single_trials(run):
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    step, train, test = run.chain.steps[0], run.subject.train, run.subject.test
    scaler = StandardScaler().fit(betas := np.asarray(train.betas[:], dtype=np.float64)[:, step.voxels])
    table = run.chain.targets["sd_latent"].target.encode(train.images[:])
    alphas = np.asarray(step.decoder.tensors_["column_alpha_"])
    ridge = Ridge(alpha=alphas, fit_intercept=False).fit(scaler.transform(betas), table[train.positions])
    expected = ridge.predict(scaler.transform(test.patterns[:, step.voxels]))
    found = run.chain.predict(test.patterns)["sd_latent"]
    assert np.abs(found - expected).max() < 1e-3 * expected.std()


def test_a_picture_vs_the_published_order_written_out(run):
    """Decode z, 8 bit, enlarge, encode, noise to step 40 of 50, denoise from step 39 on under guidance 5, with DDIM."""
    chain, name = run.chain, str(run.subject.test.stimulus_ids[3])
    predicted = chain.predict(run.subject.test.patterns[3:4])
    generator = chain.steps[-1].generator
    vae, unet, random = generator.pipeline.vae, generator.pipeline.unet, item_generator(run.config.seed, name, 1)
    calls = []
    with torch.inference_mode():
        latent = torch.from_numpy(predicted["sd_latent"].reshape(1, 4, SIZE // 2, SIZE // 2)) / 0.7
        decoded = (255 * ((vae.decode(latent).sample + 1) / 2).clamp(0, 1))[0].permute(1, 2, 0).numpy().astype(np.uint8)
        size = generator.image_size
        pixels = np.array(Image.fromarray(decoded).resize((size, size), Image.Resampling.BICUBIC))
        pixels = 2 * torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 1
        posterior = vae.encode(pixels).latent_dist
        x = (posterior.mean + posterior.std * torch.randn(4, 8, 8, generator=random)) * 0.7
        noise = torch.randn(4, 8, 8, generator=random)
        steps = np.arange(0, 1000, 20) + 1
        x = np.sqrt(ALPHA_BARS[steps[40]]) * x + np.sqrt(1 - ALPHA_BARS[steps[40]]) * noise
        context = torch.from_numpy(predicted["clip_text"].reshape(1, *generator.empty_text.shape))
        for index in range(39, -1, -1):
            both = unet(
                torch.cat([x, x]).float(), int(steps[index]), torch.cat([generator.empty_text[None], context])
            ).sample
            calls.append(int(steps[index]))
            epsilon = both[:1] + 5.0 * (both[1:] - both[:1])
            now, then = ALPHA_BARS[steps[index]], ALPHA_BARS[steps[index - 1] if index else 0]
            clean = (x - np.sqrt(1 - now) * epsilon) / np.sqrt(now)
            x = np.sqrt(then) * clean + np.sqrt(1 - then) * epsilon
        picture = (255 * ((vae.decode(x.float() / 0.7).sample + 1) / 2).clamp(0, 1)).round()[0].permute(1, 2, 0).numpy()
    assert len(calls) == 40 and calls[0] == 781
    first = read_picture(Layout(run.folder).on_the_way("first_picture", "picture", name))
    assert np.abs(first.astype(int) - decoded).max() <= 1
    filed = read_picture(run.image_path("reconstruction", name, 1)).astype(int)
    assert np.abs(filed - picture).max() <= 1


def test_the_network_is_asked_40_times_and_without_strength_never(run, monkeypatch):
    chain = run.chain
    step, test = chain.steps[-1], run.subject.test
    seen, forward = [], UNet2DConditionModel.forward

    def counted(unet, rows, timestep, *rest, **more):
        seen.append(int(timestep))
        return forward(unet, rows, timestep, *rest, **more)

    monkeypatch.setattr(UNet2DConditionModel, "forward", counted)
    chain.run_from_patterns(test.stimulus_ids[:1], test.patterns[:1])
    assert len(seen) == 40 and (seen[0], seen[-1]) == (781, 1)
    seen.clear()
    kept = {"latent_size": SIZE, "start_posterior": "mode", "generator": {"strength": 0.0}}
    again = chain_of(NAME, kept).open(run.layout.decoder, run.store)
    found = again.run_from_patterns(test.stimulus_ids[:1], test.patterns[:1])[0, 0]
    first = read_picture(Layout(run.folder).on_the_way("first_picture", "picture", str(test.stimulus_ids[0])))
    vae, size = step.generator.pipeline.vae, step.generator.image_size
    pixels = np.array(Image.fromarray(first).resize((size, size), Image.Resampling.BICUBIC))
    with torch.inference_mode():
        latents = vae.encode(2 * torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 1).latent_dist.mode()
        expected = (255 * ((vae.decode(latents).sample + 1) / 2).clamp(0, 1)).round()[0].permute(1, 2, 0).numpy()
    assert not seen and np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("repair", [{"noised_to": "first step"}, {"start_posterior": "mode"}])
def test_a_repair_is_seen_in_the_picture(run, repair):
    test = run.subject.test
    other = chain_of(NAME, {"latent_size": SIZE} | repair).open(run.layout.decoder, run.store)
    found, usual = (
        chain.run_from_patterns(test.stimulus_ids[:1], test.patterns[:1]).astype(int) for chain in (other, run.chain)
    )
    assert np.abs(found - usual).max() > 1


def test_killed_between_its_two_decoders_it_ends_in_the_same_bytes(place, small_cohort, features):
    folder = place / "killed"
    line = line_of(small_cohort, features, folder)
    half = folder / "decoder" / "latent" / "config.json"
    interrupted(COMMAND_LINE, *line, when=half.exists)
    assert not (folder / "report.html").exists()
    assert run_command(line) == 0
    for name in ("decoder", "embeddings", "images", "stage_one"):
        whole = {path.relative_to(place / "run"): path for path in sorted((place / "run" / name).rglob("*.*"))}
        again = {path.relative_to(folder): path for path in sorted((folder / name).rglob("*.*"))}
        assert whole and whole.keys() == again.keys()
        assert all(again[path].read_bytes() == one.read_bytes() for path, one in whole.items()), name
    settings = [json.loads((at / "decoder" / "method.json").read_text()) for at in (place / "run", folder)]
    assert settings[0] == settings[1] and settings[0]["method"] == NAME


def test_without_captions_the_latent_is_all():
    chain = chain_of(NAME, system_class(NAME).without_captions)
    assert list(chain.targets) == ["sd_latent"] and chain.system.checkpoints == ("stable-diffusion-1-4",)
