"""Files of LAION-fMRI that cannot be used: one sentence each, exit code 2, and nothing written."""

import json
import shutil

import h5py
import numpy as np
import pytest
from damage import cut
from laion_fmri_files import AFFINE, LaionFmri, packed, volume

import brainrecon.datasets as datasets
from brainrecon.cli.main import run_command
from stages.ground.errors import InputError

NAME = "sub-01"


def table(change):
    """Change the lines of the second session's table, the head among them."""

    def damage(written):
        path = written.trials_file(NAME, 2)
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")

    return damage


def cell(row, column, value):
    def change(lines):
        cells = lines[row].split("\t")
        cells[column] = value
        return [*lines[:row], "\t".join(cells), *lines[row + 1 :]]

    return table(change)


def rows_of_one_volume(lines):
    one, other = lines[1].split("\t"), lines[2].split("\t")
    return [lines[0], lines[1], "\t".join([*other[:2], one[2], other[3]]), *lines[3:]]


def rewrite(path, values, affine=AFFINE):
    path.unlink()
    volume(values, path, affine=affine)


def other_grid(written):
    rewrite(written.betas_file(NAME, 4), np.zeros((3, 3, 3, 8), np.float32))


def other_affine(written):
    values = np.moveaxis(written.betas[NAME, 4], 0, -1)
    rewrite(written.betas_file(NAME, 4), values, AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 0.5)


def split(change):
    """Change the JSON of the split tau."""

    def damage(written):
        path = written.split_file(NAME, "tau")
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def both_sides(content):
    first = content["variants"][0]
    first["test_ids"][0] = first["train_ids"][0]


def pictures(change):
    """Write the packed pictures anew."""

    def damage(written):
        with h5py.File(written.pictures_file, "r+") as file:
            change(file)

    return damage


def no_bytes(file):
    del file["images"]
    file["images"] = np.zeros((5, 4, 4, 3), np.uint8)


def spoil_one(file):
    for row in range(len(file["images"])):
        file["images"][row] = np.frombuffer(b"no picture at all", np.uint8)


def other_sizes(written):
    label = written.unique[NAME][0]
    names = written.metadata_file.read_text().splitlines()[1:]
    row = [line.split(",")[0] for line in names].index(label)
    with h5py.File(written.pictures_file, "r+") as file:
        file["images"][row] = np.frombuffer(packed(np.zeros((9, 7, 3), np.uint8), "PNG"), np.uint8)


def lines_of(path, change):
    def damage(written):
        file = path(written)
        file.write_text("\n".join(change(file.read_text(encoding="utf-8").splitlines())) + "\n", encoding="utf-8")

    return damage


def metadata(written):
    return written.metadata_file


def captions(written):
    return written.captions_file


def in_place_of(path):
    """A folder where a file should be."""

    def damage(written):
        path(written).unlink()
        path(written).mkdir()

    return damage


def ceiling(written):
    values = written.ceilings[NAME, 12].copy()
    values[0] = 140
    rewrite(written.ceiling_file(NAME, 12), values)


def roi(written):
    return written.roi_file(NAME, "face", "OFA")


CASES = {
    "no folder": (lambda w: shutil.rmtree(w.root), {}, "is no folder; expected some below derivatives"),
    "empty folder": (
        lambda w: shutil.rmtree(w.root / "derivatives"),
        {},
        "holds no subject; expected some below derivatives/glmsingle",
    ),
    "absent subject": (None, {"subject": "sub-09"}, r"has no subject 'sub-09'; it has sub-01, sub-03"),
    "no sessions": (
        lambda w: [w.betas_file(NAME, session).unlink() for session in (1, 2, 4)],
        {},
        "sub-01 holds no session with betas; expected .*ses-01",
    ),
    "absent session": (None, {"sessions": "1-3"}, "lacks session 3 of those asked for"),
    "bad sessions": (None, {"sessions": "first"}, "sessions is 'first'; expected numbers from 1 on"),
    "no table": (lambda w: w.trials_file(NAME, 2).unlink(), {}, "has no table of trials beside it"),
    "empty table": (lambda w: w.trials_file(NAME, 2).write_text(""), {}, "has no rows; expected the columns"),
    "table with commas": (
        table(lambda lines: [line.replace("\t", ",") for line in lines]),
        {},
        "expected the columns session",
    ),
    "no column": (table(lambda lines: [lines[0].replace("label", "picture"), *lines[1:]]), {}, "expected the columns"),
    "two columns": (table(lambda lines: [lines[0].replace("session", "label"), *lines[1:]]), {}, "two columns label"),
    "not UTF-8": (lambda w: w.trials_file(NAME, 2).write_bytes(b"label\xff\xfe\n"), {}, "no text in UTF-8"),
    "a row too few": (table(lambda lines: lines[:-1]), {}, r"has \d+ rows but .* \d+ volumes; fetch both again"),
    "a row too many": (table(lambda lines: [*lines, lines[-1]]), {}, r"has \d+ rows but .* \d+ volumes"),
    "volume out of range": (cell(1, 2, "999"), {}, "names volume 999 but .* counted from 0"),
    "volume below 0": (cell(1, 2, "-1"), {}, "has beta_index '-1'; expected a whole number from 0 on"),
    "volume in parts": (cell(1, 2, "1.5"), {}, "has beta_index '1.5'; expected a whole number"),
    "a volume twice": (table(rows_of_one_volume), {}, "Rows 2 and 3 of .* both name volume"),
    "another session": (cell(1, 0, "ses-09"), {}, "is of session 9 but its place is that of session 2"),
    "no run": (cell(1, 1, ""), {}, "has run ''; expected a whole number from 1 on"),
    "run 0": (cell(1, 1, "0"), {}, "has run '0'; expected a whole number from 1 on"),
    "no picture": (cell(2, 3, "n/a"), {}, "Row 3 of .* names no picture"),
    "a picture nobody knows": (cell(1, 3, "shared_12rep_LAION_cluster_77777_i9.jpg"), {}, "has no row for 1 of"),
    "betas cut": (lambda w: cut(w.betas_file(NAME, 2)), {"read": True}, "cannot be read as NIfTI"),
    "betas are none": (lambda w: w.betas_file(NAME, 2).write_bytes(b"no" * 4000), {}, "cannot be read as NIfTI"),
    "betas empty": (lambda w: w.betas_file(NAME, 2).write_bytes(b""), {}, "cannot be read as NIfTI"),
    "one volume": (
        lambda w: rewrite(w.betas_file(NAME, 4), np.zeros(w.shape, np.float32)),
        {},
        r"has shape \(5, 6, 4\); expected \(x, y, z, trials\)",
    ),
    "betas on another grid": (other_grid, {}, r"is on a grid of \(3, 3, 3\) voxels but .*R2mean.* on \(5, 6, 4\)"),
    "betas elsewhere": (other_affine, {}, "voxels both but different affines"),
    "no brain": (lambda w: w.r2_file(NAME).unlink(), {}, "R2mean_statmap.nii.gz, which says where the brain is"),
    "brain of no voxel": (
        lambda w: rewrite(w.r2_file(NAME), np.full(w.shape, np.nan, np.float32)),
        {},
        "holds no value above 0, and so no voxel",
    ),
    "brain of four axes": (
        lambda w: rewrite(w.r2_file(NAME), np.ones((*w.shape, 2), np.float32)),
        {},
        r"has shape \(5, 6, 4, 2\); expected \(x, y, z\)",
    ),
    "brain cut": (lambda w: cut(w.r2_file(NAME)), {}, "cannot be read as NIfTI"),
    "region on another grid": (
        lambda w: rewrite(roi(w), np.ones((2, 2, 2), np.uint8)),
        {},
        r"is on a grid of \(2, 2, 2\)",
    ),
    "region of labels": (lambda w: rewrite(roi(w), np.full(w.shape, 3, np.uint8)), {}, "holds 3 beside 0 and 1"),
    "region cut": (lambda w: cut(roi(w)), {}, "cannot be read as NIfTI"),
    "region is a folder": (in_place_of(roi), {}, "OFA_mask.nii.gz cannot be read as NIfTI"),
    "unknown roi": (None, {"roi": "V9"}, "has no roi 'V9'; it has FFA-1, FFA-2"),
    "roi without voxels": (
        lambda w: rewrite(roi(w), np.zeros(w.shape, np.uint8)),
        {"roi": "OFA"},
        "'OFA' .* has no voxels",
    ),
    "roi that cannot be read": (None, {"roi": "OFA + ("}, "cannot be read"),
    "ceiling above 100": (ceiling, {}, "holds values from .* to 140; expected percent, 0 to 100"),
    "ceiling on another grid": (
        lambda w: rewrite(w.ceiling_file(NAME, 12), np.ones((2, 2, 2), np.float32)),
        {},
        r"12rep_statmap.nii.gz is on a grid of \(2, 2, 2\)",
    ),
    "NaN": (
        lambda w: rewrite(w.betas_file(NAME, 4), np.moveaxis(np.full_like(w.betas[NAME, 4], np.nan), 0, -1)),
        {"read": True},
        "voxels hold NaN or infinite betas in session 4",
    ),
    "no such split": (None, {"split": "best"}, "split is 'best'; expected one of 'shared', 'ood'"),
    "no such part": (
        None,
        {"split": "random", "number": 5},
        "number is 5; expected which part of random is tested, 0 to 4",
    ),
    "part of one": (None, {"split": "tau", "number": 1}, "number is 1 but split=tau has one part"),
    "no such pool": (None, {"split": "tau", "pool": "all"}, "pool is 'all'; expected one of 'own', 'shared'"),
    "pool without a split": (None, {"pool": "own"}, "pool matters for split=ood, tau, random and cluster"),
    "absent split": (
        lambda w: w.split_file(NAME, "tau").unlink(),
        {"split": "tau"},
        "There is no .*tau.json; fetch it with",
    ),
    "split is no JSON": (lambda w: cut(w.split_file(NAME, "tau")), {"split": "tau"}, "cannot be read as JSON"),
    "split is a list": (lambda w: w.split_file(NAME, "tau").write_text("[]"), {"split": "tau"}, "holds list where"),
    "split of another name": (
        split(lambda c: c.update(name="ood")),
        {"split": "tau"},
        "holds the split 'ood' and not 'tau'",
    ),
    "split without variants": (
        split(lambda c: c.update(variants=[])),
        {"split": "tau"},
        "no list of pictures train_ids",
    ),
    "split of numbers": (
        split(lambda c: c["variants"][0].update(test_ids=[1, 2])),
        {"split": "tau"},
        "no list of pictures test_ids in its first variant",
    ),
    "split that was cut": (
        split(lambda c: c["variants"][0]["train_ids"].pop()),
        {"split": "tau"},
        "says that n_train is",
    ),
    "a picture on both sides": (split(both_sides), {"split": "tau"}, "twice; a picture is trained on or tested"),
    "split of other pictures": (
        split(lambda c: c.update(variants=[{"train_ids": ["a"], "test_ids": ["b"]}], n_train=1, n_test=1)),
        {"split": "tau"},
        "have no train trial of split=tau",
    ),
    "pictures without names": (lambda w: w.metadata_file.unlink(), {}, "has no table of names beside it"),
    "a name too few": (lines_of(metadata, lambda lines: lines[:-1]), {}, r"has \d+ pictures but .* \d+ rows"),
    "a name twice": (lines_of(metadata, lambda lines: [*lines[:-1], lines[1]]), {}, "names .* twice; fetch it again"),
    "names of another column": (
        lines_of(metadata, lambda lines: [lines[0].replace("image_name", "file"), *lines[1:]]),
        {},
        "expected the columns image_name",
    ),
    "pictures cut": (lambda w: cut(w.pictures_file), {}, "cannot be read as HDF5"),
    "pictures are none": (lambda w: w.pictures_file.write_text("no" * 2000), {}, "cannot be read as HDF5"),
    "no images": (pictures(lambda file: file.move("images", "pictures")), {}, "has no dataset 'images' but pictures"),
    "unpacked images": (pictures(no_bytes), {}, "expected the bytes of a file for each picture"),
    "spoilt pictures": (pictures(spoil_one), {}, "in .*stimuli.h5 cannot be read .*fetch the file again"),
    "pictures of two sizes": (other_sizes, {}, "pass image_size=7, for example, to bring all to one size"),
    "bad size": (None, {"image_size": "big"}, "image_size is 'big'; expected"),
    "no captions of a picture": (
        lines_of(captions, lambda lines: [line for line in lines if "unique" not in line]),
        {"read": True},
        "captions for 0 of 6 stimuli",
    ),
    "captions without a rank": (
        lines_of(captions, lambda lines: [lines[0], "a,first,human,a cat,,,", *lines[1:]]),
        {"read": True},
        "Row 2 of .* has caption_idx 'first'; expected a number",
    ),
    "captions of other columns": (
        lines_of(captions, lambda lines: [lines[0].replace("source", "origin"), *lines[1:]]),
        {"read": True},
        "expected the columns image_name, caption_idx, source, caption",
    ),
    "bad zscore": (None, {"zscore": "often"}, "zscore is 'often'; expected one of True, False"),
    "z-scores of a session without training": (
        lambda w: w.trials_file(NAME, 2).write_text(
            "session\trun\tbeta_index\tlabel\n"
            + "".join(f"ses-02\t1\t{row}\t{w.shared[0]}\n" for row in range(len(w.trials[NAME, 2])))
        ),
        {"zscore": True},
        "Session 2 of sub-01 has 0 training trials; z-scoring within sessions needs 2",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return LaionFmri(tmp_path_factory.mktemp("whole") / "laion", n_unique=6)


@pytest.fixture
def written(whole, tmp_path):
    """A copy that may be spoilt."""
    shutil.copytree(whole.root, tmp_path / "laion")
    copy = object.__new__(LaionFmri)
    vars(copy).update(vars(whole))
    copy.root = tmp_path / "laion"
    return copy


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_used_is_one_sentence(written, case):
    damage, options, told = CASES[case]
    if damage:
        damage(written)
    with pytest.raises(InputError, match=told) as caught:
        subject = datasets.load(f"laion-fmri:{written.root}", **{k: v for k, v in options.items() if k != "read"})
        if options.get("read"):
            for split in subject.splits.values():
                split.captions, np.asarray(split.betas)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")


THROUGH_THE_COMMAND_LINE = (
    "a row too few",
    "betas cut",
    "no brain",
    "absent split",
    "absent subject",
    "region of labels",
)


@pytest.mark.parametrize("case", THROUGH_THE_COMMAND_LINE)
def test_through_the_command_line_nothing_is_written(written, tmp_path, capsys, case):
    damage, options, told = CASES[case]
    if damage:
        damage(written)
    line = ["run", "ridge-to-pixels", f"laion-fmri:{written.root}", "--out", str(tmp_path / "run"), "--weights", "tiny"]
    line += ["--features", str(tmp_path / "features")]
    for name, value in options.items():
        if name == "subject":
            line += ["--subject", value]
        elif name != "read":
            line += ["--option", f"{name}={value}"]
    assert run_command(line) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in err and err
    assert not (tmp_path / "run" / "pictures").exists() and not list(tmp_path.glob("run/**/*.png"))
