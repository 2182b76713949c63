"""Values that are channels at times: their regions, tables of maps, and the folder of arrays that keeps them."""

import json

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.writing import write
from brainrecon.datasets.spaces.sensors import SENSORS, Sensors
from brainrecon.datasets.spaces.space import Space
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.datasets.subject_html import subject_html
from stages.ground.errors import InputError

CHANNELS = ("Fp1", "FCz", "T7", "TP8", "CP3", "P10", "POz", "Oz", "EOG")


def sensors():
    return Sensors.of_grid(CHANNELS, np.arange(-2, 6) * 0.05)


def cells(table):
    return [line.split("\t") for line in table.splitlines()]


def test_it_is_a_space():
    assert isinstance(sensors(), Space) and len(sensors()) == 72 and len(sensors().columns([3, 5])) == 2


def test_regions_go_by_names_and_times():
    found = sensors().regions()
    named = {name: sorted(set(sensors().channel_of[mask])) for name, mask in found.items()}
    for group, members in {
        "frontal": ["Fp1"],
        "central": ["FCz"],
        "temporal": ["T7", "TP8"],
        "parietal": ["CP3", "P10"],
        "occipital": ["Oz", "POz"],
    }.items():
        assert named[group] == members and found[group].sum() == 8 * len(members)
    times = {name: sorted(set(sensors().time_of[mask].tolist())) for name, mask in found.items()}
    assert times["baseline"] == [-0.1, -0.05] and times["0-100ms"] == [0, 0.05] and times["200-300ms"] == [0.2, 0.25]
    assert [name for name in found if name not in CHANNELS][5:] == ["baseline", "0-100ms", "100-200ms", "200-300ms"]
    assert set(sensors().regions(with_channels=False)) == {"baseline", "0-100ms", "100-200ms", "200-300ms"}
    assert not Sensors.of_grid(["a"], [0.0]).columns([]).regions()


@pytest.mark.parametrize("step", [0.01, 0.004, 1 / 512, 0.001])
def test_times_that_are_sums_fall_where_they_should(step):
    """As MNE has them: each 100 ms holds as many samples as it lasts, whatever the last bit of a sum is."""
    times = np.cumsum(np.full(int(0.3 / step), step)) - step
    regions = Sensors.of_grid(["Oz"], times).regions()
    assert regions["0-100ms"].sum() == np.ceil(0.1 / step - 1e-9)
    assert sum(mask.sum() for name, mask in regions.items() if name.endswith("ms")) == len(times)


def test_a_map_is_a_table_of_channels_and_times():
    draw = np.random.default_rng(0)
    values = draw.normal(size=72).astype(np.float32)
    (ending, (part, content)) = next(iter(sensors().files(values).items()))
    rows = cells(content.decode())
    assert (ending, part) == (".tsv", "") and rows[0] == [
        "channel",
        "-0.1",
        "-0.05",
        "0.0",
        "0.05",
        "0.1",
        "0.15",
        "0.2",
        "0.25",
    ]
    assert [row[0] for row in rows[1:]] == list(CHANNELS)
    np.testing.assert_allclose(np.array([row[1:] for row in rows[1:]], float).reshape(-1), values, rtol=1e-6)


def test_several_maps_are_below_each_other_and_what_is_absent_is_marked():
    chosen = [63, 1, 56]
    rows = cells(sensors().columns(chosen).to_table([[1, 2, 3], [4, 5, np.nan]]))
    assert rows == [
        ["map", "channel", "-0.1", "-0.05", "0.25"],
        ["1", "Fp1", "n/a", "2", "n/a"],
        ["1", "Oz", "3", "n/a", "1"],
        ["2", "Fp1", "n/a", "5", "n/a"],
        ["2", "Oz", "nan", "n/a", "4"],
    ]
    with pytest.raises(InputError, match=r"shape \(4,\) but there are 72 values"):
        sensors().to_table(np.zeros(4))


def subject(space):
    betas = np.random.default_rng(1).normal(size=(6, len(space))).astype(np.float32)
    splits = {"train": Split(betas[:4], list("abcd")), "test": Split(betas[4:], ["e", "e"])}
    return Subject("subj01", "eeg", "arrays:memory", splits, roi="all", rois=space.regions(), space=space)


def test_values_are_called_by_what_they_are():
    assert "72 values (all)" in subject_html(subject(sensors())) and subject(sensors()).unit == "values"


def test_a_folder_keeps_them(tmp_path):
    space = sensors().columns(np.random.default_rng(2).permutation(72)[:30])
    write(subject(space), tmp_path / "kept")
    found = load(f"arrays:{tmp_path / 'kept'}", roi="all")
    assert found.space.channels == CHANNELS and found.space.times.tolist() == space.times.tolist()
    np.testing.assert_array_equal(found.space.indices, space.indices)
    part = load(f"arrays:{tmp_path / 'kept'}", roi="Oz | 0-100ms")
    assert (
        part.space.channel_of.tolist() == space.channel_of[space.regions()["Oz"] | space.regions()["0-100ms"]].tolist()
    )


def facts(**changed):
    def spoil(folder):
        found = json.loads((folder / "subject.json").read_text())
        found["sensors"] |= changed
        (folder / "subject.json").write_text(json.dumps(found))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / SENSORS).unlink(), "sensor_indices.npy is missing"),
        (
            lambda folder: np.save(folder / SENSORS, np.zeros((72, 3), int)),
            r"is int64 \(72, 3\); expected whole numbers \(72, 2\)",
        ),
        (lambda folder: np.save(folder / SENSORS, np.zeros((72, 2))), "is float64"),
        (lambda folder: np.save(folder / SENSORS, np.zeros((71, 2), int)), r"is int64 \(71, 2\)"),
        (
            lambda folder: np.save(folder / SENSORS, np.full((72, 2), -1)),
            "places that 9 channels and 8 times do not have",
        ),
        (
            lambda folder: np.save(folder / SENSORS, np.full((72, 2), 8)),
            "places that 9 channels and 8 times do not have",
        ),
        (facts(channels="Oz"), "as sensors; expected channels, a list of names"),
        (facts(channels=[1, 2]), "as sensors; expected channels"),
        (facts(times=[0, None]), "as sensors; expected channels"),
        (facts(times=[[0.0]]), "as sensors; expected channels"),
        (facts(times=[0.0, float("nan")]), "as sensors; expected channels"),
        (facts(times="soon"), "as sensors; expected channels"),
        (
            lambda folder: np.save(folder / "voxel_indices.npy", np.zeros((72, 3), int)),
            "says twice where its values are",
        ),
    ],
)
def test_damage_is_one_sentence(tmp_path, spoil, said):
    write(subject(sensors()), tmp_path / "kept")
    spoil(tmp_path / "kept")
    with pytest.raises(InputError, match=said) as caught:
        load(f"arrays:{tmp_path / 'kept'}")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
