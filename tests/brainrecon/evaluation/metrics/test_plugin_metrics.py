"""Metrics of other packages: found by name, named by a protocol, and a broken one told in one sentence."""

import sys

import numpy as np
import pytest

from brainrecon.evaluation import evaluate, find_metric, load_protocol, metric_names
from brainrecon.evaluation.scores.scores import Scores
from stages.ground.errors import InputError

MODULE = """
import numpy as np
from brainrecon.evaluation import Metric

def difference(reference, predicted):
    return np.abs(reference - predicted).mean(axis=(1, 2, 3)).astype(np.float64)

def words_in_common(references, candidates):
    shared = [len(set(" ".join(own).split()) & set(text.split())) for own, text in zip(references, candidates)]
    return np.array(shared, dtype=np.float64)

difference = Metric(difference, "pixels", False, (0.0, 1.0), None)
words = Metric(words_in_common, "captions", True, (0.0, np.inf), None)
number = 7
"""
ENTRIES = {
    "their-difference": "their_package:difference",
    "their-words": "their_package:words",
    "their-number": "their_package:number",
    "their-hole": "their_package:absent",
    "their-crash": "their_broken_package:metric",
}


def install(folder, package, entries):
    """Write what an installed package looks like."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in entries.items()]
    (info / "entry_points.txt").write_text("[brainrecon.metrics]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    install(folder, "their-package", ENTRIES)
    (folder / "their_package.py").write_text(MODULE)
    (folder / "their_broken_package.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in ("their_package", "their_broken_package"):
        sys.modules.pop(name, None)


def test_a_metric_of_another_package_is_found_by_its_name(installed):
    assert set(ENTRIES) <= set(metric_names())
    metric = find_metric("their-difference")
    assert metric.bounds == (0.0, 1.0) and not metric.higher_is_better
    assert "their_broken_package" not in sys.modules  # nobody asked for it


def test_a_protocol_file_names_it_and_its_scores_are_read_again(installed, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[resize]\nsize = 8\ninterpolation = "nearest"\nantialias = false\n'
        '[[metrics]]\nname = "difference"\nmeasure = "their-difference"\nlabel = "Difference"\n'
        '[captions.words]\nmeasure = "their-words"\n'
    )
    shown = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    ids = [f"s{row}" for row in range(5)]
    scores = evaluate(
        shown,
        {"reconstruction": shown, "stage_one": 255 - shown},
        stimulus_ids=ids,
        captions=[["a dog", "a cat"]] * 5,
        predicted_captions={"reconstruction": dict.fromkeys(ids, "a red dog")},
        protocol=path,
        n_resamples=2000,
    )
    assert scores.mean("reconstruction", "difference").mean == 0 < scores.mean("stage_one", "difference").mean
    assert scores.mean("reconstruction", "words").mean == scores.corpus["reconstruction"]["words"] == 2
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json") == scores
    path.write_text(path.read_text() + 'tokenisation = "ptb"\n')
    with pytest.raises(InputError, match="tokenisation, which their-words does not read"):
        load_protocol(path)


def test_the_toolkits_own_metric_comes_first(installed):
    install(installed, "their-other-package", {"pixel_correlation": "their_package:difference"})
    assert find_metric("pixel_correlation").higher_is_better and metric_names().count("pixel_correlation") == 1


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "their-crash",
            "'their-crash' of the package their-package cannot be loaded.*no_such_library.*install that package",
        ),
        ("their-hole", "cannot be loaded from their_package:absent.*AttributeError"),
        ("their-number", "is 7; expected a brainrecon Metric.*Change their_package:number there"),
        ("nobodys", "no metric 'nobodys'; expected one of pixel_correlation.*their-words.*install the package"),
        (7, "no metric 7"),
    ],
)
def test_a_broken_package_is_told_in_one_sentence(installed, name, words):
    with pytest.raises(InputError, match=words) as caught:
        find_metric(name)
    assert "\n" not in str(caught.value)


def test_two_packages_with_one_name_are_told(installed):
    install(installed, "their-other-package", {"their-words": "elsewhere:words"})
    with pytest.raises(
        InputError, match="'their-words' is brought by elsewhere:words of their-other-package and their_package"
    ):
        find_metric("their-words")
