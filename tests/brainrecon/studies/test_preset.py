"""Presets: every row is a method that exists, and nothing is said of a row that is not there."""

import json

import pytest

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.studies.plan import Plan
from brainrecon.studies.preset import Comparison, Preset, available, load_preset, with_preset
from stages.ground.errors import InputError

# As the study prints them; accuracy of cells, and weights by size.
ACCURACIES = {
    "OMP 1x1 alone": 0.751,
    "OMP scale 2": 0.802,
    "OMP scale 3": 0.832,
    "OMP scale 5": 0.821,
    "linear regression": 0.729,
    "Bayesian ridge": 0.761,
}
WEIGHTS = {
    "OMP scale 2": (0.18, 0.34, 0.27, 0.19),
    "OMP scale 3": (0.21, 0.33, 0.26, 0.18),
    "OMP scale 5": (0.25, 0.32, 0.25, 0.16),
}
WITHOUT_A_FIGURE = {"univariate", "OMP scale 2 equal weights", "sparse logistic NNLS"}
ADDED = {
    *("ridge", "ridge equal weights", "ridge 500 voxels"),
    *("linear regression equal weights", "linear regression 500 voxels"),
}


@pytest.mark.parametrize("name", available())
def test_every_row_of_a_preset_is_a_method_with_valid_settings(name):
    preset = load_preset(name)
    for row, settings in preset.methods.items():
        own = {key: value for key, value in settings.items() if key != "method"}
        kind = system_class(settings["method"])
        assert kind(from_dict(kind.settings_class, own)).settings, row
    if preset.sessions:
        assert not preset.methods and sorted(set(preset.sessions)) == list(preset.sessions)
        return
    rows = {json.dumps(values, sort_keys=True) for values in preset.rows(preset.kinds[0]).values()}
    assert len(rows) == len(preset.methods), "two rows are the same"
    for protocol in preset.plan["protocols"]:
        for values in preset.published.values():
            assert set(values) <= set(load_protocol(protocol).metrics)
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in preset.plan.items()}
    assert Plan("miyawaki:x", preset.methods, ("subj01",), preset=name, **rest).cells()


def test_the_study_of_local_decoders_has_its_rows_and_figures():
    preset = load_preset("miyawaki-study")
    assert {row: values["binary_accuracy"] for row, values in preset.published.items()} == ACCURACIES
    assert {row: tuple(values.values()) for row, values in preset.published_weights.items()} == WEIGHTS
    assert set(preset.methods) == set(ACCURACIES) | WITHOUT_A_FIGURE | ADDED
    assert preset.methods["sparse logistic NNLS"]["decoder"]["weights"] == "nnls"


def test_an_unknown_preset_is_refused_with_those_that_are_there():
    with pytest.raises(InputError, match="no preset 'miyawaki'; expected one of .*miyawaki-study"):
        load_preset("miyawaki")


@pytest.mark.parametrize(
    "wrong",
    [
        {"published": {"b": {"accuracy": 0.5}}},
        {"published_weights": {"b": {"1 x 1": 0.5}}},
        {"comparisons": (Comparison("a beats b", (("a", "b"),)),)},
    ],
)
def test_what_is_said_of_a_row_that_is_not_there_is_refused(wrong):
    with pytest.raises(InputError, match="says something of 'b' but has the rows a"):
        Preset("x", "", "", ("nsd",), {"a": {"method": "noise"}}, **wrong)


NEW = dict(data="miyawaki:x", methods=None, rest={"rois": None, "samples": None})


def test_a_preset_completes_a_new_plan_and_leaves_one_that_is_there_alone():
    methods, rest = with_preset("miyawaki-study", **NEW)
    assert list(methods) == list(load_preset("miyawaki-study").methods)
    assert rest["rois"] == ["V1+V2"] and rest["samples"] == 3 and rest["preset"] == "miyawaki-study"
    _, rest = with_preset("miyawaki-study", **NEW | {"rest": {"rois": ["V1"], "samples": None}})
    assert rest["rois"] == ["V1"] and rest["samples"] == 3
    there = Plan("miyawaki:x", methods, ("subj01",), preset="miyawaki-study", heldout="")
    _, rest = with_preset("miyawaki-study", **NEW, there=there)
    assert rest == {"preset": "miyawaki-study"}


def test_a_preset_keeps_its_rows_and_its_data():
    with pytest.raises(InputError, match="has a row 'ridge' of its own"):
        with_preset("miyawaki-study", **NEW | {"methods": {"ridge": {"method": "noise"}}})
    with pytest.raises(InputError, match="is of miyawaki or arrays data, not nsd"):
        with_preset("miyawaki-study", **NEW | {"data": "nsd:x"})
