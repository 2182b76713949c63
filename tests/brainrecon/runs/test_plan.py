"""Plans: every work with what it takes, from counts alone, and nothing is computed or written."""

import numpy as np
import pytest

from brainrecon.cli import plan_table
from brainrecon.cli.main import run_command
from brainrecon.runs import plan as plans
from brainrecon.runs.config import RunConfig
from brainrecon.runs.estimate import memory_of_drawing
from brainrecon.runs.plan import Work, planned, works_of
from brainrecon.runs.run import Run
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES
from weights import store


@pytest.fixture(autouse=True)
def a_hundred_billion_a_second(monkeypatch):
    monkeypatch.setattr(plans, "rate", lambda device: 1e11)


def works(cohort, folder, method, conditions=("reconstruction",), **rest):
    config = RunConfig.from_dict({"method": method, "data": {"source": f"nsd:{cohort}"}, "samples": 2, **rest})
    with planned(folder, config, folder.parent / "features", "cpu") as run:
        return {work.what: work for work in works_of(run, conditions, batch_size=2)}, run


def test_drawing_takes_steps_rows_and_pictures(cohort, tmp_path):
    found, run = works(cohort, tmp_path / "run", "brain-diffuser", ("reconstruction", "shuffled_responses"))
    size = PUBLISHED_SIZES["versatile-diffusion"]
    # 12 stimuli in two samples and one of the control; 37 of 50 steps, two rows each under guidance.
    drawing = found["drawing"]
    assert drawing.amount == "36 outputs in 37 steps, 2 at a time"
    assert drawing.seconds == pytest.approx(36 * (37 * 2 * size.unet_operations + size.vae_operations) / 1e11)
    assert drawing.memory == memory_of_drawing(run, 36, 2)[0] and drawing.disk == 36 * 512 * 512 * 3
    absent = [name for name in run.config.system.checkpoints if store.verify([name], check=False)[0].state == "absent"]
    assert {f"fetching {name}" for name in absent} == {what for what in found if what.startswith("fetching")}
    entry = store.checkpoints()["versatile-diffusion"]
    assert found["fetching versatile-diffusion"].disk == (entry.size or entry.reckoned_size)
    assert not list(tmp_path.glob("run*"))


def test_encoding_is_written_to_the_store_and_responses_are_in_memory(cohort, tmp_path):
    from brainrecon.assembly.registry import system_class
    from brainrecon.assembly.settings import with_weights

    settings = with_weights({}, system_class("brain-diffuser"), "tiny")
    found, run = works(cohort, tmp_path / "run", "brain-diffuser", settings=settings)
    clip = run.unfitted.targets["clip_image"].outline
    assert found["encoding clip_image"].disk == 48 * clip.n_targets * 4 and found["encoding clip_image"].seconds > 0
    assert found["averaging responses"].memory == 4 * (48 + 12) * 300
    assert (
        "drawing" in found
        and found["drawing"].amount == "24 outputs"
        and "fitting vdvae, clip_image, clip_text" in found
    )


def test_what_is_done_is_not_planned_again(fitted, features):
    run = Run(fitted, features)
    found = works_of(run)
    assert [work.what for work in found] == ["averaging responses", "drawing"]
    assert works_of(run, draws=False) == found[:1]


@pytest.mark.parametrize("verb", ["run", "fit", "benchmark"])
def test_a_plan_on_the_command_line_leaves_nothing_behind(verb, cohort, tmp_path, capsys):
    out = tmp_path / "out"
    rest = (
        ["mean-image", f"nsd:{cohort}"] if verb != "benchmark" else [f"nsd:{cohort}", "--methods", "mean-image,noise"]
    )
    line = [verb, *rest, "--out", str(out), "--features", str(tmp_path / "features"), "--plan"]
    assert run_command(line) == 0
    printed = capsys.readouterr().out
    assert "48 + 12 stimuli x 300 voxels" in printed and "Nothing was computed." in printed
    assert not list(tmp_path.iterdir())


def test_a_plan_of_a_run_leaves_it_as_it_is(run_folder, features, capsys):
    before = {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")}
    assert run_command(["reconstruct", str(run_folder), "--features", str(features), "--samples", "3", "--plan"]) == 0
    assert "36 outputs" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")} == before


def test_the_table_adds_times_and_disk_takes_the_largest_memory_and_says_what_does_not_fit(tmp_path, capsys):
    many = [Work("one", "3", 120.0, 2e18, 5e6), Work("two", "4", 240.0, 1e9, 5e20), Work("three", "5")]
    plan_table.show_plan(many, "cpu", tmp_path / "absent" / "run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split()[-3:] == ["-", "-", "-"]
    together = lines[4]
    assert together.startswith("together") and "6 min" in together and f"{2e9:,.1f} GB" in together
    assert any("memory does not suffice" in line for line in lines) and any(
        "disk does not suffice" in line for line in lines
    )
    assert np.any([str(tmp_path) in line for line in lines])
