"""Published values: the file is sound, says where each value comes from, and fits the protocols it names."""

import tomllib

import numpy as np
import pytest

from brainrecon.evaluation.protocols.protocol import available, load_protocol
from brainrecon.evaluation.protocols.task_specs import DIRECTIONS, RetrievalSpec
from brainrecon.evaluation.scores import published
from brainrecon.evaluation.scores.published import COMPUTED, READ, published_values, read_published
from brainrecon.evaluation.tasks.retrieval import score_retrieval
from stages.ground.errors import InputError

PROTOCOLS = (
    "brain-diffuser-2023",
    "brain-diffuser-2023-columns",
    "takagi-2023",
    "mindeye-2023",
    "mindeye-2023-pools",
    "mindeye2-2024",
    "mindvis-2023",
    "brainhub-2024",
    "dbdm-2023",
    "ferrante-2022",
)
GOOD = """
[[row]]
protocol = "brain-diffuser-2023"
method = "One"
values = { clip = 0.9, swav = 0.4 }
subjects = ["subj01"]
n_stimuli = 982
computed = "protocol"
read = "secondary"
from_memory = ["swav"]
source = "Somebody 2023"
"""


def row(protocol, method):
    (found,) = [one for one in published_values(protocol) if one.method == method]
    return found


def test_every_row_is_under_a_protocol_of_the_toolkit():
    tables = tomllib.loads(published._FILE.read_text(encoding="utf-8"))["row"]
    named = [table["protocol"] if isinstance(table["protocol"], list) else [table["protocol"]] for table in tables]
    assert {name for names in named for name in names} == set(PROTOCOLS)
    assert sum(len(published_values(name)) for name in PROTOCOLS) == sum(map(len, named))
    assert published_values("brainrecon-1") == [] and published_values("no such") == []


def test_no_value_of_a_row_is_under_a_name_that_none_of_its_protocols_has():
    for table in tomllib.loads(published._FILE.read_text(encoding="utf-8"))["row"]:
        names = table["protocol"] if isinstance(table["protocol"], list) else [table["protocol"]]
        known = set()
        for protocol in map(load_protocol, names):
            known |= {*protocol.columns, *protocol.embeddings, *protocol.retrieval}
        assert set(table["values"]) <= known, table["method"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_metrics_test_sets_and_bounds_are_those_of_the_protocol(name):
    assert name in available()
    protocol = load_protocol(name)
    for one in published_values(name):
        assert (one.dataset, one.n_stimuli) == (protocol.test_set.dataset, protocol.test_set.n_stimuli)
        assert set(one.values) <= {*protocol.columns, *protocol.embeddings, *protocol.retrieval}, one.method
        assert one.verified.keys() == one.values.keys()
        assert set(one.verified.values()) <= READ.keys() and one.computed in COMPUTED
        for metric, value in one.values.items():
            low, high = protocol.columns[metric].metric.bounds if metric in protocol.columns else (0, 1)
            assert low <= value <= high, (one.method, metric)


def test_brain_diffuser_stands_under_its_own_protocol_and_is_marked_in_the_later_table():
    own = row("brain-diffuser-2023-columns", "Brain-Diffuser")
    assert own.values == {
        "pixcorr": 0.254,
        "ssim_columns": 0.356,
        "alexnet2": 0.942,
        "alexnet5": 0.962,
        "inception": 0.872,
        "clip": 0.915,
        "efficientnet_b1_v1": 0.775,
        "swav": 0.423,
    }
    assert own.computed == "protocol" and own.from_memory == ["inception", "clip", "efficientnet_b1_v1", "swav"]
    # The published SSIM is not that of windows in two dimensions; everything else is.
    other = row("brain-diffuser-2023", "Brain-Diffuser")
    assert other.values == {name: value for name, value in own.values.items() if name != "ssim_columns"}
    assert other.verified.keys() == other.values.keys() and other.from_memory == own.from_memory
    for one in published_values("brain-diffuser-2023"):
        assert "ssim" not in one.values
    assert row("mindeye-2023", "Brain-Diffuser").computed == "other code"
    assert "SSIM may be that of columns" in row("mindeye-2023", "Brain-Diffuser").note
    assert "efficientnet_b1_v1" not in row("mindeye-2023", "Brain-Diffuser").values


def test_what_was_remembered_is_marked():
    assert set(row("takagi-2023", "Takagi and Nishimoto").verified.values()) == {"memory"}
    assert row("mindeye2-2024", "MindEye2").from_memory == ["image_retrieval", "brain_retrieval"]
    assert row("mindeye-2023", "MindEye, subj01").from_memory == []
    assert set(row("mindeye-2023", "MindEye, subj01").verified.values()) == {"repository"}


def test_pictures_that_were_blended_before_scoring_say_so():
    for method in ("MindEye2", "MindEye2, 1 hour", "MindEye2, subj01"):
        assert "blends" in row("mindeye2-2024", method).note


def test_pictures_that_were_chosen_by_the_shown_one_say_so():
    assert "Of eight drawings" in row("mindeye-2023", "MindBridge").note


def test_recorded_retrieval_of_the_subjects_averages_to_the_published_mean():
    whole = row("mindeye-2023", "MindEye")
    for metric in ("image_retrieval", "brain_retrieval"):
        recorded = [row("mindeye-2023", f"MindEye, retrieval, {subject}").values[metric] for subject in whole.subjects]
        assert np.mean(recorded) == pytest.approx(whole.values[metric], abs=0.0015)


def batchwise_cosine_similarity(given, other):
    """The formula of MindEye's and MindEye2's code: the product of all with all, transposed before it is returned."""
    other = other.T
    norms = np.linalg.norm(given, axis=1, keepdims=True) @ np.linalg.norm(other, axis=0, keepdims=True)
    return ((given @ other) / norms).T


def topk(similarities, labels, k):
    """The share of rows with their own column among the best k, as that code counts."""
    return sum(np.mean(np.argsort(similarities, axis=1)[:, -(place + 1)] == labels) for place in range(k))


@pytest.mark.parametrize("k", [1, 5])
def test_the_published_code_calls_forward_what_is_brain_retrieval(k):
    random = np.random.default_rng(0)
    pictures = random.normal(size=(60, 30))
    # Some predictions resemble every picture: a picture finds them often, and they find their picture no worse.
    predictions = pictures + random.normal(size=(60, 30)) * random.uniform(0.5, 4, (60, 1)) + 2 * random.normal(size=30)
    forward = topk(batchwise_cosine_similarity(predictions, pictures), np.arange(60), k)
    backward = topk(batchwise_cosine_similarity(pictures, predictions), np.arange(60), k)
    specs = {
        direction: RetrievalSpec(direction, "clip_image", direction, pool=None, repeats=1, top_k=k)
        for direction in DIRECTIONS
    }
    ids = [str(row) for row in range(60)]
    found = score_retrieval(specs, {"clip_image": pictures}, {"clip_image": predictions}, ids, n_resamples=2000)
    assert found.row("picture_to_brain").mean == pytest.approx(forward, abs=1e-12)
    assert found.row("brain_to_picture").mean == pytest.approx(backward, abs=1e-12)
    assert abs(forward - backward) > 0.05
    # In the script's comments: forward 0.9718, backward 0.9468.
    first = row("mindeye-2023", "MindEye, retrieval, subj01")
    assert first.values == {"image_retrieval": 0.9468, "brain_retrieval": 0.9718}
    directions = {name: spec.direction for name, spec in load_protocol("mindeye-2023-pools").retrieval.items()}
    assert (directions["image_retrieval"], directions["brain_retrieval"]) == ("brain_to_picture", "picture_to_brain")


def test_a_row_may_stand_under_several_protocols(tmp_path):
    path = tmp_path / "rows.toml"
    path.write_text(GOOD.replace('"brain-diffuser-2023"', '["brain-diffuser-2023", "mindeye-2023"]'))
    first, second = read_published(path)
    assert (first.protocol, second.protocol) == (
        "brain-diffuser-2023",
        "mindeye-2023",
    ) and first.values == second.values


def test_reads_a_row(tmp_path):
    path = tmp_path / "rows.toml"
    path.write_text(GOOD)
    (one,) = read_published(path)
    assert (one.method, one.values, one.subjects, one.n_stimuli) == (
        "One",
        {"clip": 0.9, "swav": 0.4},
        ("subj01",),
        982,
    )
    assert one.verified == {"clip": "secondary", "swav": "memory"} and one.note == "" and one.dataset == "nsd"
    path.write_text(GOOD + 'dataset = "god"\n')
    assert read_published(path)[0].dataset == "god"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clip = 0.9,", "clip = 91.5,", "divided by 100"),
        ("clip = 0.9,", "clip = nan,", "-1..2"),
        ("clip = 0.9,", "clip = true,", "-1..2"),
        ("{ clip = 0.9, swav = 0.4 }", "{}", "no values"),
        ('read = "secondary"', 'read = "hearsay"', "hearsay"),
        ('computed = "protocol"', 'computed = "somehow"', "somehow"),
        ('["swav"]', '["ssim"]', "ssim"),
        ("n_stimuli = 982", "n_stimuli = 0", "above 0"),
        ('subjects = ["subj01"]', "subjects = []", "list of names"),
        ('source = "Somebody 2023"', 'sauce = "Somebody 2023"', "sauce"),
        ('method = "One"', 'method = " "', "expected a text"),
        ('method = "One"', 'method = "One"\ndataset = 3', "dataset = 3; expected a text"),
        ("[[row]]", "[row]", "tables"),
        ("[[row]]", "[[row", "TOML"),
        (GOOD, GOOD + GOOD, "twice"),
        (GOOD, "", "tables"),
    ],
)
def test_refuses_what_is_no_published_row(tmp_path, old, new, said):
    path = tmp_path / "rows.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=said):
        read_published(path)


def test_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_published(tmp_path / "none.toml")
