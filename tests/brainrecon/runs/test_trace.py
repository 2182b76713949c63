"""How one picture came about: each value beside the truth, as numbers that are counted again here."""

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from brainrecon.runs.trace import trace
from brainrecon.runs.values import RunValues
from stages.ground.errors import InputError
from stages.ground.media import PICTURE


@pytest.fixture(scope="module")
def drawn(fitted, features, tmp_path_factory):
    """A run with the pictures of two stimuli, also under the mean response and without a first picture."""
    import shutil

    folder = shutil.copytree(fitted, tmp_path_factory.mktemp("traced") / "run")
    names = ",".join(map(str, Run(folder).subject.test.stimulus_ids[:2]))
    line = ["reconstruct", str(folder), "--features", str(features), "--stimuli", names]
    assert run_command([*line, "--controls", "mean_response,without_stage_one,nearest_training_picture"]) == 0
    return Run(folder, features)


def facts(traced):
    return {value.name: value.facts for value in traced.values}


def test_every_value_of_the_chain_is_told_in_its_order(drawn):
    name = str(drawn.subject.test.stimulus_ids[0])
    traced = trace(drawn, name)
    assert [value.name for value in traced.values] == [
        *("patterns", "vdvae", "clip_image", "clip_text", "first_picture", "picture")
    ]
    assert traced.simulated and traced.method == "brain-diffuser"
    np.testing.assert_array_equal(traced.values[-1].picture, PICTURE.read(drawn.image_path("reconstruction", name)))
    np.testing.assert_array_equal(traced.values[-2].picture, PICTURE.read(drawn.image_path("stage_one", name)))


def test_correlations_with_the_truth_are_those_of_numpy(drawn):
    name, values = str(drawn.subject.test.stimulus_ids[1]), RunValues(drawn)
    told = facts(trace(drawn, name))
    for target in values.chain.targets:
        predicted = values.value("reconstruction", target, name)
        truths = np.asarray(values.true_features((target,), "test")[target])
        likeness = np.array([np.corrcoef(predicted, truth)[0, 1] for truth in truths])
        row = values.row[name]
        assert told[target]["correlation with the truth"] == pytest.approx(likeness[row], abs=1e-5)
        others = np.delete(likeness, row)
        assert told[target]["with other stimuli's truth, mean"] == pytest.approx(others.mean(), abs=1e-5)
        assert told[target]["others that it is less like (%)"] == pytest.approx(100 * (others < likeness[row]).mean())


def test_conditions_are_traced_and_what_they_take_away_is_told(drawn):
    name = str(drawn.subject.test.stimulus_ids[0])
    own = facts(trace(drawn, name))
    without = facts(trace(drawn, name, "without_stage_one"))
    assert without["first_picture"] == {"absent": "taken away by without_stage_one"}
    assert own["picture"]["strength"] == 0.75 and without["picture"]["strength"] == 1.0
    mean = facts(trace(drawn, name, "mean_response"))
    assert (
        mean["patterns"]["spread beside a training pattern's"]
        < 1e-3
        < own["patterns"]["spread beside a training pattern's"]
    )
    with pytest.raises(InputError, match="takes the place of the whole chain"):
        trace(drawn, name, "nearest_training_picture")


def test_what_cannot_be_traced_is_told(drawn):
    first, third = (str(drawn.subject.test.stimulus_ids[row]) for row in (0, 2))
    with pytest.raises(InputError, match="'nobody' is not among the test stimuli"):
        trace(drawn, "nobody")
    with pytest.raises(InputError, match=f"brainrecon reconstruct .* --stimuli {third}"):
        trace(drawn, third)
    with pytest.raises(InputError, match="not drawn under binarised"):
        trace(drawn, first, "binarised")
    with pytest.raises(InputError, match="--controls oracle_embeddings"):
        trace(drawn, first, "oracle_embeddings")


def test_the_command_prints_it_and_writes_a_page_without_anything_to_fetch(drawn, features, capsys):
    name = str(drawn.subject.test.stimulus_ids[0])
    capsys.readouterr()
    assert run_command(["trace", str(drawn.folder), name, "--features", str(features)]) == 0
    text = capsys.readouterr().out
    assert "clip_image (Decode)" in text and "correlation with the truth" in text and "simulated" in text
    page = (drawn.folder / "trace" / f"stim-{name}_sample-0.html").read_text()
    assert page.count("data:image/png;base64") == 3 and "<script" not in page and "http" not in page
    assert "no brain was" in page
