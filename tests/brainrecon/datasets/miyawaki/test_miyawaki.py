"""Every trial of the three copies, against what an independent writer put there, and every damage in one sentence."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import scipy.signal

from brainrecon.datasets.miyawaki import reader as miyawaki
from stages.ground.errors import InputError

AFFINE = np.diag([3.0, 3, 3, 1])
SEEDS = (0, 1, 2)


def draw_patterns(rng, n):
    """Upright binary patterns, no two of them equal (bar a miracle)."""
    return rng.integers(0, 2, (n, 10, 10))


def fortran(pattern):
    return pattern.flatten(order="F")


@dataclass
class Nilearn:
    root: Path
    mask: np.ndarray = None
    regions: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)  # (part, number) -> (volumes (x, y, z, t), pattern or None of each)

    def func(self, part="random", number=1):
        return self.root / f"func/data_{part}_run{number:02d}.nii.gz"

    def label(self, part="random", number=1):
        return self.root / f"label/data_{part}_run{number:02d}_label.csv"

    def mask_file(self, name="mask"):
        return self.root / f"mask/{name}.nii.gz"


def write_nifti(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def write_labels(path, shown):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[-1] * 100 if pattern is None else fortran(pattern).tolist() for pattern in shown]
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def write_nilearn(root, seed=0, n_random=3, n_figure=2):
    rng = np.random.default_rng(seed)
    written = Nilearn(root)
    shape = (5, 4, 3)
    written.mask = rng.random(shape) < 0.6
    write_nifti(written.mask_file(), written.mask.astype(np.uint8))
    for name in ("LHV1d", "LHV1v", "RHV1d", "RHV1v", "LHV2d", "RHV3A"):
        written.regions[name] = rng.random(shape) < 0.4
    written.regions["LHVP"] = ~written.mask
    for name, region in written.regions.items():
        write_nifti(written.mask_file(name), region.astype(np.int16))
    figures = draw_patterns(rng, 3)
    for part, n_runs in (("random", n_random), ("figure", n_figure)):
        for number in range(1, n_runs + 1):
            blocks = draw_patterns(rng, 3) if part == "random" else figures[rng.permutation(3)]
            shown = [None] * int(rng.integers(1, 4))
            for pattern in blocks:
                shown += [pattern] * 3 + [None] * 2
            volumes = rng.normal(100, 10, (*shape, len(shown))) + np.arange(len(shown))
            volumes = volumes.astype(np.int16 if seed % 2 else np.float32)
            write_nifti(written.func(part, number), volumes)
            write_labels(written.label(part, number), shown)
            written.runs[part, number] = (volumes, shown)
    return written


@pytest.fixture
def nilearn(tmp_path):
    return write_nilearn(tmp_path / "miyawaki é 2008")


def expected_trials(written, part, detrend=False, shift=2):
    """(run, pattern, response) of each trial, told volume by volume."""
    for (own, number), (volumes, shown) in written.runs.items():
        if own != part:
            continue
        if detrend:
            volumes = scipy.signal.detrend(volumes.astype(float), axis=3)
        for time, pattern in enumerate(shown):
            if pattern is not None and time + shift < len(shown):
                yield number, pattern, volumes[..., time + shift][written.mask]


def check_split(split, trials):
    """A split's trials and pictures against (run, pattern, response) of each."""
    trials = list(trials)
    assert split.n_trials == len(trials) > 0
    place = {str(name): k for k, name in enumerate(split.stimulus_ids)}
    for k, (run, pattern, response) in enumerate(trials):
        np.testing.assert_allclose(split.betas[k], np.asarray(response, np.float32), rtol=1e-5, atol=1e-4)
        picture = split.images[place[split.trial_stimulus_ids[k]]]
        np.testing.assert_array_equal(picture, np.repeat(pattern[..., None] * 255, 3, axis=2))
        assert run is None or split.runs[k] == run
    assert split.n_stimuli == len({pattern.tobytes() for _, pattern, _ in trials})
    assert split.images.dtype == np.uint8 and split.images.shape == (split.n_stimuli, 10, 10, 3)
    assert split.betas.dtype == np.float32


# nilearn's folder


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift", (None, 0, 3))
def test_volumes_of_a_run_are_trials(tmp_path, seed, shift):
    written = write_nilearn(tmp_path, seed)
    subject = miyawaki.load(tmp_path, detrend=False, shift=shift)
    for split, part in ((subject.train, "random"), (subject.test, "figure")):
        trials = list(expected_trials(written, part, shift=2 if shift is None else shift))
        check_split(split, trials)
        np.testing.assert_array_equal(split.betas, np.array([response for _, _, response in trials], np.float32))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_is_taken_out_of_each_run(tmp_path, seed):
    written = write_nilearn(tmp_path, seed)
    subject = miyawaki.load(tmp_path)
    check_split(subject.train, expected_trials(written, "random", detrend=True))
    check_split(subject.test, expected_trials(written, "figure", detrend=True))
    assert subject.details == {"detrend": True, "shift": 2, "runs": {"random": [1, 2, 3], "figure": [1, 2]}}


def test_regions_and_their_unions(nilearn):
    subject = miyawaki.load(nilearn.root)
    within = {name: region[nilearn.mask] for name, region in nilearn.regions.items()}
    np.testing.assert_array_equal(subject.rois["LHV1d"], within["LHV1d"])
    np.testing.assert_array_equal(subject.rois["V1d"], within["LHV1d"] | within["RHV1d"])
    one = within["LHV1d"] | within["RHV1d"] | within["LHV1v"] | within["RHV1v"]
    np.testing.assert_array_equal(subject.rois["V1"], one)
    np.testing.assert_array_equal(subject.rois["V2d"], within["LHV2d"])
    assert not {"V2", "VP", "LHVP"} & subject.rois.keys()
    assert subject.roi == "all" and subject.train.n_voxels == nilearn.mask.sum()
    part = miyawaki.load(nilearn.root, roi="V1 + V3A")
    chosen = one | within["RHV3A"]
    np.testing.assert_array_equal(part.train.betas, subject.train.betas[:, chosen])
    np.testing.assert_array_equal(part.rois["V1"], one[chosen])
    assert part.roi == "V1 + V3A" and part.fingerprint == subject.fingerprint
    rest = miyawaki.load(nilearn.root, roi="all-V1")
    np.testing.assert_array_equal(rest.train.betas, subject.train.betas[:, ~one])


def test_what_is_said_of_the_subject(nilearn):
    subject = miyawaki.load(nilearn.root)
    assert (subject.dataset, subject.name, subject.simulated) == ("miyawaki", "subj01", False)
    assert subject.noise_ceiling is None and subject.train.captions is None and subject.train.categories is None
    assert all(name.startswith("pattern-") and "/" not in name for name in subject.test.stimulus_ids)
    assert miyawaki.load(nilearn.root).fingerprint == subject.fingerprint
    assert miyawaki.subjects(nilearn.root) == ["subj01"]
    assert "10.1016/j.neuron.2008.11.004" in miyawaki.DESCRIPTION.citation


def test_the_folder_that_nilearn_puts_it_in(nilearn):
    (nilearn.root / "data").mkdir()
    moved = nilearn.root / "data/miyawaki2008"
    moved.mkdir()
    for name in ("func", "label", "mask"):
        (nilearn.root / name).rename(moved / name)
    assert miyawaki.load(nilearn.root / "data").source == f"miyawaki:{nilearn.root / 'data'}"


def test_ids_spell_the_pattern():
    from brainrecon.datasets.miyawaki.recording import pattern_ids

    patterns = draw_patterns(np.random.default_rng(0), 50)
    for pattern, name in zip(patterns, pattern_ids(patterns)):
        bits = f"{int(name.removeprefix('pattern-'), 16):0100b}"
        np.testing.assert_array_equal(np.array(list(bits), int).reshape(10, 10), pattern)


def test_files_of_each_copy(nilearn, tmp_path):
    listed = dict(miyawaki.files(nilearn.root))
    assert {nilearn.func("figure", 2), nilearn.label(), nilearn.mask_file(), nilearn.mask_file("LHVP")} <= listed.keys()
    assert len(miyawaki.files(tmp_path / "absent")) == 2 * 32 + 39
    assert [path for path, _ in miyawaki.files(tmp_path / "any.mat")] == [tmp_path / "any.mat"]
    assert [path for path, _ in miyawaki.files(tmp_path / "any.h5")] == [tmp_path / "any.h5"]


# MATLAB files


def write_mat(path, content, version=5):
    if version == 5:
        scipy.io.savemat(path, content)
        return
    # Version 7.3 is HDF5 behind 512 bytes of MATLAB's own, with axes the other way round.
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in content.items():
            file[name] = np.asarray(value).T


def draw_mat(seed=0, n_train=12, n_test=9, n_voxels=7):
    rng = np.random.default_rng(seed)
    shown = np.concatenate([draw_patterns(rng, n_train), np.tile(draw_patterns(rng, 3), (n_test // 3, 1, 1))])
    responses = rng.normal(size=(n_voxels, n_train + n_test))
    cells = np.stack([fortran(pattern) for pattern in shown], axis=1).astype(float)
    types = np.repeat([1, 3], [n_train, n_test])[None]
    return shown, {"fmri": responses, "stim": cells, "trial_type": types}


@pytest.mark.parametrize("version", (5, 7.3))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_mat_with_types(tmp_path, seed, version):
    shown, content = draw_mat(seed)
    order = np.random.default_rng(seed).permutation(21)
    rest = order[:4]
    content["stim"][:, rest] = -1
    content["trial_type"][0, rest] = -2
    content = {name: value[:, order] for name, value in content.items()}
    content |= {"run": np.arange(21)[None] // 5 + 1, "names": np.arange(3)[None]}
    path = tmp_path / "data.mat"
    write_mat(path, content, version)
    subject = miyawaki.load(path)
    for split, low, high in ((subject.train, 0, 12), (subject.test, 12, 21)):
        places = [k for k, trial in enumerate(order) if low <= trial < high and trial not in rest]
        check_split(split, [(k // 5 + 1, shown[order[k]], content["fmri"][:, k]) for k in places])


@pytest.mark.parametrize("version", (5, 7.3))
@pytest.mark.parametrize("n_test", (9, 12))
def test_a_mat_with_pairs(tmp_path, version, n_test):
    shown, content = draw_mat(1, n_test=n_test)
    parts = {"Random": slice(0, 12), "figure": slice(12, None)}
    pairs = {f"x{part}": content["fmri"][:, own] for part, own in parts.items()}
    pairs |= {f"y_{part}": content["stim"][:, own].astype(np.uint8) for part, own in parts.items()}
    write_mat(tmp_path / "data.mat", pairs, version)
    subject = miyawaki.load(tmp_path / "data.mat")
    for split, own in ((subject.train, parts["Random"]), (subject.test, parts["figure"])):
        check_split(split, [(None, *trial) for trial in zip(shown[own], content["fmri"][:, own].T)])
    assert subject.details["variables"] == {"responses": ["xRandom", "xfigure"], "patterns": ["y_Random", "y_figure"]}


@pytest.mark.parametrize("turned", (False, True))
def test_a_mat_whose_variables_are_named(tmp_path, turned):
    shown, content = draw_mat(2)
    content = {"a": content["fmri"], "b": content["fmri"] * 2, "c": content["stim"], "d": 1 - content["stim"]}
    write_mat(tmp_path / "data.mat", {name: value.T if turned else value for name, value in content.items()})
    numbers = list(range(13, 22))
    subject = miyawaki.load(tmp_path / "data.mat", responses="b", patterns="c", test_trials=numbers)
    check_split(subject.train, [(None, *trial) for trial in zip(shown[:12], content["b"].T[:12])])
    check_split(subject.test, [(None, *trial) for trial in zip(shown[12:], content["b"].T[12:])])


def test_fields_of_a_struct_are_variables(tmp_path):
    shown, content = draw_mat()
    write_mat(tmp_path / "data.mat", {"D": {"data": content["fmri"], "label": content["stim"], "name": "s1"}})
    subject = miyawaki.load(tmp_path / "data.mat", test_trials="13-21")
    check_split(subject.test, [(None, *trial) for trial in zip(shown[12:], content["fmri"].T[12:])])


def test_flags_of_test_trials(tmp_path):
    shown, content = draw_mat()
    flags = (content.pop("trial_type") > 1).astype(np.uint8).T
    write_mat(tmp_path / "data.mat", content | {"isTest": flags})
    check_split(
        miyawaki.load(tmp_path / "data.mat").test,
        [(None, *trial) for trial in zip(shown[12:], content["fmri"].T[12:])],
    )


# BData


def write_bdata(path, columns, regions=(), extra=()):
    """Write columns (key -> (n_samples, n)) side by side; regions mark voxels with 1, extra with other numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys, rows, start = list(columns), [], 0
    n_columns = sum(value.shape[1] for value in columns.values())
    for value in columns.values():
        rows.append(np.full(n_columns, np.nan))
        rows[-1][start : start + value.shape[1]] = 1
        start += value.shape[1]
    voxels = rows[keys.index("VoxelData")] == 1 if "VoxelData" in keys else np.zeros(n_columns, bool)
    for key, values in (*dict(regions).items(), *dict(extra).items()):
        rows.append(np.full(n_columns, np.nan))
        values = np.asarray(values)
        rows[-1][voxels] = np.where(values, 1, np.nan) if values.dtype == bool else values
        keys.append(key)
    matrix = np.concatenate(list(columns.values()), axis=1).astype(float)
    with h5py.File(path, "w") as file:
        if path.suffix == ".mat":
            # MATLAB stores columns first, and texts as cells that refer to codes of characters.
            file["dataSet"], file["metaData/value"] = matrix.T, np.array(rows).T
            file["dataSet"].attrs["MATLAB_class"] = file["metaData/value"].attrs["MATLAB_class"] = np.bytes_("double")
            cells = file.create_dataset("metaData/key", (len(keys), 1), dtype=h5py.ref_dtype)
            for k, key in enumerate(keys):
                file[f"#refs#/{k}"] = np.frombuffer(key.encode("utf-16-le"), np.uint16)[:, None]
                cells[k, 0] = file[f"#refs#/{k}"].ref
            return
        file["dataset"], file["metadata/value"] = matrix, np.array(rows)
        file["metadata/key"] = np.array([key.encode() for key in keys])
        file["metadata/description"] = np.array([b"" for _ in keys])
        file.create_group("header")
        file.create_group("vmap")


def draw_bdata(seed=0, n_voxels=8):
    """Rows of a session: rest, random patterns and figures in a random order."""
    rng = np.random.default_rng(seed)
    types = rng.permutation([-1] * 6 + [1] * 9 + [2, 3, 4, 5] * 3)
    figures = dict(zip((2, 3, 4, 5), draw_patterns(rng, 4)))
    shown = np.array([figures.get(kind, pattern) for kind, pattern in zip(types, draw_patterns(rng, len(types)))])
    cells = np.array([fortran(pattern) for pattern in shown], float)
    cells[types < 0] = -1
    columns = {
        "VoxelData": rng.normal(size=(len(types), n_voxels)),
        "Run": np.arange(len(types))[:, None] // 9 + 1,
        "StimulusType": types[:, None],
        "Image": cells,
    }
    regions = {name: rng.random(n_voxels) < 0.5 for name in ("ROI_V1", "ROI_V2", "L_V3A", "R_V3A")}
    regions["ROI_V1"][0], regions["ROI_V2"][1] = True, True
    return shown, columns, regions, {"voxel_x": np.arange(n_voxels) * 3.0}


def rows_of(columns, chosen):
    return {key: value[chosen] for key, value in columns.items()}


@pytest.mark.parametrize("name", ("visrecon.h5", "visrecon_s1.mat", "fmri"))
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_bdata_are_trials(tmp_path, seed, name):
    shown, columns, regions, extra = draw_bdata(seed)
    types = columns["StimulusType"][:, 0]
    path, apart = tmp_path / name, name == "fmri"
    if apart:
        write_bdata(path / "visrecon_s1_random.h5", rows_of(columns, types == 1), regions, extra)
        write_bdata(path / "visrecon_s1_test.h5", rows_of(columns, types > 1), regions, extra)
    else:
        write_bdata(path, columns, regions, extra)
    subject = miyawaki.load(path)
    for split, chosen in ((subject.train, types == 1), (subject.test, types > 1)):
        run, values = columns["Run"][:, 0], columns["VoxelData"]
        check_split(split, [(run[k], shown[k], values[k]) for k in np.flatnonzero(chosen)])
    kinds = {2: "geometric", 3: "thin alphabet", 4: "long alphabet", 5: "alphabet"}
    assert subject.train.categories == [["random"]] * 9
    assert subject.test.categories == [[kinds[kind]] for kind in dict.fromkeys(types[types > 1])]
    both = regions["L_V3A"] | regions["R_V3A"]
    expected = {"V1": regions["ROI_V1"], "V2": regions["ROI_V2"], "V3A": both, "L_V3A": regions["L_V3A"]}
    for name, mask in expected.items():
        if mask.any():
            np.testing.assert_array_equal(subject.rois[name], mask)
    assert "voxel_x" not in subject.rois
    part = miyawaki.load(path, roi="V1+V2")
    np.testing.assert_array_equal(part.test.betas, subject.test.betas[:, regions["ROI_V1"] | regions["ROI_V2"]])
    assert len(miyawaki.files(path)) == 1 + apart


# Whatever is wrong with the files


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cells_of(path):
    return [line.split(",") for line in path.read_text().split()]


def write_cells(path, rows):
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def volumes_of(path):
    return np.asanyarray(nibabel.load(path).dataobj).copy()


def no_folder(copy):
    return dict(path=copy.root / "absent")


def empty_folder(copy):
    (copy.root / "empty").mkdir()
    return dict(path=copy.root / "empty")


def other_file(copy):
    (copy.root / "data.npz").write_text("")
    return dict(path=copy.root / "data.npz")


def other_subject(copy):
    return dict(subject="subj02")


def unknown_roi(copy):
    return dict(roi="V1+V9")


def roi_without_voxels(copy):
    return dict(roi="VP")


def option_of_another_copy(copy):
    return dict(test_trials=[1])


def negative_shift(copy):
    return dict(shift=-1)


def shift_beyond_the_run(copy):
    return dict(shift=400)


def detrend_of_another_type(copy):
    return dict(detrend="linear")


def label_less(copy):
    write_cells(copy.label(), cells_of(copy.label())[:-1])


def run_without_labels(copy):
    copy.label("figure", 2).unlink()


def labels_without_run(copy):
    copy.func("random", 3).unlink()


def no_test_runs(copy):
    for number in (1, 2):
        copy.func("figure", number).unlink()


def only_rest(copy):
    for number in (1, 2):
        write_cells(copy.label("figure", number), [["-1"] * 100] * len(copy.runs["figure", number][1]))


def row_of_99(copy):
    write_cells(copy.label(), [row[:99] for row in cells_of(copy.label())])


def one_row_of_99(copy):
    rows = cells_of(copy.label())
    write_cells(copy.label(), [rows[0][:99], *rows[1:]])


def empty_labels(copy):
    copy.label().write_text("")


def label_of_two(copy):
    rows = cells_of(copy.label())
    rows[-4][7] = "2"
    write_cells(copy.label(), rows)


def label_half_at_rest(copy):
    rows = cells_of(copy.label())
    rows[-4][7] = "-1"
    write_cells(copy.label(), rows)


def label_of_words(copy):
    copy.label().write_text("cross,frame\n")


def truncated_run(copy):
    cut(copy.func("figure", 1))


def no_nifti(copy):
    copy.func("figure", 1).write_text("nothing")


def one_volume(copy):
    write_nifti(copy.func(), volumes_of(copy.func())[..., 0])


def run_on_another_grid(copy):
    write_nifti(copy.func(), volumes_of(copy.func())[:4])


def no_mask(copy):
    copy.mask_file().unlink()


def empty_mask(copy):
    write_nifti(copy.mask_file(), np.zeros(copy.mask.shape, np.uint8))


def mask_on_another_grid(copy):
    write_nifti(copy.mask_file("RHV1d"), np.ones((5, 4, 4), np.uint8))


def mask_elsewhere(copy):
    affine = AFFINE.copy()
    affine[0, 3] = 6
    write_nifti(copy.mask_file("RHV1d"), np.ones(copy.mask.shape, np.uint8), affine)


def nan_in_a_run(copy):
    volumes = volumes_of(copy.func())
    volumes[(*np.argwhere(copy.mask)[0], 3)] = np.nan
    write_nifti(copy.func(), volumes)


def a_random_pattern_as_figure(copy):
    shown = list(copy.runs["figure", 1][1])
    place = next(k for k, pattern in enumerate(shown) if pattern is not None)
    shown[place] = next(pattern for pattern in copy.runs["random", 2][1] if pattern is not None)
    write_labels(copy.label("figure", 1), shown)


NILEARN_CASES = {
    no_folder: "There is no .*absent; give a folder",
    empty_folder: r"func holds no data_random_run01\.nii\.gz or other random run to train on; fetch",
    other_file: r"data\.npz is neither a \.h5 nor a \.mat file",
    other_subject: "hold one subject, subj01, not subj02",
    unknown_roi: "has no roi 'V9'; it has .*V1d.*V1",
    roi_without_voxels: "The roi 'VP' of .* has no voxels; those that have some are ",
    option_of_another_copy: "'test_trials' does nothing for .*, which takes detrend, shift; leave it out",
    negative_shift: "shift is -1; pass a number of volumes, 0 or more",
    shift_beyond_the_run: r"run01\.nii\.gz has \d+ volumes, so a shift of 400 leaves none",
    detrend_of_another_type: "detrend is 'linear'; pass True or False",
    label_less: r"random_run01_label\.csv labels (\d+) volumes but .*random_run01\.nii\.gz has \d+",
    run_without_labels: r"figure_run02\.nii\.gz is there but not .*figure_run02_label\.csv",
    labels_without_run: r"random_run03_label\.csv is there but not .*random_run03\.nii\.gz",
    no_test_runs: r"func holds no data_figure_run01\.nii\.gz or other figure run to test on",
    only_rest: "trials with a pattern but none to test on; fetch",
    row_of_99: r"run01_label\.csv gives 99 cells for a pattern; expected 100",
    one_row_of_99: r"run01_label\.csv cannot be read as rows of numbers \(.*99",
    empty_labels: r"run01_label\.csv cannot be read as rows of numbers",
    label_of_two: r"run01_label\.csv gives pattern \d+ of \d+ the values 0, 1, 2; expected 0 and 1 alone, or -1",
    label_half_at_rest: r"the values -1, 0, 1; expected 0 and 1 alone, or -1 in all cells for rest",
    label_of_words: r"run01_label\.csv cannot be read as rows of numbers",
    truncated_run: r"figure_run01\.nii\.gz is damaged or incomplete",
    no_nifti: r"figure_run01\.nii\.gz is damaged or incomplete",
    one_volume: r"random_run01\.nii\.gz is a volume of \(5, 4, 3\); expected a run",
    run_on_another_grid: r"mask\.nii\.gz has volumes of \(5, 4, 3\) but .*random_run01\.nii\.gz of \(4, 4, 3\)",
    no_mask: r"There is no .*mask\.nii\.gz; fetch",
    empty_mask: r"mask\.nii\.gz selects no voxel",
    mask_on_another_grid: r"RHV1d\.nii\.gz has volumes of \(5, 4, 4\) but .*mask\.nii\.gz of \(5, 4, 3\)",
    mask_elsewhere: r"RHV1d\.nii\.gz lies 6 mm beside .*mask\.nii\.gz, whose voxels have 3 mm",
    nan_in_a_run: r"1 of \d+ voxels hold NaN or infinite betas in .*random_run01\.nii\.gz",
    a_random_pattern_as_figure: "1 stimuli are in both train and test .the first is pattern-[0-9a-f]{25}",
}


def check_one_sentence(told, path, **asked):
    with pytest.raises(InputError, match=told) as caught:
        miyawaki.load(path, **asked)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")


@pytest.mark.parametrize("spoil", NILEARN_CASES, ids=lambda spoil: spoil.__name__)
def test_a_folder_of_nilearns_that_cannot_be_used(spoil, nilearn):
    asked = {"path": nilearn.root} | (spoil(nilearn) or {})
    check_one_sentence(NILEARN_CASES[spoil], **asked)


def changed(**changes):
    """A change of a MATLAB file's content: other values, or None to take a variable away."""
    return lambda content: {k: v for k, v in (content | changes).items() if v is not None}


@pytest.mark.parametrize("version", (5, 7.3))
@pytest.mark.parametrize(
    "change, asked, told",
    [
        (changed(trial_type=None), {}, r"nothing tells which of its 21 trials test; pass test_trials"),
        (changed(trial_type=np.ones((1, 21))), {}, "nothing tells which of its 21 trials test"),
        (changed(), dict(test_trials=[0, 1]), "test_trials does not fit .*; pass numbers from 1 to 21"),
        (changed(), dict(test_trials="last"), "test_trials does not fit"),
        (changed(), dict(test_trials="13-22"), "test_trials does not fit"),
        (changed(), dict(responses=3), "responses is 3; pass the name of one variable, or of two"),
        (
            changed(),
            dict(test_trials=range(1, 22)),
            "has 21 trials with a pattern but none to train on; pass test_trials",
        ),
        (changed(stim=None), {}, r"holds fmri \(7, 21\), trial_type \(1, 21\); expected one matrix of 100 x trials"),
        (changed(zebra=np.ones((100, 21))), {}, r"holds .*zebra \(100, 21\); expected one matrix of 100 x trials"),
        (changed(more=np.ones((6, 21))), {}, "holds fmri, more with the 21 trials of stim.*pass responses=NAME"),
        (changed(fmri=np.ones((7, 20))), {}, "holds no matrix with the 21 trials of stim"),
        (changed(fmri=np.ones((7, 20))), dict(responses="fmri"), "has 20 trials in fmri but 21 in stim"),
        (changed(), dict(responses="bold"), r"has no variable 'bold' of two axes; it has fmri \(7, 21\)"),
        (changed(), dict(patterns="fmri"), "has 7 rows in fmri; expected 100"),
        (changed(), dict(patterns=["a", "b", "c"]), "patterns is .*; pass the name of one variable, or of two"),
        (changed(), dict(responses="fmri,fmri"), r"2 responses \(fmri, fmri\) go with 1 patterns \(stim\)"),
        (changed(), dict(roi="V1"), "has no roi 'V1'; it has none, so leave roi out"),
        (changed(), dict(detrend=False), "'detrend' does nothing for .*, which takes responses, patterns, test_trials"),
        (changed(fmri=np.full((7, 21), np.nan)), {}, "7 of 7 voxels hold NaN"),
        (lambda content: {"a": np.zeros((2, 2))}, {}, r"holds a \(2, 2\); expected one matrix of 100 x trials"),
    ],
)
def test_a_mat_that_cannot_be_used(tmp_path, version, change, asked, told):
    path = tmp_path / "data.mat"
    write_mat(path, change(draw_mat()[1]), version)
    check_one_sentence(told, path, **asked)


def test_a_mat_with_values_that_are_no_pattern(tmp_path):
    content = draw_mat()[1]
    content["stim"][3, 4] = 0.5
    write_mat(tmp_path / "data.mat", content)
    told = r"data\.mat \(stim\) gives pattern 5 of 21 the values 0, 0.5, 1; expected 0 and 1"
    check_one_sentence(told, tmp_path / "data.mat", patterns="stim")


def test_pairs_of_other_voxels(tmp_path):
    shown, content = draw_mat()
    pairs = {f"{name}_train": content[name][:, :12] for name in ("fmri", "stim")}
    pairs |= {"stim_test": content["stim"][:, 12:], "fmri_test": content["fmri"][:6, 12:]}
    write_mat(tmp_path / "data.mat", pairs)
    check_one_sentence("has 7 voxels in fmri_train but 6 in fmri_test", tmp_path / "data.mat")


@pytest.mark.parametrize("version", (5, 7.3))
def test_no_mat(tmp_path, version):
    check_one_sentence("There is no .*absent.mat", tmp_path / "absent.mat")
    path = tmp_path / "data.mat"
    path.write_text("no MATLAB file at all" * 20)
    check_one_sentence(r"data\.mat cannot be read as a MATLAB file", path)
    write_mat(path, draw_mat()[1], version)
    cut(path)
    check_one_sentence(r"data\.mat cannot be read as a MATLAB file", path)


def without(key):
    def change(columns):
        del columns[key]

    return change


def other_kind(columns):
    columns["StimulusType"][4] = 7


def no_figures(columns):
    columns["StimulusType"][columns["StimulusType"] > 1] = -1


def cells_of_99(columns):
    columns["Image"] = columns["Image"][:, :99]


def grey_cell(columns):
    columns["Image"][np.flatnonzero(columns["StimulusType"] == 1)[2], 5] = 0.5


def nan_in_a_row(columns):
    columns["VoxelData"][np.flatnonzero(columns["StimulusType"] == 1)[2], 5] = np.nan


@pytest.mark.parametrize(
    "change, asked, told",
    [
        (without("VoxelData"), {}, r"visrecon\.h5 has no VoxelData but Run, StimulusType, Image"),
        (without("Image"), {}, r"visrecon\.h5 has no Image but"),
        (other_kind, {}, r"visrecon\.h5 has the StimulusType 7; expected 1"),
        (no_figures, {}, "has 9 trials with a pattern but none to test on; give a file with both, or a folder"),
        (cells_of_99, {}, r"Image of .*visrecon\.h5 gives 99 cells"),
        (
            grey_cell,
            {},
            r"Image of .*visrecon\.h5 gives pattern \d+ of 21 the values 0, 0.5, 1; expected 0 and 1 alone:",
        ),
        (nan_in_a_row, {}, r"1 of 8 voxels hold NaN or infinite betas in .*visrecon\.h5"),
        (lambda columns: None, dict(roi="V8"), "has no roi 'V8'; it has V1, V2"),
        (lambda columns: None, dict(shift=1), "'shift' does nothing for .*, which takes no such option"),
    ],
)
def test_bdata_that_cannot_be_used(tmp_path, change, asked, told):
    _, columns, regions, extra = draw_bdata()
    change(columns)
    has_voxels = "VoxelData" in columns
    write_bdata(tmp_path / "visrecon.h5", columns, regions if has_voxels else {}, extra if has_voxels else {})
    check_one_sentence(told, tmp_path / "visrecon.h5", **asked)


def test_a_folder_of_two_subjects(tmp_path):
    for name, n_voxels in (("s1", 8), ("s2", 9)):
        _, columns, regions, extra = draw_bdata(n_voxels=n_voxels)
        write_bdata(tmp_path / f"{name}.h5", columns, regions, extra)
    check_one_sentence(r"s2\.h5 has 9 voxels in 4 regions, other ones than the 8 in 4 of .*s1\.h5", tmp_path)


def test_no_bdata(tmp_path):
    (tmp_path / "data.h5").write_text("no HDF5 at all")
    check_one_sentence(r"data\.h5", tmp_path / "data.h5")
