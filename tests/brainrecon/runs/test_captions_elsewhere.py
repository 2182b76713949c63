"""Captions from elsewhere: each form of a file gives the same captions, and what does not fit is told."""

import json
import shutil

import numpy as np
import pytest

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.leaderboard.collect import collect
from brainrecon.runs.captions_elsewhere import captions_elsewhere
from stages.ground.errors import InputError

IDS = ["s3", "s1", "s2"]
SAID = {"s1": "a dog, running", "s2": "two people on a beach", "s3": "a red bus"}
IN_ORDER = [SAID[name] for name in IDS]

FORMS = {
    "object.json": json.dumps(SAID),
    "results.json": json.dumps([{"image_id": name, "caption": text} for name, text in SAID.items()]),
    "numbered.json": json.dumps([{"image_id": row, "caption": SAID[name]} for row, name in enumerate(IDS)][::-1]),
    "rows.json": json.dumps(IN_ORDER),
    "table.csv": "stimulus_id,caption\n" + "\n".join(f'{name},"{text}"' for name, text in SAID.items()),
    "table.tsv": "caption\tid\n" + "\n".join(f"{text}\t{name}" for name, text in SAID.items()),
    "alone.csv": "caption\n" + "\n".join(f'"{text}"' for text in IN_ORDER),
    "lines.txt": "\n".join(IN_ORDER),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same(name, tmp_path):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8")
    ids, captions, told = captions_elsewhere(tmp_path / name, IDS)
    assert (ids, captions) == (IDS, IN_ORDER)
    # The order of the test set was assumed if the file names no stimulus of it.
    assert bool(told) == (name in ("numbered.json", "rows.json", "alone.csv", "lines.txt"))


def test_samples_others_and_absent_ones_are_told(tmp_path):
    path = tmp_path / "said.json"
    path.write_text(json.dumps({"s2": ["a beach", "sand"], "s1": "a dog", "elsewhere": "a cat"}))
    ids, captions, told = captions_elsewhere(path, IDS)
    assert (ids, captions) == (["s1", "s2", "s2"], ["a dog", "a beach", "sand"])
    assert "captions of 1 stimuli in said.json are of no test stimulus" in told[0]
    assert "1 of 3 test stimuli have no caption in said.json, the first is s3: scores are of the other 2" in told[1]


def test_rows_in_another_order_take_their_ids(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(SAID.values()))
    assert captions_elsewhere(path, IDS, list(SAID)).captions == IN_ORDER
    assert captions_elsewhere(path, IDS, list(SAID)).told == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent.json", None, "There is no file .*absent.json of captions"),
        ("said.xml", "<a/>", "There is no file .*said.xml of captions"),
        ("number.json", "3", "holds 3; expected an object of stimulus id to caption"),
        ("broken.json", "{", "JSON"),
        ("empty.json", "{}", "holds no caption"),
        ("null.json", '{"s1": null}', "has None for stimulus s1; expected a caption"),
        (
            "keys.json",
            '[{"name": "s1", "said": "x"}]',
            "Entry 0 of .* has the keys name, said; expected image_id and caption",
        ),
        ("mixed.json", '["a", {"id": "s1", "caption": "b"}]', "of some captions and not of others"),
        ("strangers.json", '{"x": "a"}', "None of the 1 ids of .* is a test stimulus, the first is x"),
        ("few.txt", "one\ntwo", "has 2 captions but there are 3 test stimuli"),
        ("heads.csv", "a,b\n1,2", "begins with a, b; expected a header"),
        ("cells.csv", "id,caption\ns1,a, b", "Line 2 of .* has 3 cells and the header 2"),
        ("latin.txt", b"caf\xe9", "cannot be read as text"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(name, text, said, tmp_path):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said):
        captions_elsewhere(tmp_path / name, IDS)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Arrays with captions and without pictures."""
    path, rng = tmp_path_factory.mktemp("study") / "mine.npz", np.random.default_rng(0)
    ids = np.array([f"s{number}" for number in range(12)])
    said = np.array(
        [[f"a {colour} dog number {number}", "an animal"] for number, colour in enumerate(["red", "blue"] * 6)]
    )
    split = np.array(["train"] * 8 + ["test"] * 4)
    betas = rng.normal(size=(12, 20)).astype(np.float32)
    np.savez(path, betas=betas, stimulus_ids=ids, split=split, captions=said, image_ids=ids)
    return path, dict(zip(ids[8:].tolist(), said[8:].tolist()))


def line_of(study, captions, out, *more):
    return [
        str(part) for part in ("evaluate", "--captions", captions, "--truth", f"arrays:{study[0]}", "--out", out, *more)
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="the protocol's tokeniser needs Java")
def test_captions_are_scored_without_pictures_and_stand_in_a_table(study, tmp_path, capsys):
    path, out = tmp_path / "theirs.json", tmp_path / "bench" / "theirs" / "subj01" / "all"
    path.write_text(json.dumps({name: own[0] for name, own in study[1].items()}))
    assert run_command(line_of(study, path, out)) == 0
    scores = Scores.from_json(out / "scores" / "brainhub-2024.json")
    # Each is the first of its true captions, word for word.
    assert scores.corpus["reconstruction"]["bleu_4"] == pytest.approx(1)
    assert "captions of the corpus" in capsys.readouterr().out
    assert json.loads((out / "external.json").read_text()) == {"name": "theirs", "captions": 4, "stimuli": 4}
    assert "captions from elsewhere" in str(collect(tmp_path / "bench"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--protocol", "brainrecon-1"], "brainrecon-1 scores no captions"),
        (["--pattern", "{id}.png"], "--pattern and --folds go with --images"),
        (["--again"], "Captions from elsewhere are scored anew"),
        (["--controls", "all"], "leave --controls and --control-stimuli out with --captions"),
        (["--images", "somewhere"], "Evaluate takes a run folder, or pictures with --images, or captions"),
    ],
)
def test_options_that_do_not_go_with_captions_are_told(more, said, study, tmp_path, capsys):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(study[1]))
    assert run_command(line_of(study, path, tmp_path / "out", *more)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_data_without_true_captions_are_told(study, tmp_path, capsys):
    with np.load(study[0]) as arrays:
        np.savez(tmp_path / "mute.npz", **{name: arrays[name] for name in arrays if name != "captions"})
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(study[1]))
    assert run_command(line_of((tmp_path / "mute.npz",), path, tmp_path / "out")) == 2
    assert "has no true captions of its test stimuli" in " ".join(capsys.readouterr().err.split())
