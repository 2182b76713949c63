"""Further splits tested beside a run's own: one decoder, a run folder for each, the same as if each were tested alone."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from kamitani_files import Dir, God
from painter import Describer, LearnColour, Painter
from PIL import Image

from brainrecon.assembly import registry
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write_template
from brainrecon.report.run.run_report import write_report
from brainrecon.runs.config import RunConfig
from brainrecon.runs.layout import Layout
from brainrecon.runs.run import Run
from brainrecon.runs.score import score_splits
from stages.ground.errors import InputError
from weights import whole_files

SIZES = {"train": 16, "test": 5, "imagery": 4, "shapes": 3}
# As little as can be scored: what is tested is whose scores they are.
PROTOCOL = """
name = "pixels"
headline = "pixcorr"
low_level = "pixcorr"
[resize]
size = 10
interpolation = "area"
antialias = true
[[metrics]]
name = "pixcorr"
measure = "pixel_correlation"
label = "PixCorr"
[captions.bleu_1]
measure = "bleu_1"
references = "all"
label = "BLEU-1"
"""
CONTROLS = ("reconstruction", "shuffled_responses", "mean_response")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with arrays `mine`: imagery has stimuli of test and no pictures, shapes its own with pictures."""
    folder, random = tmp_path_factory.mktemp("beside"), np.random.default_rng(0)
    (folder / "pixels.toml").write_text(PROTOCOL)
    write_template(folder / "mine")
    shutil.rmtree(folder / "mine" / "rois")
    for name, n in SIZES.items():
        own = folder / "mine" / name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        ids = [f"{'test' if name == 'imagery' else name}{row}" for row in range(n)]
        (own / "trials.csv").write_text("\n".join(["stimulus_id", *ids]) + "\n")
        np.save(own / "betas.npy", random.normal(size=(n, 40)).astype(np.float32))
        if name != "imagery":
            np.save(own / "images.npy", random.integers(0, 256, (n, 10, 10, 3), dtype=np.uint8))
    return folder


@pytest.fixture(autouse=True)
def painter(place, monkeypatch):
    """The system that is tested with, and an empty folder `made` to test in."""
    for kind in (Painter, Describer):
        monkeypatch.setitem(registry._REGISTERED, kind.name, kind)
    monkeypatch.setattr(LearnColour, "fitted", [])
    monkeypatch.chdir(place)
    shutil.rmtree(place / "made", ignore_errors=True)


def config(*beside, source="arrays:mine", splits=None, **data):
    data |= {"source": source} | ({"beside": list(beside)} if beside else {})
    return {"method": "painter", "data": data, "splits": splits or {}}


def whole_way(folder, asked, conditions=CONTROLS):
    run = Run.create(folder, asked, "made/features").fit()
    run.reconstruct(conditions)
    return run, score_splits(run, "pixels.toml")


def kept(folder):
    """Bytes of all that a run keeps, but for when it was written and on which machine."""
    found = (path for path in Layout(folder).folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    aside = ("manifest.jsonl", "environment.json", "report.html")
    return {path.relative_to(folder): path.read_bytes() for path in found if path.name not in aside}


def given(folder):
    """Pictures and scores of a run, without those of the splits beside."""
    return {
        path: what for path, what in kept(folder).items() if path.parts[0] in ("images", "controls", "embeddings")
    } | {path: what for path, what in kept(folder).items() if path.parts[0] == "scores" and path.suffix == ".csv"}


def when_written(folder):
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path: path.stat().st_mtime_ns for path in found if path.name != "report.html"}


def refused(capsys, *arguments):
    capsys.readouterr()
    assert run_command([str(one) for one in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said, said
    return said


# What it is


def test_it_is_as_if_each_were_tested_alone_but_fitted_once(place):
    run, scored = whole_way(place / "made" / "all", config("all"))
    assert LearnColour.fitted == [16] and len(list(run.folder.rglob("decoder"))) == 1
    assert list(run.splits) == list(scored) == ["test", "imagery", "shapes"] and run.splits["test"] is run
    for name, one in run.splits.items():
        alone, _ = whole_way(place / "made" / name, config(split=name)) if name != "imagery" else (None, None)
        if alone is not None:
            assert given(one.folder) == given(alone.folder), name
            assert scored[name].scores.data["test_stimuli"] == SIZES[name] and not scored[name].why_not
    # Of the pictures of imagery nobody knows anything: it is drawn, and not scored.
    imagery = scored["imagery"]
    assert imagery.scores is None and "has no pictures of imagery to compare with" in imagery.why_not
    assert len(given(imagery.run.folder)) == 3 * SIZES["imagery"] + 2
    assert imagery.run.embeddings["colour"].shape == (4, 3)


def test_a_run_of_a_split_is_a_run(place):
    run, _ = whole_way(place / "made" / "run", config("shapes"), CONTROLS[:1])
    shapes = run.splits["shapes"]
    assert shapes.scores.data["split"] == "shapes" and shapes.stimulus_ids == ["shapes0", "shapes1", "shapes2"]
    # The networks are loaded once.
    assert shapes.chain is run.chain
    # Its decoder is where the run lies, wherever that was moved to.
    shutil.move("made/run", "made/moved")
    alone = Run("made/moved/splits/shapes")
    assert list(alone.splits) == ["shapes"] and alone.is_fitted and alone.damage() is None
    np.testing.assert_array_equal(
        alone.chain.predict(alone.subject.test.patterns)["colour"], alone.embeddings["colour"]
    )
    # Whoever takes its decoder takes that of the run.
    taken = RunConfig.from_dict(config() | {"decoder_from": ["made/moved/splits/shapes"]})
    assert given(whole_way(place / "made" / "taken", taken, CONTROLS[:1])[0].folder) == given(place / "made" / "moved")
    assert LearnColour.fitted == [16]


def test_the_training_stimuli_keep_their_name_in_the_store():
    from brainrecon.datasets.resplit import with_test

    subject = load("arrays:mine")
    shapes = with_test(subject, "shapes")
    assert shapes.stimuli_of("train") == subject.stimuli_of("train")
    assert shapes.stimuli_of("test") not in (subject.stimuli_of("test"), subject.stimuli_of("shapes"))


def test_another_split_than_test_may_be_the_runs_own(place):
    run, scored = whole_way(place / "made" / "run", config("all", split="shapes"), CONTROLS[:1])
    assert list(run.splits) == ["shapes", "test", "imagery"]
    assert scored["test"].scores.data["test_stimuli"] == 5


def test_what_is_said_of_imagined_stimuli_is_scored_without_pictures(place):
    shutil.copytree("mine", "told", dirs_exist_ok=True)
    for name, n in SIZES.items():
        told = {
            f"{'test' if name == 'imagery' else name}{row}": [f"mostly {'red' if row % 2 else 'blue'}"]
            for row in range(n)
        }
        (place / "told" / name / "captions.json").write_text(json.dumps(told))
    asked = config("all", source="arrays:told") | {"method": "describer"}
    run, scored = whole_way(place / "made" / "run", asked, CONTROLS[:1])
    assert all(one.scores.mean("reconstruction", "bleu_1").n == SIZES[name] for name, one in scored.items())
    page = write_report(run, "pixels.toml").read_text()
    section = page[page.index('<section id="splits">') :]
    assert re.findall(r'<tr class="group"><th[^>]*>(\w+)', section) == ["test", "imagery", "shapes"]
    assert section.count("Said by people") >= 4 + 3 and 'href="splits/imagery/report.html"' in section
    # Nothing was drawn or scored anew.
    assert all(one.were_there for one in score_splits(run, "pixels.toml").values())


# Interrupted, gone on with, added to


class Killed(BaseException):
    """The end of a process, which nothing catches."""


def test_killed_again_and_again_it_ends_in_the_same_bytes(place, monkeypatch):
    whole_way(place / "made" / "whole", config("all"))
    LearnColour.fitted.clear()
    give_name, kills = whole_files.os.replace, 0
    for _ in range(40):
        left = 5

        def killed(*paths):
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            give_name(*paths)

        with monkeypatch.context() as patched:
            patched.setattr(whole_files.os, "replace", killed)
            try:
                whole_way(place / "made" / "run", config("all"))
                break
            except Killed:
                kills += 1
    assert kills >= 10 and len(LearnColour.fitted) <= 2
    assert kept(place / "made" / "run") == kept(place / "made" / "whole")
    before = when_written(place / "made" / "run")
    whole_way(place / "made" / "run", config("all"))
    assert when_written(place / "made" / "run") == before


def test_splits_are_added_to_a_run_that_is_done(place, capsys):
    whole_way(place / "made" / "run", config(), CONTROLS[:1])
    before = when_written(place / "made" / "run" / "images")
    shown = ["--features", "made/features"]
    assert run_command(["reconstruct", "made/run", "--beside", "imagery", *shown]) == 0
    assert run_command(["evaluate", "made/run", "--beside", "shapes", "--protocol", "pixels.toml", *shown]) == 0
    said = capsys.readouterr().out
    assert re.search(r"score of the method +test +shapes\nstimuli +5 +3\n", said)
    assert "so that imagery is not scored" in said and "shapes: its controls, intervals and report are in" in said
    # What it began with goes on with what was added.
    run, _ = whole_way(place / "made" / "run", config(), CONTROLS[:1])
    assert run.config.data.beside == ("imagery", "shapes") and LearnColour.fitted == [16]
    assert when_written(place / "made" / "run" / "images") == before
    assert run_command(["reconstruct", "made/run", "--stimuli", "shapes1", *shown]) == 0
    assert "is in none of test, imagery, shapes" in refused(
        capsys, "reconstruct", "made/run", "--stimuli", "dog", *shown
    )
    assert run_command(["reconstruct", "made/run", "--samples", "2", *shown]) == 0
    shapes = place / "made" / "run" / "splits" / "shapes"
    assert len(list((shapes / "images").iterdir())) == 6 and Run(shapes).config.samples == 2


def test_damage_of_a_split_is_mended_without_a_fit(place):
    run, _ = whole_way(place / "made" / "run", config("shapes"), CONTROLS[:1])
    decoder, path = kept(run.layout.decoder), run.splits["shapes"].layout.embeddings("test")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.warns(UserWarning, match="its values are predicted again"):
        Run("made/run").fit()
    assert path.read_bytes() == whole and kept(run.layout.decoder) == decoder and LearnColour.fitted == [16]
    # Of its own a split mends nothing of the decoder, and says who does.
    (run.layout.decoder / "config.json").write_text("{ }")
    with (
        pytest.raises(InputError, match="`brainrecon fit --config .*made/run/config.toml --out"),
        pytest.warns(UserWarning),
    ):
        Run("made/run/splits/shapes").fit()


# What cannot be


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--beside", "dreams"], "There is no split 'dreams' to test beside test; "),
        (["--beside", "dreams"], "has imagery, shapes: pass --beside imagery,shapes, or all."),
        (["--beside", "shape"], "did you mean 'shapes'?"),
        (["--beside", "imagery,test"], "test is what is tested already; "),
        (["--beside", "train"], "train is what is learned from; "),
        (["--beside", " , "], "An option that takes names got none"),
        (["--beside", "shapes", "--folds", "3"], "Each of 3 folds has a decoder of its own"),
        (["--beside", "shapes", "--split", "ids:ids.txt"], "trains on stimuli that shapes may show"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(place, capsys, asked, words):
    (place / "ids.txt").write_text("train3\ntest1\n")
    assert words in refused(capsys, "run", "painter", "arrays:mine", "--out", "made/run", *asked)
    assert not (place / "made").exists()


def test_data_without_further_splits(place):
    shutil.copytree("mine", "plain", dirs_exist_ok=True, ignore=shutil.ignore_patterns("imagery", "shapes"))
    with pytest.raises(InputError, match="has no split to test beside test; leave --beside out"):
        Run.create("made/run", config("imagery", source="arrays:plain"))
    with pytest.warns(UserWarning, match="nothing is tested beside"):
        run = Run.create("made/run", config("all", source="arrays:plain"))
    assert list(run.splits) == ["test"] and run.config.data.beside is None


# The report, the plan, the screen


def test_the_report_shows_them_side_by_side(place):
    line = ["run", "painter", "arrays:mine", "--out", "made/run", "--beside", "all", "--protocol", "pixels.toml"]
    assert run_command([*line, "--features", "made/features", "--controls", "shuffled_responses"]) == 0
    page = (place / "made" / "run" / "report.html").read_text()
    section = page[(start := page.index('<section id="splits">')) : page.index("</section>", start)]
    table = section[section.index('<table class="scores means splits">') : section.index("<h3")]
    assert re.findall(r'<tr class="group"><th[^>]*>(\w+)', table) == ["test", "imagery", "shapes"]
    assert "Not scored: the data have no pictures of imagery." in table
    # Two rows of scores of each that is scored; a picture of each stimulus of those beside in each column.
    assert table.count(">Shuffled responses</th>") == 2
    assert section.count("no picture<") == 4 and section.count('<img src="data:image/png') == 3 + 2 * (4 + 3)
    assert 'href="splits/shapes/report.html"' in section and "splits/imagery/report.html" not in page
    assert 'id="splits"' not in (place / "made/run/splits/shapes/report.html").read_text()
    assert run_command(["report", "made/run", "--out", "made/page.html", "--features", "made/features"]) == 0
    elsewhere = (place / "made" / "page.html").read_text()
    assert "splits/shapes/report.html" not in elsewhere and 'id="splits"' in elsewhere


def test_a_plan_counts_them_and_writes_nothing(place, capsys):
    line = ["painter", "arrays:mine", "--out", "made/run", "--features", "made/features"]
    assert run_command(["run", *line, "--beside", "all", "--plan"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\n *drawing +10 outputs", said) and re.search(r"shapes: drawing +6 outputs", said)
    assert not (place / "made").exists()
    whole_way(place / "made" / "run", config(), CONTROLS[:1])
    before = when_written(place / "made")
    assert run_command(["run", *line, "--beside", "shapes", "--controls", "none", "--plan"]) == 0
    assert re.search(r"shapes: drawing +3 outputs", capsys.readouterr().out) and when_written(place / "made") == before


def test_data_info_says_how_to_test_them(capsys):
    assert run_command(["data", "info", "arrays:mine"]) == 0
    assert (
        "further splits: test them beside test by --beside imagery,shapes, or in its place" in capsys.readouterr().out
    )


# Settings of a split


def of_imagery(**settings):
    return {"imagery": {"settings": settings}}


def test_a_split_may_be_drawn_with_other_settings(place):
    asked = config("imagery", "shapes", splits=of_imagery(brightness=0.5))
    run, _ = whole_way(place / "made" / "run", asked, CONTROLS[:1])
    plain, _ = whole_way(place / "made" / "plain", config("imagery"), CONTROLS[:1])
    read = {name: one.read_value(one.image_path("reconstruction", "test1"), "picture") for name, one in
            (("darker", run.splits["imagery"]), ("plain", plain.splits["imagery"]))}  # fmt: skip
    expected = plain.splits["imagery"].embeddings["colour"][1]
    np.testing.assert_array_equal(read["darker"][0, 0], np.clip(expected * 0.5, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(read["plain"][0, 0], np.clip(expected, 0, 255).astype(np.uint8))
    assert [one.config.settings.brightness for one in run.splits.values()] == [1.0, 0.5, 1.0]
    assert run.splits["imagery"].chain is not run.chain and run.splits["shapes"].chain is run.chain
    assert RunConfig.read(run.layout.config) == run.config and run.config.splits == {"imagery": {"brightness": 0.5}}
    # What was recorded stands; what is new may be added.
    for splits in ({}, of_imagery(brightness=0.7)):
        with pytest.raises(InputError, match=r"is a run with splits\S* = .* was asked for"):
            Run.create("made/run", config("imagery", splits=splits))
    fewer = Run.create("made/fewer", config("shapes"))
    more = replace(fewer.config, data=replace(fewer.config.data, beside=("imagery",)), splits=run.config.splits)
    assert Run.create("made/fewer", more).config.splits == run.config.splits


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (of_imagery(colour=5), "There is no setting 'splits.imagery.settings.colour'"),
        (of_imagery(brightness="much"), "'splits.imagery.settings.brightness' is 'much'"),
        (
            of_imagery(penalty=5.0),
            "splits.imagery.settings.penalty is 5.0, but the decoder that imagery shares depends on it",
        ),
        ({"imagery": {"seed": 3}}, "splits.imagery has 'seed'; expected settings alone"),
        ({"imagery": 3}, "'splits.imagery' is 3"),
        ({"imagery": {"settings": 3}}, "splits.imagery.settings is 3"),
        ({"dreams": {"settings": {}}}, "settings for split 'dreams', which is not tested beside test (imagery is)"),
    ],
)
def test_settings_of_a_split_are_read_strictly(table, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Run.create("made/run", config("imagery", splits=table))


def test_they_are_typed_in_a_file_or_on_the_line(place, capsys):
    (place / "settings.toml").write_text("[splits.imagery.settings]\nbrightness = 0.5\n")
    line = ["fit", "painter", "arrays:mine", "--features", "made/features"]
    asked = {"file": ["--config", "settings.toml"], "line": ["--set", "splits.imagery.settings.brightness=0.5"]}
    for name, more in asked.items():
        assert run_command([*line, "--out", f"made/{name}", "--beside", "imagery", *more]) == 0
        assert RunConfig.read(f"made/{name}/splits/imagery/config.toml").settings.brightness == 0.5
        words = "which is not tested beside test; pass --beside imagery"
        assert words in refused(capsys, *line, "--out", "made/other", *more)


# The datasets that have further splits


def test_generic_object_decoding(place):
    made = God(place / "made" / "god")
    made.draw_pictures()
    run, scored = whole_way(place / "made" / "run", config("imagery", source=f"god:{made.root}"), CONTROLS[:1])
    assert sorted(run.splits["imagery"].stimulus_ids) == sorted(made.imagined)
    assert "so that imagery is not scored" in scored["imagery"].why_not and scored["test"].scores is not None


def test_deep_image_reconstruction(place):
    made = Dir(place / "made" / "dir")
    (made.root / "images").mkdir()
    for row, name in enumerate(name for split in ("train", "test", "shapes") for name in made.codes[split]):
        picture = np.random.default_rng(row).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(picture).save(made.root / "images" / f"{name}.png")
    run, scored = whole_way(place / "made" / "run", config("all", source=f"dir:{made.root}"), CONTROLS[:1])
    assert list(run.splits) == ["test", "shapes", "letters", "imagery"]
    assert [name for name, one in scored.items() if one.scores is not None] == ["test", "shapes"]
    assert scored["shapes"].scores.data["split"] == "shapes" and LearnColour.fitted == [10]
