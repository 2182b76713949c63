"""The folder of a simulation: what counts as the same one, and what is left of one that failed."""

import json

import pytest

from brainrecon.simulation.files.report import SimulationReport, SubjectReport
from brainrecon.simulation.files.simulation_folder import simulate_once
from stages.ground.errors import InputError

OPTIONS = {"seed": 4, "voxels": 300}
REPORT = SubjectReport("subj01", 300, 20, 10, 51.0, 49.0)


def write(folder):
    (folder / "data").write_text("betas")
    return (REPORT,)


def refuse(folder):
    raise AssertionError("nothing is to be simulated")


def test_the_same_options_are_simulated_once(tmp_path):
    made = simulate_once(tmp_path / "nsd", OPTIONS, write)
    assert made == SimulationReport(tmp_path / "nsd", OPTIONS, (REPORT,), created=True)
    found = simulate_once(tmp_path / "nsd", OPTIONS, refuse)
    assert found == SimulationReport(tmp_path / "nsd", OPTIONS, (REPORT,), created=False)
    assert json.loads((made.directory / "simulated.json").read_text())["options"] == OPTIONS
    assert [path.name for path in tmp_path.iterdir()] == ["nsd"]


@pytest.mark.parametrize("first, second", [({}, {"study": "miyawaki"}), ({"study": "miyawaki"}, {})])
def test_another_study_is_not_taken_for_this_one(tmp_path, first, second):
    """Both with options that are otherwise the same, or not even that: the study is what differs."""
    simulate_once(tmp_path / "s1", OPTIONS | first, write)
    names = [options.get("study", "nsd") for options in (first, second)]
    for changes in ({}, {"voxels": 400}, {"noise": 1.0}):
        with pytest.raises(InputError, match=f"simulation of study {names[0]}, not {names[1]}; give another folder"):
            simulate_once(tmp_path / "s1", OPTIONS | second | changes, refuse)


@pytest.mark.parametrize("first, second", [("photographs", None), (None, "photographs")])
def test_an_option_that_only_one_of_two_simulations_has_tells_them_apart(tmp_path, first, second):
    simulate_once(tmp_path / "nsd", OPTIONS | ({first: "1a2b"} if first else {}), write)
    with pytest.raises(InputError, match="holds a simulation with photographs"):
        simulate_once(tmp_path / "nsd", OPTIONS | ({second: "1a2b"} if second else {}), refuse)


@pytest.mark.parametrize("content", ["{", "[]", '{"options": [1], "version": 5, "subjects": []}'])
def test_a_damaged_marker_is_one_sentence(tmp_path, content):
    (tmp_path / "simulated.json").write_text(content)
    with pytest.raises(InputError, match="simulated.json is damaged") as error:
        simulate_once(tmp_path, OPTIONS, refuse)
    assert "\n" not in str(error.value)


def test_an_empty_folder_is_taken_and_a_failure_leaves_it(tmp_path):
    def fail(folder):
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_once(tmp_path / "nsd", OPTIONS, fail)
    assert not list(tmp_path.iterdir())
    (tmp_path / "nsd").mkdir()
    simulate_once(tmp_path / "nsd", OPTIONS, write)
    assert {path.name for path in (tmp_path / "nsd").iterdir()} == {"data", "simulated.json"}
