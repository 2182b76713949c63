"""Through Their Eyes: its published settings, what the generator is asked for, and a new subject from responses to scores."""

import json

import numpy as np
import pytest
from stand_in_generators import StandIn, chain_with_shapes

import brainrecon
from brainrecon.assembly.align import ALIGNED_PATTERNS, KINDS
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Item, Machine
from brainrecon.evaluation.scores.published import published_values
from brainrecon.methods.ferrante2023_alignment import CrossSubject
from brainrecon.runs.run import Run
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.start_rule import FERRANTE, StartRule
from stages.ground.errors import InputError

NAME = "ferrante2023-alignment"
SHAPES = {"vdvae": (7,), "clip_image": (5, 4), "clip_text": (3, 4)}


def test_the_published_settings():
    settings = CrossSubject().settings
    assert settings.alignment.method == "ridge" and settings.alignment.alphas == (1e2, 1e3, 1e4, 5e4)
    assert settings.decoder.alpha == {"vdvae": 5e4, "clip_image": 6e4, "clip_text": 1e5}
    drawing = settings.generator
    assert (drawing.num_inference_steps, drawing.image_weight, drawing.text_weight) == (37, 0.6, 0.4)
    assert (settings.n_captions, settings.clip_pictures, settings.text_padding) == (1, "direct", "end")


def test_settings_reach_the_targets(monkeypatch):
    told = {}

    def loaded(self, place, role, machine, **options):
        told[place.partition(":")[2]] = options
        return TargetSource(lambda: None, ())

    monkeypatch.setattr(CrossSubject, "target", loaded)
    CrossSubject().steps(Machine())
    assert told["VDVAELatents"] == {"sample_seed": None, "greys": (110.0, 69.0), "farthest": 10.0}
    assert told["CLIPImageTokens"] == {"pictures": "direct"}
    assert told["CLIPTextTokens"] == {"padding": "end", "n_captions": 1}
    CrossSubject({"vdvae_targets": "checkpoint", "vdvae": {"sample_seed": 3}}).steps(Machine())
    assert told["VDVAELatents"] == {"sample_seed": 3}


@pytest.mark.parametrize(
    ("settings", "start", "grey"),
    [
        ({}, FERRANTE, 0.0),
        ({"unconditional": "checkpoint"}, FERRANTE, None),
        (
            {"start": "by the schedule", "start_posterior": "mode"},
            StartRule(posterior="mode", enlarged="bilinear"),
            0.0,
        ),
    ],
)
def test_settings_reach_the_generator(monkeypatch, settings, start, grey):
    told = []
    monkeypatch.setattr(DualContextGenerator, "from_pretrained", lambda folder, **given: told.append(given))
    monkeypatch.setattr(CrossSubject, "folder", lambda self, role: role)
    chain_with_shapes(NAME, settings, SHAPES).steps[-1]._load()
    assert told[0]["start"] == start and told[0].get("unconditional_grey") == grey


def test_its_chain():
    chain = chain_with_shapes(NAME, {}, SHAPES)
    assert repr(chain) == (
        f"Chain({NAME}: Align(aligned_patterns) -> Decode(vdvae, clip_image, clip_text) -> Show(first_picture) -> Draw(picture))"
    )
    assert [step.for_new_subject for step in chain.steps[:2]] == ["again", "keep"]
    assert chain.encoded_to_learn() == ("vdvae", "clip_image", "clip_text")
    assert Chain(CrossSubject({"alignment": {"fraction": 0.25}})).encoded_to_learn()[0] == KINDS
    assert Chain(CrossSubject({"alignment": {"fraction": 0.25}, "text_context": False})).steps[0].beside == {}


@pytest.mark.parametrize(
    ("absent", "weights"), [((), (0.6, 0.4)), (("clip_text",), (1.0, 0.0)), (("clip_image",), (0.0, 1.0))]
)
def test_what_the_generator_is_asked_for(absent, weights):
    from brainrecon.assembly.values import ABSENT

    step = chain_with_shapes(NAME, {}, SHAPES).steps[-1]
    generator = StandIn("nowhere", {name: SHAPES[name] for name in ("clip_image", "clip_text")}, SHAPES)
    vars(step)["generator"] = generator
    values = {name: np.zeros((1, int(np.prod(SHAPES[name])))) for name in ("clip_image", "clip_text")}
    values = {name: ABSENT if name in absent else value for name, value in values.items()}
    list(step.stream([Item("subj02", "a")], values | {"first_picture": np.zeros((1, 8, 8, 3), np.uint8)}))
    ((_, _, settings),) = generator.asked
    assert settings["weights"] == pytest.approx(dict(zip(("clip_image", "clip_text"), weights)))
    assert (settings["strength"], settings["num_inference_steps"]) == (1.0, 37)


def test_one_run_of_the_reference_serves_every_alignment():
    other = CrossSubject({"alignment": {"method": "procrustes", "fraction": 0.1}})
    assert other.for_pretraining() == CrossSubject().settings


def test_scores_say_if_they_depend_on_the_test_set():
    assert CrossSubject().notes == ()
    assert "statistics of the test set" in CrossSubject({"alignment": {"statistics": "transductive"}}).notes[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"start": "picture"}, "start is 'picture'; expected one of 'into noise', 'by the schedule'"),
        ({"unconditional": "grey"}, "unconditional is 'grey'"),
        ({"n_captions": 0}, "n_captions is 0; expected a whole number of 1 or more"),
        ({"vdvae_targets": "own"}, "vdvae_targets is 'own'"),
        ({"alignment": {"method": "hyper"}}, "alignment.method is 'hyper'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        CrossSubject(settings)


def test_published_rows_say_that_they_leak():
    rows = [row for row in published_values("brain-diffuser-2023") if row.method.startswith("Through Their Eyes")]
    assert [row.subjects for row in rows] == [("subj01",), ("subj02",), ("subj05",), ("subj07",)]
    assert all(row.computed == "other code" and row.n_stimuli == 982 for row in rows)
    assert ["952 of the 982 tested" in row.note for row in rows] == [False, True, True, True]


# A new subject, through a run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligned")
    brainrecon.simulate(folder / "nsd", subjects=2, sessions=2, trials_per_session=90, shared=20, voxels=200)
    return folder


@pytest.fixture(scope="module")
def aligned(place):
    return Run.create(place / "ridge", config_of(place), place / "features").fit()


def config_of(place, split="shared:0.5", **alignment):
    settings = with_weights(
        {"alignment": alignment, "generator": {"num_inference_steps": 2}}, system_class(NAME), "tiny"
    )
    data = {"source": f"nsd:{place / 'nsd'}", "subjects": ["subj01"], "subject": "subj02"}
    return {"method": NAME, "settings": settings, "data": data | ({"split": split} if split else {})}


def test_the_decoder_is_the_references_own(aligned):
    align, decode, *_ = aligned.chain.steps
    assert align.reference == "subj01" and align.alignment.n_stimuli == 10
    known = aligned.pretraining.layout.decoder / "model.safetensors"
    assert (aligned.layout.decoder / "model.safetensors").read_bytes() == known.read_bytes()
    predicted = decode.run([], {ALIGNED_PATTERNS: align.alignment.transform(aligned.subject.test.patterns)})
    for name, values in predicted.items():
        np.testing.assert_allclose(aligned.embeddings[name], values, atol=1e-3 * values.std())


def test_nothing_that_is_tested_is_learned_from(aligned):
    tested = set(map(str, aligned.subject.test.stimulus_ids))
    learned = json.loads((aligned.layout.decoder / "alignment" / "stimuli.json").read_text())
    assert learned["reference"] == "subj01" and len(learned["stimulus_ids"]) == len(tested) == 10
    assert not tested & set(learned["stimulus_ids"])
    assert not tested & set(map(str, aligned.pretraining.subject.train.stimulus_ids))


def test_alignment_on_what_is_tested_is_refused_before_anything_is_fitted(place):
    with pytest.raises(
        InputError, match="20 that both saw are tested: learn from some of these with --split shared:0.5"
    ):
        Run.create(place / "leak", config_of(place, split=None), place / "features").fit()
    assert not (place / "leak" / "pretraining" / "decoder").exists()


def test_every_condition_follows_from_the_patterns(aligned):
    applying = {name for name, one in CONDITIONS.items() if one.applies_to(aligned.chain)}
    assert {"oracle_embeddings", "shuffled_responses", "mean_response", "nearest_training_picture"} <= applying
    aligned.reconstruct(("reconstruction", "shuffled_responses", "mean_response"))
    for name in ("reconstruction", "shuffled_responses", "mean_response"):
        assert all(aligned.image_path(name, str(one)).exists() for one in aligned.subject.test.stimulus_ids)


@pytest.mark.parametrize(
    "settings", [{"method": "procrustes"}, {"fraction": 0.5}, {"method": "shared_response", "n_components": 5}]
)
def test_another_alignment_shares_the_references_run(place, aligned, settings):
    name = "-".join(map(str, settings.values()))
    config = config_of(place, **settings) | {"pretrained": str(aligned.pretraining.folder)}
    other = Run.create(place / name, config, place / "features").fit()
    assert other.chain.steps[0].alignment.method == settings.get("method", "ridge")
    assert other.chain.steps[0].alignment.n_stimuli in ((10,) if "method" in settings else (5, 6, 7))
    assert not np.allclose(other.embeddings["clip_image"], aligned.embeddings["clip_image"])


def test_the_reference_alone_is_a_run_without_alignment(place):
    config = config_of(place, split=None)
    config["data"] = {"source": config["data"]["source"], "subject": "subj01"}
    run = Run.create(place / "alone", config, place / "features").fit()
    np.testing.assert_array_equal(run.embeddings[ALIGNED_PATTERNS], run.subject.test.patterns)
