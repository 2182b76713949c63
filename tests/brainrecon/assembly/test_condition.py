"""Conditions: which apply to which system follows from its steps, and what stands in the place of a value."""

import pytest
from chains import chain_of
from made_up_systems import Adding, system_of

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import (
    CONDITIONS,
    CONTROLS,
    ESSENTIAL_CONTROLS,
    RECONSTRUCTION,
    Condition,
    condition,
)
from brainrecon.assembly.replacement import (
    MEAN,
    Absence,
    AnotherSystem,
    Mean,
    NearestTrainingPicture,
    Partner,
    Source,
    Truth,
)
from stages.ground.errors import InputError

RESPONSES = ["reconstruction", "shuffled_responses", "mean_response", "mean_picture", "ridge_to_pixels"]
EMBEDDINGS = [*RESPONSES, "oracle_embeddings", "nearest_training_picture"]
ONE_CONTEXT = [*EMBEDDINGS, "stage_one", "without_stage_one"]
TWO_CONTEXTS = [*ONE_CONTEXT, "without_image_context", "without_text_context"]
# System and settings -> the conditions that it can be drawn under; the tests of a method have their own.
APPLIES = [
    ("brain-diffuser", {}, TWO_CONTEXTS),
    ("brain-diffuser", {"text_context": False}, ONE_CONTEXT),
    ("brain-diffuser", {"decoder": {"rescale": "transductive"}}, set(TWO_CONTEXTS) - {"mean_response"}),
    ("brain-diffuser-sd", {}, TWO_CONTEXTS),
    ("brain-diffuser-sd", {"text_context": False}, ONE_CONTEXT),
    ("brain-diffuser-sdxl", {}, TWO_CONTEXTS),
    ("brain-diffuser-unclip", {}, TWO_CONTEXTS),
    ("brain-diffuser-kandinsky", {}, ONE_CONTEXT),
    ("icgan2022", {}, EMBEDDINGS),
    ("icgan2022", {"dense": False}, EMBEDDINGS),
    ("icgan2022", {"decoder": {"rescale": {"instance": "transductive"}}}, set(EMBEDDINGS) - {"mean_response"}),
    ("mindeye2-2024", {}, [*EMBEDDINGS, "stage_one", "unrefined", "without_stage_one"]),
    ("mindeye2-2024", {"redraws_with": "nothing", "blurry": False}, EMBEDDINGS),
    ("miyawaki2008", {}, [*RESPONSES, "binarised"]),
    ("shen2019-gan", {}, RESPONSES),
    ("mean-image", {}, set(RESPONSES) - {"mean_picture"}),
    ("noise", {}, RESPONSES),
    ("nearest-training-picture", {}, set(RESPONSES) - {"mean_response"}),
    ("nearest-training-caption", {}, ["reconstruction", "shuffled_responses"]),
    ("ridge-to-pixels", {}, set(RESPONSES) - {"ridge_to_pixels"}),
]


@pytest.mark.parametrize(("name", "settings", "expected"), APPLIES)
def test_which_conditions_apply_to_a_system(name, settings, expected):
    chain = chain_of(name, settings)
    assert [name for name, one in CONDITIONS.items() if one.applies_to(chain)] == [
        name for name in CONDITIONS if name in expected
    ]


@pytest.mark.parametrize(
    ("system", "settings", "name", "reason"),
    [
        ("noise", {}, "oracle_embeddings", "the method has nothing for it"),
        ("noise", {}, "stage_one", "the method has nothing for it"),
        ("noise", {}, "without_stage_one", "the method has nothing for it"),
        ("noise", {}, "nearest_training_picture", "the method predicts no embedding of a picture"),
        ("ridge-to-pixels", {}, "ridge_to_pixels", "it is the method itself"),
        ("brain-diffuser-kandinsky", {}, "without_image_context", "the method cannot do without it"),
        (
            "nearest-training-picture",
            {},
            "mean_response",
            "less the training mean nothing is left of the mean response",
        ),
        (
            "icgan2022",
            {"decoder": {"rescale": "transductive"}},
            "mean_response",
            "its one prediction has no spread that transductive rescaling could use",
        ),
    ],
)
def test_why_a_condition_does_not_apply(system, settings, name, reason):
    assert CONDITIONS[name].why_not(chain_of(system, settings)) == reason


def test_lists_of_conditions_agree():
    parts = {name for name, one in CONDITIONS.items() if not one.is_control} - {RECONSTRUCTION}
    assert parts == {"stage_one", "unrefined", "binarised"}
    assert set(CONTROLS) == set(CONDITIONS) - {RECONSTRUCTION} - parts
    assert set(ESSENTIAL_CONTROLS) < set(CONTROLS)
    for name, one in CONDITIONS.items():
        assert one.name == name and one.label and one.explanation and one.label[0].isupper()
    with pytest.raises(InputError, match="no condition 'dreams'; expected some of reconstruction, stage_one"):
        condition("dreams")


# A system of another kind


def captioner(**options):
    """Responses to an embedding and a draft, and from both to a caption; the draft can be done without."""
    code = Adding(["patterns"], "clip_image", targets={"clip_image": object()}, **options)
    draft = Adding(["clip_image"], "draft", media={"draft": "caption"})
    caption = Adding(["clip_image"], "caption", optional=["draft"], media={"caption": "caption"})
    return Chain(system_of(code, draft, caption, output="caption", image_embedding="clip_image"))


def test_conditions_apply_by_its_steps_to_a_system_whose_output_is_a_caption():
    assert [name for name, one in CONDITIONS.items() if one.applies_to(captioner())] == [
        "reconstruction",
        "oracle_embeddings",
        "shuffled_responses",
        "mean_response",
    ]
    assert CONDITIONS["ridge_to_pixels"].why_not(captioner()) == "the method draws no pictures"
    assert CONDITIONS["nearest_training_picture"].why_not(captioner()) == "the method draws no pictures"
    told = "it has no spread"
    assert CONDITIONS["mean_response"].why_not(captioner(no_mean_response=told)) == told


def test_a_step_on_the_way_may_have_nothing_for_the_mean_response():
    code = Adding(["patterns"], "clip_image", targets={"clip_image": object()})
    draft = Adding(["clip_image"], "draft", media={"draft": "caption"}, no_mean_response="it has no words for it")
    caption = Adding(["draft"], "caption", media={"caption": "caption"})
    chain = Chain(system_of(code, draft, caption, output="caption", image_embedding="clip_image"))
    assert CONDITIONS["mean_response"].why_not(chain) == "it has no words for it"
    assert CONDITIONS["shuffled_responses"].why_not(chain) is None


def test_a_new_condition_is_a_few_names():
    chain = captioner()
    without = Condition("without_draft", "Without draft", "no draft", replaces={"draft": Absence()})
    shown = Condition("draft", "Draft", "the draft alone", is_control=False, shows="draft")
    assert without.applies_to(chain) and shown.applies_to(chain) and shown.shown(chain) == "draft"
    assert without.shown(chain) == "caption" and without.replacement(chain, "draft") == Absence()
    assert not without.applies_to(chain_of("noise")) and not shown.applies_to(chain_of("noise"))


# Replacements


class Situation:
    """Asked whose partner somebody is, and nothing else."""

    def partner(self, stimulus_id):
        return {"a": "b", "b": "a"}[stimulus_id]


@pytest.mark.parametrize(
    ("replacement", "source"),
    [
        (Partner(), Source("own", "b")),
        (Mean(), MEAN),
        (Truth(), Source("true", "a")),
        (Absence(), None),
    ],
)
def test_whose_row_stands_in_the_place_of_a_value(replacement, source):
    assert replacement.source("a", Situation()) == source and not replacement.is_drawn


def test_what_stands_in_the_place_of_the_output_is_drawn():
    assert AnotherSystem("ridge-to-pixels").is_drawn and NearestTrainingPicture().is_drawn
    chain = chain_of("brain-diffuser")
    for name in ("ridge_to_pixels", "nearest_training_picture"):
        assert CONDITIONS[name].replacement(chain, "picture").is_drawn
        assert CONDITIONS[name].replacement(chain, "clip_image") is None


def test_every_target_is_replaced_and_nothing_else():
    chain = chain_of("brain-diffuser")
    found = {name: CONDITIONS["oracle_embeddings"].replacement(chain, name) for name in chain.given}
    assert {name for name, one in found.items() if one} == {"vdvae", "clip_image", "clip_text"}
