"""Where a name from data, a plan, a protocol, an index or a record becomes a path, it stays in its folder or is refused."""

import json
import os
import shutil

import numpy as np
import pytest

from brainrecon.datasets.arrays.writing import write
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.runs.layout import Layout
from brainrecon.studies.plan import Plan
from stages.checkpoints.strict_loading import INDEX_FILE, shard_files
from stages.ground.errors import InputError
from weights.manifest import CheckpointError
from weights.seals import SEAL, broken

HOSTILE = [
    *(
        "..",
        "../escaped",
        "../../../escaped",
        "a/../../escaped",
        "/tmp/escaped",
        "a/b",
        "a\\..\\escaped",
        "\\\\host\\share\\a",
    ),
    *(
        "C:escaped",
        "con",
        "NUL.txt",
        "aux ",
        "a.",
        " a",
        "a\0b",
        "a\nb",
        "\u202ea",
        "..\u2215escaped",
        "\uff0e\uff0e",
        "x" * 300,
    ),
]


def _subject(name="subj01", split="test", roi="V1", ids=("a", "b")):
    def part(prefix):
        names = [f"{prefix}{one}" for one in ids]
        return Split(
            np.ones((2, 3), np.float32), names, images=np.random.default_rng(0).integers(0, 9, (2, 4, 4, 3), np.uint8)
        )

    rois = {roi: np.array([True, True, False])}
    return Subject(name, "arrays", "", {"train": part("t"), split: part("")}, "all", rois=rois)


@pytest.mark.parametrize("name", HOSTILE)
def test_subjects_and_splits_are_refused(name):
    for options in ({"name": name}, {"split": name}):
        with pytest.raises(InputError, match="which cannot name a folder"):
            _subject(**options)


@pytest.mark.parametrize("name", HOSTILE)
def test_regions_and_stimuli_are_written_within_their_folder_or_refused(tmp_path, name):
    (tmp_path / "a/b/c").mkdir(parents=True)
    for options in ({"roi": name}, {"ids": (name, "b")}):
        try:
            write(_subject(**options), tmp_path / "a/b/c/out")
        except (InputError, ValueError):
            pass
        beside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "a/b/c/out")]
        assert sorted(path.name for path in beside) == ["a", "b", "c"]
        shutil.rmtree(tmp_path / "a/b/c/out", ignore_errors=True)


@pytest.mark.parametrize("name", HOSTILE)
def test_outputs_of_a_run_are_parts_of_its_folders(tmp_path, name):
    layout = Layout(tmp_path)
    for place in (layout.output, lambda *about: layout.on_the_way("stage_one", *about[1:])):
        try:
            path = place("reconstruction", "picture", name)
        except ValueError:
            continue
        assert path.parent.parent == tmp_path and os.path.normpath(path) == str(path) and "\0" not in str(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_protocols_methods_and_subjects_of_a_benchmark_are_refused(name):
    with pytest.raises(InputError, match="A protocol is named"):
        Protocol(load_protocol("brainrecon-1").content | {"name": name})
    methods = {"mean-image": {"method": "mean-image"}}
    assert Plan("arrays:a", methods, ["subj01"], ["brainrecon-1"])
    with pytest.raises(InputError, match="folder"):
        Plan("arrays:a", {name: {"method": "mean-image"}}, ["subj01"], ["brainrecon-1"])
    with pytest.raises(InputError, match="cannot name a folder of a benchmark of arrays:a"):
        Plan("arrays:a", methods, ["subj01", name], ["brainrecon-1"])


@pytest.mark.parametrize("name", HOSTILE)
def test_parts_of_a_checkpoint_lie_beside_their_index(tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / INDEX_FILE).write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(CheckpointError, match="expected a file beside it"):
        shard_files(tmp_path / "model" / INDEX_FILE)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_seal_names_nothing_outside(tmp_path, name):
    (tmp_path / "sealed").mkdir()
    (tmp_path / "escaped").write_text("")
    (tmp_path / "sealed" / SEAL).write_text(json.dumps({name: "0" * 64}))
    assert f"{SEAL} names" in broken(tmp_path / "sealed") or name == "a/b"
