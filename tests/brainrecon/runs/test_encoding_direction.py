"""From pictures to responses: a made-up system through a run, its scores, and what its chain may not read."""

import json

import nibabel
import numpy as np
import pytest
from made_up_encoding import ALPHA, MadeUpEncoding
from made_up_systems import Adding, system_of
from sklearn.linear_model import Ridge
from study_of_scores import put

from brainrecon import Reconstructor
from brainrecon.assembly.chain import Chain
from brainrecon.cli.main import run_command
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from brainrecon.evaluation.scores.response_scores import MEAN_TRAINING_RESPONSE, SHUFFLED_STIMULI
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_csv, as_html, as_markdown
from brainrecon.runs.predicted_responses import predicted_responses
from brainrecon.runs.run import Run
from brainrecon.runs.values import RunValues
from stages.ground.errors import InputError


def chain_of(*steps, **attributes):
    return Chain(system_of(*steps, **attributes))


@pytest.mark.parametrize(
    ("steps", "output", "said"),
    [
        ([Adding(["shown"], "picture")], "picture", "reads or gives 'shown', the pictures of the tested stimuli"),
        ([Adding(["patterns"], "picture", optional=["shown"])], "picture", "but the output is 'picture'; expected it"),
        ([Adding(["patterns"], "shown", "picture")], "picture", "reads or gives 'shown'"),
        ([Adding(["shown"], "code"), Adding(["code"], "responses", "picture")], "picture", "reads or gives 'shown'"),
        ([Adding(["shown", "patterns"], "responses")], "responses", "'patterns', measured for the tested stimuli"),
        ([Adding(["shown"], "responses", optional=["repeats"])], "responses", "'repeats', measured for the tested"),
        ([Adding(["shown"], "responses", media={"responses": "picture"})], "responses", "'responses' as a picture"),
    ],
)
def test_no_chain_reads_what_it_is_compared_with(steps, output, said):
    with pytest.raises(InputError) as error:
        chain_of(*steps, output=output)
    assert said in str(error.value)


def test_a_chain_that_encodes_takes_pictures():
    chain = chain_of(Adding(["shown"], "responses"), output="responses")
    assert (
        chain.encodes
        and not chain.draws
        and chain.given == ("shown", "responses")
        and chain.medium("shown") == "features"
    )
    pictures = np.arange(96, dtype=np.uint8).reshape(2, 2, 8, 3)
    wanted = pictures.reshape(2, -1).sum(axis=1)
    assert chain.predict(pictures)["responses"][:, 0].tolist() == wanted.tolist()
    assert chain.run_from_patterns(["a", "b"], pictures, samples=2).shape == (2, 2, 2)
    for wrong in (np.zeros((2, 50), dtype=np.float32), pictures.astype(float), pictures[..., :1]):
        with pytest.raises(InputError, match="predicts responses to pictures but was given"):
            chain.predict(wrong)


@pytest.fixture(scope="module")
def encoded(cohort, features, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoding") / "run"
    line = ["run", MadeUpEncoding.name, f"nsd:{cohort}", "--out", str(out), "--features", str(features)]
    assert run_command(line) == 0
    return out


def test_predictions_are_those_of_scikit_learn(encoded):
    run = Run(encoded)
    subject, chain = run.subject, run.chain
    target = chain.targets["clip_image"].target
    train, test = (
        np.asarray(target.encode(split.images[:]), dtype=np.float64) for split in (subject.train, subject.test)
    )
    # As the decoder does, columns are standardised by the training statistics.
    mean, std = train.mean(axis=0), train.std(axis=0, ddof=1)
    found = RunValues(run).predicted("test", chain.giver("responses"))["responses"]
    wanted = Ridge(ALPHA).fit((train - mean) / std, np.asarray(subject.train.patterns)).predict((test - mean) / std)
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
    again = Reconstructor(MadeUpEncoding)
    again.chain.fit_in_memory(subject, run.store)
    np.testing.assert_allclose(again.predict(np.asarray(subject.test.images[:]))["responses"], found, atol=1e-4)


def test_responses_are_scored_beside_their_controls(encoded):
    run = Run(encoded)
    scores = run.scores
    predicted, measured = run.embeddings["responses"], np.asarray(run.subject.test.patterns)
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(predicted.T, measured.T)]
    row = scores.responses.row("voxel_correlation")
    assert row.mean == pytest.approx(np.mean(each), abs=1e-6) and row.ci_low < row.mean < row.ci_high
    assert row.ceiling == pytest.approx(np.mean(np.sqrt(measured_noise_ceiling(run.subject) / 100)), rel=1e-6)
    assert row.share == pytest.approx(row.mean / row.ceiling) and 0.1 < row.share < 1
    patterns = [np.corrcoef(*pair)[0, 1] for pair in zip(predicted, measured)]
    np.testing.assert_allclose(
        scores.responses.values["predicted_responses"]["pattern_correlation"], patterns, atol=1e-6
    )
    shuffled = scores.responses.row("voxel_correlation", SHUFFLED_STIMULI)
    assert shuffled.above_low < shuffled.above and shuffled.mean == pytest.approx(row.mean - shuffled.above)
    mean = scores.responses.row("identification", MEAN_TRAINING_RESPONSE)
    assert mean.mean == 0.5 and scores.responses.row("voxel_correlation", MEAN_TRAINING_RESPONSE) is None
    matrix = np.corrcoef(measured, predicted)[: len(measured), len(measured) :]
    rates = [np.mean(np.delete(column, place) < column[place]) for place, column in enumerate(matrix.T)]
    assert scores.responses.row("identification").mean == pytest.approx(np.mean(rates))


def test_embeddings_of_the_shown_pictures_are_no_predictions(encoded):
    scores = Run(encoded).scores
    assert "clip_image" in scores.protocol.targets
    assert scores.embeddings is None and scores.retrieval is None and scores.features is None


def test_scores_are_read_again_and_shown(encoded, capsys):
    path = encoded / "scores" / "brainrecon-1.json"
    again = Scores.from_json(path)
    assert again.responses == Run(encoded).scores.responses and again.responses.rows
    assert json.loads(path.read_text())["responses"]["rows"]
    assert run_command(["evaluate", str(encoded)]) == 0
    told = capsys.readouterr().out
    assert "Voxel correlation" in told and "Shuffled stimuli" in told and "Mean training response" in told
    page = (encoded / "report.html").read_text()
    assert 'id="responses"' in page and "of what the noise of the responses allows" in page


def test_a_leaderboard_has_them(encoded, tmp_path):
    scores = Run(encoded).scores
    put(tmp_path, "encoding", "subj01", scores)
    board = collect(tmp_path)
    for text in (as_markdown(board), as_html(board)):
        assert "Predicted responses" in text and "in voxel correlation of predicted responses" in text
        assert "not told apart from shuffled stimuli" in text and "Nothing has been scored" not in text
    (row,) = [
        line
        for line in as_csv(board).splitlines()
        if "predicted_responses,responses_voxel_correlation" in line and ",all," not in line
    ]
    assert f"{scores.responses.row('voxel_correlation').mean!r}" in row


def test_a_map_of_a_run_that_encodes_is_of_how_well_each_voxel_is_predicted(encoded, features, tmp_path):
    line = ["map", str(encoded), "--features", str(features), "--out", str(tmp_path / "out")]
    assert run_command(line) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"noise_ceiling.nii.gz", "correlation.nii.gz"}
    run = Run(encoded, features)
    measured, predicted = predicted_responses(run)
    expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(measured.patterns.T, predicted.T)]
    found = nibabel.load(tmp_path / "out" / "correlation.nii.gz").get_fdata()
    np.testing.assert_allclose(found[tuple(run.subject.grid.indices.T)], expected, rtol=1e-5)
    assert run_command([*line, "--columns", "clip_image:0"]) == 2
