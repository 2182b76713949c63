"""Whatever is wrong with the files of a further experiment is one sentence, and nothing is written."""

import re
import shutil

import h5py
import numpy as np
import pytest
import scipy.io
from damage import cut
from nsd_files import write_hdf5_betas
from nsd_further_files import TARGETS, write_brick, write_nsd_further

from brainrecon.cli.main import run_command
from brainrecon.datasets import load


def design(further, **changes):
    content = {name: value for name, value in scipy.io.loadmat(further.design).items() if name[0] != "_"} | changes
    scipy.io.savemat(further.design, {name: value for name, value in content.items() if value is not None})


def cells(*rows):
    found = np.empty((len(rows), 3), dtype=object)
    for place, row in enumerate(rows):
        found[place] = row
    return {"pair_list": found}


def lines(path, change):
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join(change(head, rows)) + "\n")


def unknown_experiment(further):
    return {"also": "synthetics"}


def an_experiment_that_is_a_number(further):
    return {"also": 3}


def unknown_scale(further):
    return {"also_scale": "subject"}


def unknown_luminance(further):
    return {"luminance": "bright"}


def no_synthetic_betas(further):
    further.betas("synthetic").unlink()


def imagery_of_another_version(further):
    folder = further.betas("imagery").parent
    folder.rename(folder.with_name("nsdimagerybetas_fithrf"))


def none_at_all(further):
    for experiment in ("synthetic", "imagery"):
        shutil.rmtree(further.betas(experiment).parent)
    return {"also": "all"}


def betas_that_are_a_folder(further):
    further.betas("imagery").unlink()
    further.betas("imagery").mkdir()


def truncated_betas(further):
    cut(further.betas("synthetic"), 0.8)


def betas_of_another_subject_s_volume(further):
    write_hdf5_betas(further.betas("imagery"), further.stored["imagery"]["subj01"][:-1])


def fewer_synthetic_betas(further):
    write_hdf5_betas(further.betas("synthetic"), further.stored["synthetic"]["subj01"][..., :-1])


def fewer_imagery_betas(further):
    write_hdf5_betas(further.betas("imagery"), further.stored["imagery"]["subj01"][..., :-1])


def nan_in_betas(further):
    values = further.stored["imagery"]["subj01"].astype(np.float32)
    values[(*np.argwhere(further.nsd.rois["subj01"]["nsdgeneral"] > 0)[0], 3)] = np.nan
    write_hdf5_betas(further.betas("imagery"), values)


def no_design(further):
    further.design.unlink()


def damaged_design(further):
    further.design.write_bytes(b"no MATLAB file at all" * 20)


def design_without_order(further):
    design(further, masterordering=None)


def design_from_zero(further):
    design(further, masterordering=np.array([further.order]))


def design_of_halves(further):
    design(further, masterordering=np.array([further.order]) + 1.5)


def pattern_of_another_length(further):
    design(further, stimpattern=np.ones((1, 2, 2)))


def pattern_of_text(further):
    design(further, stimpattern="runs")


def runs_that_nobody_says(further):
    design(further, stimpattern=None)
    return {"also": "synthetic", "also_scale": "run"}


def a_picture_that_no_file_has(further):
    write_brick(further.brick(), further.shared[:1])
    write_brick(further.brick("subj01"), further.own["subj01"][:1])


def grey_pictures(further):
    write_brick(further.brick(), further.shared[..., 0])


def pictures_of_floats(further):
    write_brick(further.brick("subj01"), further.own["subj01"].astype(np.float32))


def pictures_under_another_name(further):
    with h5py.File(further.brick(), "w") as file:
        file["pictures"] = further.shared


def truncated_pictures(further):
    cut(further.brick("subj01"), 0.5)


def table_without_a_picture(further):
    lines(further.table, lambda head, rows: [head, *rows[:1]])


def table_with_a_picture_twice(further):
    lines(further.table, lambda head, rows: [head, rows[0], *rows])


def table_without_a_column(further):
    further.table.write_text("Image number,Image\n1,x\n")


def table_that_is_no_text(further):
    further.table.write_bytes(bytes(range(128, 256)))


def no_tables(further):
    for path in further.run("visA").parent.iterdir():
        path.unlink()


def a_run_without_its_table(further):
    further.run("attB").unlink()


def two_tables_of_a_run(further):
    shutil.copy(further.run("visA"), further.run("imgA_1"))


def a_table_of_two_runs(further):
    lines(further.run("visA"), lambda head, rows: [head, *rows, rows[0].replace("\t1\t1\t", "\t1\t2\t", 1)])


def a_trial_twice(further):
    lines(
        further.run("imgB_1"),
        lambda head, rows: [head, rows[0], *rows[1:-1], rows[0]] if len(rows) > 1 else [head, *rows * 2],
    )


def a_table_without_conditions(further):
    lines(further.run("imgA_2"), lambda head, rows: [head.replace("CONDITION", "COND"), *rows])


def a_table_without_rows(further):
    lines(further.run("imgC_2"), lambda head, rows: [head])


def a_run_called_one(further):
    lines(further.run("visB"), lambda head, rows: [head, *(row.replace("\t4\t", "\tfour\t", 1) for row in rows)])


def an_unknown_cue(further):
    lines(further.run("imgA_1"), lambda head, rows: [head, *(row.replace("\tH\t", "\tQ\t") for row in rows)])


def no_targets(further):
    further.pairs("A").unlink()


def damaged_targets(further):
    further.pairs("B").write_bytes(b"nothing" * 40)


def targets_without_cells(further):
    scipy.io.savemat(further.pairs("B"), {"pair_list": np.ones((6, 3))})


def targets_under_another_name(further):
    scipy.io.savemat(further.pairs("B"), {"pairs": np.ones((6, 3))})


def a_cue_twice(further):
    scipy.io.savemat(further.pairs("C"), cells((1, "banana", "N"), (2, "zebra", "N")))


def a_cue_that_is_a_number(further):
    scipy.io.savemat(further.pairs("C"), cells((1, "banana", 5), (2, "zebra", "Z")))


def a_target_outside_the_folder(further):
    scipy.io.savemat(further.pairs("B"), cells((1, "../../secret.png", "W"), (2, "shared0000_nsd00000.png", "T")))


def a_target_that_is_no_picture(further):
    further.target("A", TARGETS["A"]["H"]).write_bytes(b"no picture")


def a_truncated_target(further):
    cut(further.target("B", TARGETS["B"]["W"]), 0.6)


CASES = {
    unknown_experiment: r"also is 'synthetics'; expected synthetic, imagery.*did you mean 'synthetic'",
    an_experiment_that_is_a_number: "also is 3; expected synthetic, imagery",
    unknown_scale: "also_scale is 'subject'; expected one of 'training', 'session', 'run'",
    unknown_luminance: "luminance is 'bright'; expected one of 'matched', 'stored'",
    no_synthetic_betas: r"There is no .*betas_nsdsynthetic\.hdf5; subj01 has no synthetic in func1pt8mm.*--option also=synthetic",
    imagery_of_another_version: r"There is no .*betas_nsdimagery\.hdf5; it has imagery of betas=b2",
    none_at_all: "holds neither synthetic nor imagery of betas_fithrf_GLMdenoise_RR",
    betas_that_are_a_folder: r"betas_nsdimagery\.hdf5 is a folder",
    truncated_betas: r"betas_nsdsynthetic\.hdf5 cannot be read as HDF5 .*truncated",
    betas_of_another_subject_s_volume: r"betas_nsdimagery\.hdf5 .*\(6, 5, 4\) but the regions have \(7, 5, 4\)",
    fewer_synthetic_betas: r"betas_nsdsynthetic\.hdf5 have \d+ trials but .*nsdsynthetic_expdesign\.mat \d+; take",
    fewer_imagery_betas: r"betas_nsdimagery\.hdf5 have \d+ trials but the tables of runs 1, 2, .* stand for \d+ \(two for",
    nan_in_betas: r"1 of \d+ voxels hold NaN or infinite betas in session 1 \(.*betas_nsdimagery\.hdf5\)",
    no_design: r"There is no .*nsdsynthetic_expdesign\.mat; copy it",
    damaged_design: r"nsdsynthetic_expdesign\.mat cannot be read as a MATLAB file",
    design_without_order: r"nsdsynthetic_expdesign\.mat has no masterordering",
    design_from_zero: r"masterordering has \d+ trials from picture 0 on; expected numbers from 1 on",
    design_of_halves: "masterordering is float64 .*; expected whole numbers",
    pattern_of_another_length: r"stimpattern has 4 trials but masterordering \d+",
    pattern_of_text: "stimpattern is <U4 .*; expected numbers",
    runs_that_nobody_says: "also_scale is 'run' but the design of synthetic does not say",
    a_picture_that_no_file_has: r"design shows picture \d .* holds 1 and nsdsynthetic_colorstimuli_subj01\.hdf5 1; take",
    grey_pictures: r"'imgBrick' in .*nsdsynthetic_stimuli\.hdf5 is uint8 \(5, 10, 18\); expected",
    pictures_of_floats: r"'imgBrick' in .*colorstimuli_subj01\.hdf5 is float32",
    pictures_under_another_name: r"nsdsynthetic_stimuli\.hdf5 has no dataset 'imgBrick' but pictures",
    truncated_pictures: r"colorstimuli_subj01\.hdf5 cannot be read as HDF5",
    table_without_a_picture: r"imageinformation\.csv lists 1 pictures but not Image number \d",
    table_with_a_picture_twice: r"imageinformation\.csv has Image number 1 in two rows",
    table_without_a_column: r"imageinformation\.csv cannot be read as a table with Image number and Image class",
    table_that_is_no_text: r"imageinformation\.csv cannot be read as a table",
    no_tables: r"There is no .*nsdimagery_subj01_visA\.tsv, nor a table of another run; copy the 12 tables",
    a_run_without_its_table: r"have \d+ trials but the tables of runs 1, 2, 3, 4, 6, .* stand for",
    two_tables_of_a_run: r"nsdimagery_subj01_\w+\.tsv and nsdimagery_subj01_\w+\.tsv are both of run 1",
    a_table_of_two_runs: r"visA\.tsv has \d+ trials of 2 runs; expected one",
    a_trial_twice: r"imgB_1\.tsv does not have each trial from 1 to \d+ once",
    a_table_without_conditions: r"imgA_2\.tsv cannot be read as a table with RUN, TRIAL and CONDITION",
    a_table_without_rows: r"imgC_2\.tsv (has 0 trials of 0 runs|cannot be read as a table)",
    a_run_called_one: r"visB\.tsv cannot be read as a table .*four",
    an_unknown_cue: r"A trial of set A has CONDITION 'Q' but .*A_pair_list\.mat has H, R, P",
    no_targets: r"There is no .*A_pair_list\.mat; copy it",
    damaged_targets: r"B_pair_list\.mat cannot be read as a MATLAB file",
    targets_without_cells: r"B_pair_list\.mat has pair_list of float64 \(6, 3\); expected cells \(n, 3\)",
    targets_under_another_name: r"B_pair_list\.mat has no pair_list; expected cells",
    a_cue_twice: r"C_pair_list\.mat has cue 'N' or target 'zebra' twice",
    a_cue_that_is_a_number: r"C_pair_list\.mat has a cue that is u?int\d+ \(1, 1\); expected a text",
    a_target_outside_the_folder: r"B_pair_list\.mat names a target '\.\./\.\./secret\.png', which is no file's name",
    a_target_that_is_no_picture: r"bar_000\.0deg_450L_43W\.png cannot be read as",
    a_truncated_target: r"shared0385_nsd28752\.png cannot be read as",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_nsd_further(tmp_path_factory.mktemp("whole") / "nsd", n_subjects=1)


@pytest.fixture
def further(whole, tmp_path, monkeypatch):
    shutil.copytree(whole.root, tmp_path / "nsd")
    monkeypatch.setattr(whole.nsd, "root", tmp_path / "nsd")
    return whole


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: spoil.__name__)
def test_one_sentence_and_nothing_is_written(spoil, further, tmp_path, capsys):
    options = {"also": "synthetic,imagery"} | (spoil(further) or {})
    line = ["data", "prepare", f"nsd:{further.root}", "--out", str(tmp_path / "prepared")]
    for name, value in options.items():
        line += ["--option", f"{name}={value}"]
    before = sorted(tmp_path.rglob("*"))
    assert run_command(line) == 2
    told = [text for text in capsys.readouterr().err.splitlines() if not re.search(r": \d+/\d+ \(\d+ %\)", text)]
    assert len(told) == 1 and re.search(CASES[spoil], told[0]) and told[0].endswith(".")
    # What is wrong with single values is found while they are copied; what was copied until then stays, to be gone on with.
    assert spoil is nan_in_betas or sorted(tmp_path.rglob("*")) == before


def test_the_core_loads_whatever_is_wrong_with_the_others(further):
    for spoil in (damaged_design, truncated_betas, damaged_targets, no_tables, truncated_pictures):
        spoil(further)
    assert load(f"nsd:{further.root}").train.n_stimuli == 5


def test_there_are_enough_cases():
    assert len(CASES) >= 45
