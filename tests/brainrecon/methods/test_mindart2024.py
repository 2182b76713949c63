"""MindArt: the scripts' settings, and each value of a run held against its own maker."""

import numpy as np
import pytest
import torch
from chains import chain_of
from small_systems import SMALL, pull_random

import brainrecon
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.runs.run import Run
from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.decoders.ridge.kfold_ridge import KFoldRidgeDecoder
from stages.generators.generator import Item, in_order
from stages.generators.language.prompted_captioner import PromptedCaptioner
from stages.ground.errors import InputError
from weights import store

NAME = "mindart2024"


def test_the_chain_in_the_published_order():
    assert repr(chain_of(NAME)) == (
        "Chain(mindart2024: Learn(clip_match, brain_tokens) -> Learn(caption_states) -> DecodeValue(sd_latent) -> "
        "SimilarCaption(similar_caption) -> Draw(caption) -> Encode(clip_text) -> Show(first_picture) -> Draw(picture))"
    )
    other = chain_of(NAME, {"latent_from": "captions"})
    assert other.giver("brain_tokens") is None and other.giver("sd_latent").reads == ("caption_states",)


def test_trainings_are_those_of_the_scripts():
    matching, captions, latent, *_ = chain_of(NAME).steps
    recipe, words = matching.decoder.recipe, captions.decoder.recipe
    assert (recipe.batch_size, recipe.optimiser.name, recipe.optimiser.learning_rate) == (1024, "adam", 2e-5)
    assert recipe.schedule.kind == "constant" and (recipe.optimiser.weight_decay, recipe.precision) == (0, "no")
    assert (words.batch_size, words.optimiser.name, words.optimiser.learning_rate) == (32, "adamw", 1e-4)
    assert words.schedule.kind == "linear" and words.optimiser.weight_decay == 1e-4
    settings = system_class(NAME)().settings
    assert (settings.matching.epochs, settings.captions.epochs) == (30, 60)
    assert (settings.matching.pairs.of, settings.matching.pairs.shared) == ("any", True)
    assert (settings.captions.pairs.of, settings.captions.pairs.shared) == ("own", False)
    assert settings.regions == ("V1", "V2", "V3", "V4", "LOC", "FFA", "PPA") and settings.voxels == "as they are"
    assert not matching.decoder.standardise and not captions.decoder.standardise
    assert isinstance(latent.decoder, KFoldRidgeDecoder) and not latent.decoder.intercept
    assert latent.settings.trials == "averaged"
    np.testing.assert_allclose(latent.decoder.alphas, 10.0 ** np.arange(-6, 1))


def test_the_latent_is_redrawn_as_takagi2023_redraws_it():
    own, other = (system_class(name)().settings for name in (NAME, "takagi2023"))
    named = ("generator", "latent_size", "latent_posterior", "latent_greys", "noised_to", "start_posterior")
    assert all(getattr(own, name) == getattr(other, name) for name in named)
    assert (own.generator.strength, own.generator.num_inference_steps, own.generator.guidance_scale) == (0.8, 50, 5.0)


def test_the_twin_reads_embedded_networks_alone():
    chain = chain_of(NAME, weights="tiny")
    settings = chain.system.settings
    assert set(vars(settings.checkpoints).values()) == {"tiny-clip", "tiny-gpt2", "tiny-stable-diffusion"}
    assert all(store.checkpoints()[name].embedded for name in vars(settings.checkpoints).values())
    tokens = load_gpt2_tokenizer(chain.system.folder("language"))("This image shows a red car.")["input_ids"]
    assert len(tokens) == 7


def test_networks_of_full_size():
    """As published for seven regions, the largest of 1,000 voxels."""
    from stages.networks.captioned_regions import CaptionedRegions
    from stages.networks.matched_regions import MatchedRegions

    matching, captions, *_ = chain_of(NAME).steps
    with torch.device("meta"):
        matched = MatchedRegions(7000, {"clip_match": (512,), "brain_tokens": (8, 512)}, **matching.decoder.arguments)
        sizes = matching.decoder.arguments | {"width": 512}
        sizes.pop("n_regions")
        states = {"caption_states": (16, 768)}
        captioned = CaptionedRegions(7000, states, matching=sizes, **captions.decoder.arguments)
        found = captioned(torch.empty(2, 7000), torch.empty(2, 2, 30))
    assert len(matched.matching.fmri_encoder.blocks) == 12 and len(captioned.tokens.encoder.blocks) == 16
    assert len(matched.matching.gnn.layers) == 6
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "caption_states": (2, 16, 768),
        "caption_tokens": (2, 30, 50257),
        "clip_class": (2, 768),
    }
    cross = sum(one.numel() for name, one in captioned.named_parameters() if ".crossattention." in name)
    assert cross == 1_780_416


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"voxels": "raw"}, "voxels is 'raw'"),
        ({"regions": []}, "regions is empty"),
        ({"latent_from": "graph"}, "latent_from is 'graph'"),
        ({"matching": {"category": "all"}}, "category is 'all'"),
        ({"captions": {"factor": 0}}, "factor is 0"),
        ({"writing": {"num_beams": 0}}, "writing.num_beams is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        chain_of(NAME, settings)


@pytest.fixture(scope="module")
def run(cohort, features, tmp_path_factory):
    """A run on small random networks in the published layouts, through the command line."""
    root = tmp_path_factory.mktemp(NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(root / "store"))
        pull_random(NAME, root / "origins")
        chosen = [part for setting in SMALL[NAME].settings for part in ("--set", setting)]
        line = ["run", NAME, f"nsd:{cohort}", "--out", str(root / "run"), "--features", str(features), *chosen]
        assert run_command([*line, "--roi", "early + ventral", "--controls", "without_text_context"]) == 0
        yield Run(root / "run", features)


def on_the_way(run, value):
    names = [str(name) for name in run.subject.test.stimulus_ids]
    return [run.layout.on_the_way(value, "caption", name).read_text(encoding="utf-8").strip() for name in names]


def values_of(run):
    return run.chain.predict(run.subject.test.patterns)


def test_the_encoder_reads_its_regions_and_predicts_without_the_graph(run):
    network, patterns = run.chain.steps[0].decoder.network, np.asarray(run.subject.test.patterns)
    rois, found = run.subject.rois, values_of(run)
    sizes = [int(rois[name].sum()) for name in ("early", "ventral")]
    tokens = torch.zeros(len(patterns), 2, max(sizes))
    with torch.no_grad():
        voxels = (torch.from_numpy(patterns) - network.mean) / network.scale
        for row, name in enumerate(("early", "ventral")):
            tokens[:, row, : sizes[row]] = voxels[:, torch.from_numpy(rois[name])]
        expected = network.network.matching.encode(tokens).numpy()
    np.testing.assert_allclose(found["brain_tokens"], expected.reshape(len(patterns), -1), atol=1e-5)
    np.testing.assert_array_equal(found["clip_match"], found["brain_tokens"][:, : expected.shape[-1]])


def test_the_caption_model_reads_the_matching_that_was_trained(run):
    matched, captioned = (step.decoder.network.network for step in run.chain.steps[:2])
    one, other = matched.matching.state_dict(), captioned.tokens.fmrigm.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    published = run.config.system.folder("language")
    from safetensors.torch import load_file

    stored = load_file(published / "model.safetensors")
    assert torch.equal(captioned.decoder.transformer.wte.weight, stored["wte.weight"])


def test_the_latent_is_decoded_from_averages_of_the_tokens_of_trials(run):
    matched, _, step = run.chain.steps[:3]
    train = run.subject.train
    tokens = matched.run([], {"patterns": np.asarray(train.betas[:])})["brain_tokens"]
    averages = np.stack([tokens[train.positions == row].mean(axis=0) for row in range(train.n_stimuli)])
    learned, stimuli = step.training(train, {})
    assert stimuli is None
    np.testing.assert_allclose(learned, averages, atol=1e-5)
    latents = np.asarray(run.chain.targets["sd_latent"].target.encode(np.asarray(train.images[:])), np.float32)
    fitted = KFoldRidgeDecoder(intercept=False).fit(averages, latents)
    found = values_of(run)
    np.testing.assert_allclose(found["sd_latent"], fitted.predict(found["brain_tokens"]), atol=1e-3)


def test_the_similar_caption_is_that_of_the_nearest_training_picture(run):
    train, queries = run.subject.train, values_of(run)["clip_match"]
    bank = np.asarray(run.chain.targets["clip_match"].target.encode(np.asarray(train.images[:])))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, bank)]
    nearest = (unit[0] @ unit[1].T).argmax(axis=1)
    assert on_the_way(run, "similar_caption") == [train.captions[row][0].strip() for row in nearest]


def test_the_caption_is_what_the_language_model_writes_behind_it(run):
    learned, states = run.chain.steps[1].decoder, values_of(run)["caption_states"].reshape(-1, 6, 16)
    tokenizer = load_gpt2_tokenizer(run.config.system.folder("language"))
    captioner = PromptedCaptioner(learned.network.network.decoder, tokenizer, (6, 16))
    values = {"caption_states": states, "similar_caption": on_the_way(run, "similar_caption")}
    items = [Item(str(name)) for name in run.subject.test.stimulus_ids]
    writing = dict(vars(run.config.settings.writing))
    assert on_the_way(run, "caption") == in_order(captioner.draw(values, items, **writing))


@pytest.mark.parametrize("beginning", [None, "An oil painting of "])
def test_the_context_is_that_of_the_beginning_and_the_caption_with_nothing_between(run, beginning):
    item, caption = Item(str(run.subject.test.stimulus_ids[0])), "a dog on a boat"
    settings = SMALL[NAME].nested() | ({} if beginning is None else {"beginning": beginning})
    chain = chain_of(NAME, settings)
    encode = chain.giver("clip_text")
    text = f"{beginning or 'A image showing'}{caption}"
    assert beginning or text == "A image showinga dog on a boat"
    expected = chain.targets["clip_text"].target.encode([[text]])
    np.testing.assert_allclose(encode.run([item], {"caption": [caption]})["clip_text"], expected, atol=1e-5)


def test_pictures_and_their_control_are_scored_and_reported(run):
    assert {"reconstruction", "without_text_context"} <= set(run.scores.conditions)
    report = run.layout.report.read_text(encoding="utf-8")
    assert "mindart2024" in report and "categories of the training trials" in report


def test_how_well_responses_were_matched_stands_in_the_curves(run):
    curves = run.chain.curves()["clip_match, brain_tokens"]
    assert {"clip_match matching", "clip_match matched"} <= set(curves)
    assert all(0 <= one <= 1 for one in curves["clip_match matched"][1])


def test_which_conditions_apply():
    chain = chain_of(NAME)
    applied = {name for name, one in CONDITIONS.items() if one.applies_to(chain)}
    wanted = {"oracle_embeddings", "shuffled_responses", "mean_response", "nearest_training_picture"}
    assert wanted | {"without_text_context", "without_stage_one"} <= applied


def test_data_without_categories_are_refused_in_one_sentence(run):
    subject = run.subject
    train = subject.train
    bare = Split(train.betas, train.trial_stimulus_ids, images=train.images, captions=train.captions)
    without = Subject("subj01", "arrays", "arrays:mine", {**subject.splits, "train": bare}, "all", subject.rois)
    with pytest.raises(InputError, match="arrays:mine tells no categories of training, by which responses are matched"):
        brainrecon.Reconstructor(NAME, settings=SMALL[NAME].nested()).fit(without)
