"""MindEye's variants: what follows from a setting, what does not go together, and the whole way of each, small."""

import json

import numpy as np
import published_checkpoints
import pytest
import random_checkpoints
import torch
from chains import chain_of
from PIL import Image
from stand_in_generators import StandIn

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.image_drawing import DRAWINGS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict
from brainrecon.assembly.targets import part
from brainrecon.assembly.values import Item
from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.errors import InputError
from weights import store

# What a blurry picture is decoded through, and what its training is held against.
BLURRY = {"sd-image-variations-autoencoder", "vicregl-convnext-xl"}
NAME = "mindeye2023"
KIND = system_class(NAME)

# What follows


@pytest.mark.parametrize(
    "settings, steps",
    [
        ({"draws_with": "nothing"}, "Learn(clip_retrieval)"),
        ({"draws_with": "nothing", "prior": "diffusion"}, "Learn(clip_rough, clip_retrieval)"),
        (
            {"prior": "none", "blurry": False, "candidates": 1},
            "Learn(clip_rough, clip_retrieval) -> AsDecoded(clip_image) -> Draw(picture)",
        ),
        (
            {"prior": "nearest"},
            "Learn(clip_retrieval) -> Learn(sd_latent) -> Show(first_picture) -> Remember(clip_image) -> Candidates(picture)",
        ),
        (
            {"prior": "nearest", "bank": "somewhere", "blurry": False},
            "Learn(clip_retrieval) -> Candidates(picture)",
        ),
        (
            {"draws_with": "image-variations"},
            "Learn(clip_rough, clip_retrieval) -> Learn(sd_latent) -> Show(first_picture) -> Candidates(picture)",
        ),
        (
            {"draws_with": "nearest pictures", "bank": "somewhere"},
            "Learn(clip_rough, clip_retrieval) -> Learn(query_rough, query_retrieval) -> NearestPictures(picture)",
        ),
        (
            {"draws_with": "nearest pictures", "bank": "somewhere", "prior": "none"},
            "Learn(clip_retrieval) -> Learn(query_retrieval) -> NearestPictures(picture)",
        ),
    ],
)
def test_the_chain_of_a_variant(settings, steps):
    assert repr(chain_of(NAME, settings)) == f"Chain({NAME}: {steps})"


@pytest.mark.parametrize(
    "name, checkpoints",
    [
        ("versatile-diffusion", {"clip-vit-l-14-quickgelu", "versatile-diffusion"} | BLURRY),
        ("image-variations", {"clip-vit-l-14-quickgelu", "sd-image-variations", "conditioned-prior"} | BLURRY),
        ("ip-adapter", {"clip-vit-h-14-laion2b", "stable-diffusion-1-5", "ip-adapter-sd15"} | BLURRY),
        ("nothing", {"clip-vit-l-14-quickgelu"}),
    ],
)
def test_checkpoints_follow_from_what_draws(name, checkpoints):
    system = KIND({"draws_with": name})
    assert set(system.checkpoints) == checkpoints and checkpoints <= store.checkpoints().keys()
    assert system.output == ("clip_retrieval" if name == "nothing" else "picture")
    assert KIND.output == "picture" and KIND().output == "picture"
    # What says nothing else stays.
    own = KIND({"draws_with": name, "checkpoints": {"clip": "my-clip"}}).settings.checkpoints
    assert own.clip == "my-clip" and own.generator == system.settings.checkpoints.generator


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, ("tokens", "diffusion", 6, 30.0, "random", 3.5)),
        ({"draws_with": "image-variations"}, ("vector", "diffusion", 12, 0.03, "published", 7.5)),
        ({"draws_with": "ip-adapter"}, ("vector", "diffusion", 12, 0.03, "random", 7.5)),
        ({"draws_with": "nothing", "embedding": "vector"}, ("vector", "none", 12, 0.03, "random", None)),
        ({"draws_with": "nearest pictures", "bank": "there"}, ("tokens", "diffusion", 6, 30.0, "published", None)),
        (
            {"draws_with": "image-variations", "decoder": {"prior_weight": 1.0}, "generator": {"guidance_scale": 2.0}},
            ("vector", "diffusion", 12, 1.0, "published", 2.0),
        ),
    ],
)
def test_settings_follow_from_what_draws_and_are_recorded(settings, expected):
    own = KIND(settings).settings
    decoder = own.decoder
    found = (own.embedding, own.prior, decoder.prior_depth, decoder.prior_weight, decoder.prior_begins)
    assert (*found, own.generator.guidance_scale) == expected
    assert from_dict(KIND.settings_class, to_dict(own)) == own


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"draws_with": "nothng"}, "draws_with is 'nothng'; expected one of 'versatile-diffusion', 'image-variations'"),
        ({"prior": "oracle"}, "prior is 'oracle'"),
        ({"embedding": "vector"}, "embedding is 'vector' but versatile-diffusion draws from 'tokens'"),
        (
            {"draws_with": "ip-adapter", "embedding": "tokens"},
            "embedding is 'tokens' but ip-adapter draws from 'vector'",
        ),
        ({"draws_with": "nothing", "prior": "nearest"}, "prior is 'nearest' but draws_with is 'nothing'"),
        ({"draws_with": "nearest pictures"}, "expected tokens and a folder of pictures: pass --set bank=FOLDER"),
        ({"bank": "there"}, "prior 'diffusion' reads none"),
        ({"decoder": {"prior_weight": 0}}, "prior_weight is 0.0 but prior is 'diffusion'"),
        ({"decoder": {"prior_begins": "published"}}, "no prior of a vector is trained"),
        ({"decoder": {"prior_begins": "magic"}}, "prior_begins is 'magic'"),
        ({"prior": "nearest", "neighbours": 0}, "neighbours is 0"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(settings, said):
    with pytest.raises(InputError, match=said) as caught:
        KIND(settings)
    assert "\n" not in str(caught.value)


def test_a_bank_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert KIND({"prior": "nearest", "bank": "bank"}).settings.bank == str(tmp_path / "bank")


# What is trained


def objectives_of(settings, step=0, shape=(5, 12)):
    decoder = chain_of(NAME, settings).steps[step].decoder
    small = {"hidden": 8, "n_blocks": 1, "projected": 8}
    small |= {"prior_depth": 1, "prior_heads": 2, "prior_head_width": 8} if "prior_depth" in decoder.arguments else {}
    names = list(chain_of(NAME, settings).steps[step].gives)
    network = decoder.make(7, dict.fromkeys(names, shape), **decoder.arguments | small)
    return network, decoder.objectives(network)


def test_a_vectors_prior_is_that_of_the_scripts():
    network, (contrast, prior) = objectives_of({"draws_with": "image-variations"}, shape=(12,))
    assert (contrast.reads, prior.reads, prior.weight) == (("clip_retrieval",), ("clip_rough",), 0.03)
    process = prior.prior.process
    assert (prior.prior.without_brain, prior.prior.without_image, process.n_steps) == (0.1, 0.1, 1000)
    assert prior.prior.scale_of(torch.zeros(2, 12)) == pytest.approx(12**0.5)
    assert {values.shape for values in network(torch.zeros(3, 7)).values()} == {(3, 12)}
    arguments = chain_of(NAME, {"draws_with": "image-variations"}).steps[0].decoder.arguments
    assert (arguments["prior"], arguments["prior_depth"], arguments["prior_heads"]) == ("vector", 12, 12)


@pytest.mark.parametrize("settings", [{"draws_with": "nothing"}, {"prior": "nearest"}])
def test_without_a_prior_or_a_rough_embedding_there_is_contrast_alone(settings):
    network, (contrast,) = objectives_of(settings)
    assert contrast.reads == ("clip_retrieval",) and not hasattr(network, "net")
    assert list(network(torch.zeros(3, 7))) == ["clip_retrieval"]


def test_drawn_from_as_it_is_the_rough_embedding_is_held_to_the_true_one():
    network, (_, error) = objectives_of({"prior": "none"})
    assert not hasattr(network, "net")
    outputs, true = {"clip_rough": torch.randn(3, 5, 12)}, {"clip_rough": torch.randn(3, 5, 12)}
    loss, _ = error(outputs, true, 0)
    # As the prior's: of values that are scaled by the square root of a token's width.
    expected = 30 * ((outputs["clip_rough"] - true["clip_rough"]) * 12**0.5).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    _, alone = objectives_of({"prior": "none", "decoder": {"prior_weight": 0}})
    assert len(alone) == 1


def test_pictures_of_a_folder_are_looked_for_by_a_second_network():
    settings = {"draws_with": "nearest pictures", "bank": "there"}
    _, (contrast, prior) = objectives_of(settings, step=1, shape=(12,))
    assert (contrast.reads, prior.reads, prior.weight) == (("query_retrieval",), ("query_rough",), 0.03)
    tokens, vector, _ = chain_of(NAME, settings).steps
    assert (tokens.decoder.begin, vector.decoder.begin is not None) == (None, True)
    assert vector.decoder.arguments["prior_depth"] == 12 and tokens.decoder.arguments["prior_depth"] == 6
    assert (tokens.part, vector.part) == ("tokens", "vector")


# What is drawn with


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_generator_is_asked_for_what_the_scripts_do(name, monkeypatch):
    way, shape = DRAWINGS[name], (257, 768) if DRAWINGS[name].embedding == "tokens" else (768,)
    monkeypatch.setattr(
        part(way.generator),
        "from_pretrained",
        lambda folder, **options: StandIn(folder, {"clip_image": shape}, ["clip_image"], **options),
    )
    monkeypatch.setattr(KIND, "folder", lambda self, role: f"folder of {self._roles[role]}")
    values = {"clip_image": np.zeros((1, int(np.prod(shape)))), "first_picture": np.zeros((1, 64, 64, 3), np.uint8)}
    for blurry, strength in ((False, 1.0), (True, 0.85)):
        step = chain_of(NAME, {"draws_with": name, "candidates": 1, "blurry": blurry}).steps[-1]
        monkeypatch.setattr(step, "_sources", {})
        list(step.stream([Item("", "a")], {one: values[one] for one in (*step.reads, *step.optional)}))
        asked, _, told = step.generator.asked[-1]
        assert ("first_picture" in asked) == blurry and told["strength"] == strength
    _, _, asked = step.generator.asked[-1]
    assert step.generator.folder == f"folder of {way.checkpoint}"
    assert (asked["num_inference_steps"], asked["strength"]) == (20, 0.85)
    assert asked["guidance_scale"] == (3.5 if name == "versatile-diffusion" else 7.5)
    assert asked["weights"] == {"clip_image": 1.0} | ({"clip_text": 0.0} if way.has_text else {})
    options = step.generator.options
    assert options["scheduler"] == "unipc"
    assert options["start"] == StartRule(posterior="sample", pixels="for CLIP")
    assert options.get("ip_adapter") == (f"folder of {way.adapter}" if way.adapter else None)
    assert options.get("unconditional") == ("zeros" if name == "versatile-diffusion" else None)


# The whole way

FEW = (
    *("decoder.epochs=2", "decoder.batch_size=8", "decoder.hidden=64", "decoder.prior_depth=1"),
    *("latent.epochs=1", "latent.batch_size=16", "generator.num_inference_steps=3", "prior_evaluations=2"),
)
SMALL = {"clip": "clip-vit-l-14-openclip", "autoencoder": "tiny-generator"}
VARIANTS = {
    "no prior": ({"prior": "none", "blurry": "false"}, {}),
    "nearest training embedding": ({"prior": "nearest", "neighbours": 3}, {}),
    "image variations": (
        {"draws_with": "image-variations"},
        SMALL | {"generator": "sd-image-variations"},
    ),
    "ip-adapter": (
        {"draws_with": "ip-adapter", "blurry": "false"},
        SMALL | {"clip": "clip-vit-h-14-laion2b", "generator": "stable-diffusion-1-5", "adapter": "ip-adapter-sd15"},
    ),
}


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Maker of random checkpoints in the published layouts, pulled into a store of this test's."""
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))

    def make(names):
        for name in names:
            if not store.checkpoints()[name].embedded:
                published_checkpoints.write_published(name, tmp_path / name, random_checkpoints.EMBED_DIM)
                assert run_command(["weights", "pull", name, "--from", str(tmp_path / name)]) == 0

    return make


def ran(small_cohort, features, folder, settings, controls="shuffled_responses"):
    chosen = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    few = [part for text in FEW for part in ("--set", text)]
    places = ["--out", str(folder), "--features", str(features), "--controls", controls]
    assert run_command(["run", NAME, f"nsd:{small_cohort}", "--weights", "tiny", *few, *chosen, *places]) == 0
    return Run(folder, features)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_goes_the_whole_way(variant, small_cohort, features, checkpoints, tmp_path):
    settings, named = VARIANTS[variant]
    checkpoints(named.values())
    run = ran(
        small_cohort, features, tmp_path / "run", settings | {f"checkpoints.{role}": one for role, one in named.items()}
    )
    names = list(map(str, run.subject.test.stimulus_ids))
    for condition in ("reconstruction", "shuffled_responses"):
        drawn = [np.asarray(Image.open(run.image_path(condition, name))) for name in names]
        assert len(drawn) == 4 and all(picture.std() > 0 for picture in drawn)
    scores = run.scores
    assert set(scores.conditions) >= {"reconstruction", "shuffled_responses"}
    assert {row.target for row in scores.embeddings.rows} == {"clip_image"}
    assert ("stage_one" in scores.conditions) == ("blurry" not in settings)
    assert (run.folder / "report.html").stat().st_size > 10_000
    assert [
        one.name for one in CONDITIONS.values() if one.name == "without_stage_one" and one.applies_to(run.chain)
    ] == ([] if "blurry" in settings else ["without_stage_one"])
    # Drawn again without the run folder, the same.
    some = run.chain.run_from_patterns(names[2:4], run.subject.test.patterns[2:4])[:, 0]
    filed = np.stack([np.asarray(Image.open(run.image_path("reconstruction", name))) for name in names[2:4]])
    assert np.abs(some.astype(int) - filed).max() <= 1


def test_retrieval_alone_is_scored_and_reported_without_a_picture(small_cohort, features, tmp_path, capsys):
    run = ran(small_cohort, features, tmp_path / "run", {"draws_with": "nothing"})
    said = capsys.readouterr().out
    assert "shuffled_responses is left out: the method draws nothing, its output is clip_retrieval" in said
    assert not list(run.folder.rglob("*.png")) and not (run.folder / "features").exists()
    assert set(run.embeddings) == {"clip_retrieval"}
    assert run_command(["evaluate", str(run.folder), "--protocol", "mindeye-2023-pools"]) == 0
    scores = Run(run.folder, features).scores
    assert scores.protocol.name == "brainrecon-1"
    pools = json.loads((run.folder / "scores" / "mindeye-2023-pools.json").read_text())
    assert {row["target"] for row in pools["retrieval"]["rows"]} == {"clip_image"}
    assert list(scores.conditions) == ["reconstruction"] and scores.conditions["reconstruction"].values == {}
    assert scores.embeddings.rows and any("compared by clip_retrieval" in note for note in scores.notes)
    page = (run.folder / "report.html").read_text()
    assert "are found by their predicted embeddings" in page and "Nothing has been scored" not in page
    # What draws nothing is asked for nothing.
    for line in (["reconstruct", str(run.folder)], ["reconstruct", str(run.folder), "--plan"]):
        assert run_command(line) == 2
        assert "draws nothing at its settings, its output is clip_retrieval" in capsys.readouterr().err
    assert run_command(["predict", str(run.folder), "--out", str(tmp_path / "found.npz")]) == 0
    assert np.load(tmp_path / "found.npz")["clip_retrieval"].shape == (4, 65 * 64)
    (curves,) = run.chain.curves().values()
    assert "clip_retrieval contrast" in curves and not any("prior" in name for name in curves)


def test_pictures_of_a_folder_are_shown(small_cohort, features, tmp_path):
    """They are those whose vectors are nearest, and of these the best by tokens: brute force."""
    from stages.targets.clip import CLIPImageTokens, CLIPImageVector

    draws = np.random.default_rng(0)
    pictures = draws.integers(0, 256, (9, 24, 32, 3), dtype=np.uint8)
    pictures = np.kron(pictures[:, ::8, ::8], np.ones((1, 8, 8, 1), np.uint8))
    bank = tmp_path / "bank"
    (bank / "pictures").mkdir(parents=True)
    for row, picture in enumerate(pictures):
        Image.fromarray(picture).save(bank / "pictures" / f"{row:03d}.png")
    clip = store.path("tiny-clip")
    vectors = CLIPImageVector.from_pretrained(clip).encode(pictures)
    np.save(bank / "part-0.npy", vectors[:4])
    np.save(bank / "part-1.npy", vectors[4:].astype(np.float16))
    settings = {"draws_with": "nearest pictures", "bank": str(bank), "candidates": 4}
    run = ran(small_cohort, features, tmp_path / "run", settings | {"prior": "none", "decoder.prior_begins": "random"})
    tokens = CLIPImageTokens.from_pretrained(clip)
    found, chain = run.embeddings, run.chain
    for row, name in enumerate(run.stimulus_ids):
        query = found["query_retrieval"][row]
        cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
        nearest = np.argsort(-cosines)[:4]
        squares = chain.steps[-1].pictures[nearest]
        fits = [np.ravel(tokens.encode(one[None])) for one in squares]
        fits = [one @ found["clip_retrieval"][row] / np.linalg.norm(one) for one in fits]
        shown = np.asarray(Image.open(run.image_path("reconstruction", name)))
        assert shown.shape == (512, 512, 3)
        np.testing.assert_array_equal(shown, squares[int(np.argmax(fits))])


def test_a_vectors_prior_begins_from_the_published_one(small_cohort, features, checkpoints, tmp_path, monkeypatch):
    """Pulled from the published file's place, its pickle converted, and put in before the first step."""
    from stages.networks.vector_prior import VectorPrior

    torch.manual_seed(3)
    published = VectorPrior(random_checkpoints.EMBED_DIM, depth=1, n_heads=4, head_width=32)
    tensors = {f"net.{name}": value for name, value in published.state_dict().items()}
    origin = tmp_path / "origin"
    (origin / "vit-l-14" / "aesthetic").mkdir(parents=True)
    torch.save(tensors | {"clip.logit_scale": torch.ones(1)}, origin / "vit-l-14" / "aesthetic" / "best.pth")
    checkpoints(["clip-vit-l-14-openclip"])
    assert run_command(["weights", "pull", "conditioned-prior", "--from", str(origin)]) == 0
    named = {f"checkpoints.{role}": one for role, one in (SMALL | {"generator": "sd-image-variations"}).items()}
    own = {"draws_with": "image-variations", "blurry": "false", "decoder.learning_rate": 1e-9}
    own |= {"decoder.prior_begins": "published"}
    line = [part for name, value in (own | named).items() for part in ("--set", f"{name}={value}")]
    few = [part for text in FEW for part in ("--set", text)]
    places = ["--out", str(tmp_path / "run"), "--features", str(features)]
    assert run_command(["fit", NAME, f"nsd:{small_cohort}", "--weights", "tiny", *few, *line, *places]) == 0
    trained = Run(tmp_path / "run", features).chain.steps[0].decoder.network.network.net.state_dict()
    for name, value in published.state_dict().items():
        torch.testing.assert_close(trained[name], value, atol=1e-5, rtol=1e-5)
