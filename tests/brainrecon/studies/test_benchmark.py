"""A benchmark as a plan: what is finished is left alone, what was interrupted goes on, processes share the cells."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from interruption import COMMAND_LINE, interrupted

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.leaderboard.collect import collect
from brainrecon.studies.benchmark import cell_folder
from brainrecon.studies.plan import Plan, make_plan, read_methods
from stages.ground.errors import InputError
from weights.whole_files import locked

TINY = ("--weights", "tiny")


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """Folder of a simulated cohort of two subjects."""
    folder = tmp_path_factory.mktemp("subjects") / "nsd"
    options = "--subjects 2 --sessions 2 --trials-per-session 36 --shared 5 --voxels 160"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Two methods as files: the published one with few steps, and the same without its text context."""
    folder = tmp_path_factory.mktemp("variants")
    both = 'method = "brain-diffuser"\n[generator]\nnum_inference_steps = 2\n'
    (folder / "both.toml").write_text(both)
    (folder / "no-text.toml").write_text("text_context = false\n" + both)
    return folder


@pytest.fixture(scope="module")
def line(subjects, variants, features):
    """The command without where it writes to. Reproducible, so that tables are equal byte for byte."""
    methods = f"{variants / 'both.toml'},{variants / 'no-text.toml'}"
    return [
        *("benchmark", f"nsd:{subjects}", "--methods", methods, *TINY),
        *("--heldout", "clusters:4", "--reproducible", "--features", str(features)),
    ]


@pytest.fixture(scope="module")
def complete(line, tmp_path_factory):
    """A finished benchmark: two methods on two subjects."""
    folder = tmp_path_factory.mktemp("complete") / "bench"
    assert run_command([*line, "--out", str(folder)]) == 0
    return folder


def written(folder):
    """Everything that was computed: files and when they were written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".safetensors", ".json", ".jsonl") and path.is_file()
    }


def pictures_drawn(folder):
    """Lines of all manifests: a picture that was drawn twice has two."""
    return [
        (path.parent.relative_to(folder).as_posix(), json.loads(line)["file"])
        for path in sorted(folder.rglob("manifest.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_every_cell_is_a_run_with_scores_controls_and_report(complete):
    for method in ("both", "no-text"):
        for subject in ("subj01", "subj02"):
            cell = cell_folder(complete, method, subject, None)
            scores = Scores.from_json(cell / "scores" / "brainrecon-1.json")
            wanted = {"reconstruction", "stage_one", "shuffled_responses", "mean_response", "oracle_embeddings"}
            assert set(scores.conditions) == wanted | {"nearest_training_picture"}
            assert scores.embeddings.rows and scores.embeddings.ranks
            assert all(row.n_permutations >= 20 for row in scores.embeddings.rows)
            assert "brain_correlation" in scores.conditions["reconstruction"].values
            assert (cell / "report.html").exists()
            assert (cell / "heldout" / "scores" / "brainrecon-1.json").exists()
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.html"):
        assert "no-text" in (complete / name).read_text()


def test_a_second_time_nothing_is_computed(complete, line, capsys):
    before, table = written(complete), (complete / "leaderboard.csv").read_bytes()
    assert run_command([*line, "--out", str(complete)]) == 0
    assert "0 of 4 cells were computed" in capsys.readouterr().out
    assert written(complete) == before
    assert (complete / "leaderboard.csv").read_bytes() == table


def test_the_folder_alone_is_enough_to_go_on(complete, features, capsys):
    before = written(complete)
    assert run_command(["benchmark", "--out", str(complete), "--features", str(features)]) == 0
    assert "0 of 4 cells were computed" in capsys.readouterr().out
    assert written(complete) == before


def test_a_cell_that_another_process_holds_is_left_to_it(complete, line):
    cell = cell_folder(complete, "both", "subj01", None)
    before, begun = written(complete), time.monotonic()
    assert run_command([*line, "--out", str(complete)]) == 0
    unhindered = time.monotonic() - begun
    with locked(cell.parent / f".{cell.name}"):
        thread = threading.Thread(target=run_command, args=([*line, "--out", str(complete)],))
        thread.start()
        thread.join(3 * unhindered + 1)
        assert thread.is_alive(), "it should wait for the cell that is held"
    thread.join(60)
    assert not thread.is_alive() and written(complete) == before


def test_pictures_from_elsewhere_enter_the_table(complete, line, subjects, features, tmp_path):
    own = cell_folder(complete, "both", "subj01", None)
    theirs = tmp_path / "pictures"
    theirs.mkdir()
    for path in (own / "images").glob("*.png"):
        (theirs / path.name.replace("stim-", "").replace("_sample-0", "")).write_bytes(path.read_bytes())
    out = complete / "their-method" / "subj01" / "nsdgeneral"
    asked = ["evaluate", "--images", str(theirs), "--truth", f"nsd:{subjects}", "--subject", "subj01"]
    assert run_command([*asked, "--out", str(out)]) == 0
    mine, scores = (Scores.from_json(folder / "scores" / "brainrecon-1.json") for folder in (own, out))
    for name, values in scores.conditions["reconstruction"].values.items():
        assert values == pytest.approx(mine.conditions["reconstruction"].values[name], abs=1e-6, nan_ok=True), name
    assert run_command([*line, "--out", str(complete)]) == 0
    table = (complete / "leaderboard.md").read_text()
    assert "their-method" in table
    # The runs' folders are called default, and have the same voxels: one block of one board.
    (board,) = collect(complete).boards
    assert [block.roi for block in board.blocks] == ["nsdgeneral"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", "3"], "seed = 0 but 3"),
        (["--rois", "V1"], "regions"),
        (["--controls", "none"], "controls"),
        (["--subjects", "subj09"], "subj09.*subj01"),
        (["--methods", "magic"], "magic.*brain-diffuser"),
        (["--protocols", "guess"], "guess"),
    ],
)
def test_a_plan_that_does_not_agree_is_refused_and_nothing_changes(complete, line, capsys, more, words):
    import re

    before = (complete / "benchmark.toml").read_text()
    assert run_command([*line, "--out", str(complete), *more]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert (complete / "benchmark.toml").read_text() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--heldout", "foo"], "no split 'foo'"), (["--seed", "-1"], "seed is -1"), (["--samples", "0"], "samples is 0")],
)
def test_a_plan_that_cannot_be_followed_is_not_written(line, tmp_path, capsys, more, words):
    assert run_command([*line, "--out", str(tmp_path / "bench"), *more]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_protocols_of_one_name_are_refused(subjects, variants, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        content = f'name = "mine"\ndescription = "{folder}"\n[resize]\nsize = 16\ninterpolation = "bilinear"\nantialias = true\n'
        (tmp_path / folder / "mine.toml").write_text(
            content + '[[metrics]]\nname = "pixcorr"\nmeasure = "pixel_correlation"\n'
        )
    files = [str(tmp_path / folder / "mine.toml") for folder in ("a", "b")]
    with pytest.raises(InputError, match="Two protocols are called mine"):
        make_plan(f"nsd:{subjects}", [str(variants / "both.toml")], protocols=files)


def test_the_report_leads_to_the_held_out_one(complete):
    cell = cell_folder(complete, "both", "subj01", None)
    assert 'href="heldout/report.html"' in (cell / "report.html").read_text()


def test_scores_that_cannot_be_read_or_miss_a_picture_are_computed_anew(complete, line, tmp_path, capsys):
    import shutil

    folder = shutil.copytree(complete, tmp_path / "bench")
    shutil.rmtree(folder / "their-method", ignore_errors=True)
    first, second = (cell_folder(folder, "both", subject, None) for subject in ("subj01", "subj02"))
    (first / "scores" / "brainrecon-1.json").write_text('{"format": 1}')
    next((second / "controls" / "mean_response" / "images").glob("*.png")).unlink()
    assert run_command([*line, "--out", str(folder)]) == 0
    assert "2 of 4 cells were computed" in capsys.readouterr().out
    for cell in (first, second):
        scores = Scores.from_json(cell / "scores" / "brainrecon-1.json")
        assert len(scores.conditions["mean_response"].stimulus_ids) == 5
        assert (cell / "report.html").stat().st_mtime_ns >= (cell / "scores" / "brainrecon-1.json").stat().st_mtime_ns


def test_a_plan_survives_its_file_and_grows(subjects, variants, tmp_path):
    plan = make_plan(f"nsd:{subjects}", [str(variants / "both.toml")], subjects=["subj02"], seed=4)
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan
    larger = plan.extended(methods=[str(variants / "no-text.toml")], subjects=["subj01"])
    assert larger.subjects == ("subj02", "subj01") and list(larger.methods) == ["both", "no-text"] and larger.seed == 4
    assert set(plan.cells()) < set(larger.cells()) and len(larger.cells()) == 4


def test_methods_that_cannot_be_told_apart_are_refused(variants, tmp_path):
    (tmp_path / "both.toml").write_text('method = "brain-diffuser"\n')
    with pytest.raises(InputError, match="Two methods are called both"):
        read_methods([str(variants / "both.toml"), str(tmp_path / "both.toml")])
    (tmp_path / "odd.toml").write_text('method = "brain-diffuser"\nseed = 3\n')
    with pytest.raises(InputError, match="sets seed"):
        read_methods([str(tmp_path / "odd.toml")])


def started(line, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from brainrecon.cli.main import main; main()", *line, "--out", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_and_started_again_it_ends_at_the_same_table(complete, line, tmp_path):
    folder = tmp_path / "killed"
    for enough in (3, 30, 60):
        interrupted(
            COMMAND_LINE, *line, "--out", folder, when=lambda enough=enough: len(list(folder.rglob("*.png"))) >= enough
        )
    process = started(line, folder)
    assert process.wait(600) == 0, process.stderr.read()
    drawn = pictures_drawn(folder)
    assert len(drawn) == len(set(drawn)), "a picture was drawn twice"
    only_own = [row for row in (complete / "leaderboard.csv").read_text().splitlines() if "their-method" not in row]
    assert (folder / "leaderboard.csv").read_text().splitlines() == only_own


@pytest.mark.slow
def test_two_processes_share_the_cells(complete, line, tmp_path):
    folder = tmp_path / "shared"
    processes = [started(line, folder) for _ in range(2)]
    assert [process.wait(900) for process in processes] == [0, 0]
    computed = [int(process.stdout.read().split(" of 4 cells were computed")[0].split()[-1]) for process in processes]
    assert sum(computed) == 4 and min(computed) >= 1, computed
    drawn = pictures_drawn(folder)
    assert len(drawn) == len(set(drawn)) == len(list(folder.rglob("*.png")))
    only_own = [row for row in (complete / "leaderboard.csv").read_text().splitlines() if "their-method" not in row]
    assert (folder / "leaderboard.csv").read_text().splitlines() == only_own


def test_what_makes_clusters_is_settled_with_the_plan(subjects, tmp_path):
    (tmp_path / "other.toml").write_text(
        'method = "brain-diffuser"\ncheckpoints = { clip = "clip-vit-l-14-quickgelu" }\n'
    )
    plan = make_plan(f"nsd:{subjects}", ["noise"])
    assert plan.split_checkpoint == "tiny-clip"
    more = plan.extended(methods=[str(tmp_path / "other.toml")])
    cells = [more.config(method, "subj01", None, split=more.heldout).data.split_checkpoint for method in more.methods]
    assert cells == ["tiny-clip", "tiny-clip"]
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan
    assert make_plan(f"nsd:{subjects}", [str(tmp_path / "other.toml")]).split_checkpoint == "clip-vit-l-14-quickgelu"
