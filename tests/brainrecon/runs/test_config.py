"""The configuration: strict names, strict types, a round trip through TOML."""

import re

import pytest

from brainrecon import __version__
from brainrecon.assembly.settings import differences
from brainrecon.runs.config import RunConfig, assign, read_toml, typed_value
from brainrecon.runs.run import Run
from stages.ground.errors import InputError

BASE = {"method": "brain-diffuser", "data": {"source": "nsd:/somewhere", "subject": "subj01"}}


def test_round_trip_spells_out_every_default(tmp_path):
    config = RunConfig.from_dict(BASE | {"decoder": {"alpha": 5e4}, "seed": 3})
    config.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml") == config
    written = read_toml(tmp_path / "config.toml")
    assert written["settings"]["decoder"]["alpha"] == 5e4
    assert (
        written["settings"]["generator"]["strength"] == 0.75 and written["settings"]["generator"]["image_weight"] == 0.6
    )
    assert written["settings"]["checkpoints"]["vdvae"] == "vdvae-imagenet64"


def test_relative_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = RunConfig.from_dict({"method": "brain-diffuser", "data": {"source": "nsd:cohort"}})
    assert config.data.source == f"nsd:{tmp_path / 'cohort'}"


@pytest.mark.parametrize(
    "values, message",
    [
        ({"generator": {"strenght": 0.5}}, "did you mean 'generator.strength'"),
        ({"generator": {"strength": "high"}}, "'generator.strength' is 'high'"),
        ({"generator": {"num_inference_steps": 2.5}}, "expected int"),
        ({"generator": {"strength": True}}, "expected float"),
        ({"decoder": {"alpha": ["x"]}}, r"decoder.alpha"),
        ({"decoder": 3}, "expected a table"),
        ({"nonsense": 1}, "no setting 'nonsense'"),
        ({"samples": 0}, "expected 1 or more"),
        ({"method": "mind-reader"}, "expected one of .*brain-diffuser"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(InputError, match=message):
        RunConfig.from_dict(BASE | values)


def test_a_run_of_another_version_says_which(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('later = 1\nmethod = "mean-image"\n[data]\nsource = "nsd:a"\n[settings]\nseed = 1\n')
    (tmp_path / "environment.json").write_text('{"packages": {"brainrecon": "99.0"}}')
    with pytest.raises(InputError, match=rf"'later' stands .* brainrecon 99\.0 and this is {re.escape(__version__)}\."):
        RunConfig.read(path)
    for text in ("[]", '{"packages": {"brainrecon": "' + __version__ + '"}}'):
        (tmp_path / "environment.json").write_text(text)
        with pytest.raises(InputError, match=r"or leave it out\.$"):
            RunConfig.read(path)


def test_settings_of_the_method_are_a_table_of_their_own_and_older_files_are_read(tmp_path):
    older, newer = BASE | {"generator": {"strength": 0.5}}, BASE | {"settings": {"generator": {"strength": 0.5}}}
    assert RunConfig.from_dict(older) == RunConfig.from_dict(newer) != RunConfig.from_dict(BASE)
    assert set(RunConfig.from_dict(older).to_dict()) == {"method", "seed", "samples", "data", "settings"}
    with pytest.raises(InputError, match="'text_context' stands beside the table settings"):
        RunConfig.from_dict(newer | {"text_context": False})
    with pytest.raises(InputError, match="settings is 3; expected a table"):
        RunConfig.from_dict(BASE | {"settings": 3})
    with pytest.raises(InputError, match="data.roi"):
        RunConfig.from_dict(BASE | {"roi": "V1"})


@pytest.mark.parametrize(
    "assignment, expected",
    [
        ("decoder.alpha=5e4", {"decoder": {"alpha": 5e4}}),
        ("decoder.alpha=[1.0, 2.0]", {"decoder": {"alpha": [1.0, 2.0]}}),
        ("decoder.rescale=none", {"decoder": {"rescale": "none"}}),
        ("text_context=false", {"text_context": False}),
        ("text_context=False", {"text_context": False}),
        ("decoder.top_voxels=None", {"decoder": {"top_voxels": None}}),
        ("generator.strength=.5", {"generator": {"strength": 0.5}}),
        ("fold=(0, 10)", {"fold": [0, 10]}),
        ("betas=b2", {"betas": "b2"}),
        ("subject=01", {"subject": "01"}),
        ("roi={'a': 1}", {"roi": "{'a': 1}"}),
        ("when=1-2j", {"when": "1-2j"}),
        ("text=" + "(" * 5000, {"text": "(" * 5000}),
    ],
)
def test_assignments(assignment, expected):
    values = {}
    assign(values, assignment)
    assert values == expected


def test_folds_and_a_split_are_not_both_followed():
    with pytest.raises(InputError, match=r"Both folds \(10\) and split \('category:dog'\) are given; leave one out"):
        RunConfig.from_dict(BASE | {"data": {"source": "nsd:/data/nsd", "folds": 10, "split": "category:dog"}})


def test_a_name_of_digits_is_a_name():
    data = {"source": "nsd:/data/nsd", "subject": 1}
    assert RunConfig.from_dict(BASE | {"data": data}).data.subject == "1"
    with pytest.raises(InputError, match="'data.subject' is True"):
        RunConfig.from_dict(BASE | {"data": data | {"subject": True}})


@pytest.mark.parametrize("value", [True, False, 0, -3, 0.5, 1e-9, "anova", "a b", [1, 2.5], [True], None])
def test_what_messages_print_can_be_typed(value):
    """Messages print values as Python does and say what to type so; to type it back gives the value itself."""
    assert typed_value(repr(value)) == value and type(typed_value(repr(value))) is type(value)


@pytest.mark.parametrize("assignment", ["decoder.alpha", "=3", "seed.deep=1"])
def test_assignments_that_cannot_be(assignment):
    with pytest.raises(InputError, match="--set"):
        assign({"seed": 1}, assignment)


def test_differences_name_both_values():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == [("a.c", 2, 3), ("d", None, 4)]


def test_toml_errors_are_sentences(tmp_path):
    (tmp_path / "bad.toml").write_text("seed = \n")
    with pytest.raises(InputError, match="bad.toml cannot be read as TOML"):
        read_toml(tmp_path / "bad.toml")
    with pytest.raises(InputError, match="no configuration file"):
        read_toml(tmp_path / "absent.toml")


def test_a_mask_has_its_whole_path_as_data_have(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"source": "arrays:mine", "options": {"mask": "mine.npy", "sessions": [1, 2], "shift": 2}}
    read = RunConfig.from_dict({"method": "mean-image", "data": data})
    assert read.data.options == {"mask": str(tmp_path / "mine.npy"), "sessions": [1, 2], "shift": 2}
    assert type(read.data.options["shift"]) is int and read.data.source == f"arrays:{tmp_path / 'mine'}"
    read.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml") == read


def test_data_of_a_kind_that_is_none_are_told_with_the_file(tmp_path):
    (tmp_path / "config.toml").write_text('method = "mean-image"\n[data]\nsource = "Nsd:/data"\n')
    with pytest.raises(
        InputError, match=rf"{re.escape(str(tmp_path))}/config.toml cannot be used: .*no kind of data 'Nsd'"
    ):
        RunConfig.read(tmp_path / "config.toml")


def test_a_run_is_made_of_a_dictionary_as_of_its_configuration(cohort, tmp_path):
    values = {"method": "brain-diffuser", "data": {"source": f"nsd:{cohort}"}}
    config = RunConfig.from_dict(values, weights="tiny")
    assert config.settings.checkpoints.generator == "tiny-generator"
    one, other = (
        Run.create(tmp_path / name, asked, tmp_path / "features", **more)
        for name, asked, more in (("a", config, {}), ("b", values, {"weights": "tiny"}))
    )
    assert one.config == other.config
    assert values == {"method": "brain-diffuser", "data": {"source": f"nsd:{cohort}"}}
    with pytest.raises(InputError, match="weights are 'tiny' but the configuration is complete"):
        Run.create(tmp_path / "c", config, tmp_path / "features", weights="tiny")
