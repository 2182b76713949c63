"""NSD's betas on the cortical surface, against the files as nibabel and h5py read them; and files that do not fit."""

import shutil

import h5py
import nibabel
import numpy as np
import pytest
from nsd_surface_files import N_LEFT, write_nsd_surface

from brainrecon.datasets import dataset_of, load
from brainrecon.datasets.inventory import describe, files
from brainrecon.datasets.nsd.design import stimulus_id
from brainrecon.datasets.subject_raster import raster_of
from stages.ground.errors import InputError

BETAS = "nsddata_betas/ppdata/subj01/fsaverage/betas_fithrf_GLMdenoise_RR"
LABELS = "nsddata/freesurfer/fsaverage/label"
N = 642
AREAS = "V1 + V2 + V3 + V3A + V3B + V3CD + V4 + LO* + PIT + V4t + V6 + V6A + V7 + V8 + PH + FFC + IP0 + MT + MST + FST + VVC"


def halves(folder, name):
    """Both hemispheres of a file, vertices first."""
    return np.concatenate(
        [np.asarray(nibabel.load(folder / f"{side}.{name}").dataobj)[:, 0, 0] for side in ("lh", "rh")]
    )


@pytest.fixture
def mine(surface_cohort, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(surface_cohort, tmp_path / "nsd", symlinks=True)


def test_patterns_are_the_means_of_what_the_files_hold(surface_cohort):
    subject = load(f"nsd:{surface_cohort}", space="fsaverage")
    betas = np.concatenate([halves(surface_cohort / BETAS, f"betas_session{n:02d}.mgh").T for n in (1, 2)])
    labels = halves(surface_cohort / LABELS, "nsdgeneral.mgz")
    cortex = halves(surface_cohort / LABELS, "HCP_MMP1.mgz") > 0
    inside = (labels > 0) & cortex
    assert subject.roi == "nsdgeneral" and subject.n_voxels == inside.sum() > 100
    table = np.genfromtxt(
        surface_cohort / "nsddata/ppdata/subj01/behav/responses.tsv",
        delimiter="\t",
        names=True,
        dtype=None,
        encoding=None,
    )
    for split in subject.splits.values():
        for name, pattern in zip(split.stimulus_ids, split.patterns):
            trials = np.array([stimulus_id(number - 1) == name for number in table["73KID"]])
            np.testing.assert_allclose(pattern, betas[trials][:, inside].mean(axis=0), rtol=1e-5, atol=1e-6)
    ncsnr = halves(surface_cohort / BETAS, "ncsnr.mgh")[inside].astype(np.float64)
    expected = 100 * ncsnr**2 / (ncsnr**2 + np.mean(1 / subject.test.repeats))
    np.testing.assert_allclose(subject.noise_ceiling, expected, rtol=1e-4)
    assert subject.details["space"] == "fsaverage" and subject.grid is None


def test_every_vertex_knows_its_place(surface_cohort):
    subject = load(f"nsd:{surface_cohort}", space="fsaverage", roi="V1 + V2")
    names = dict(line.split() for line in (surface_cohort / LABELS / "HCP_MMP1.mgz.ctab").read_text().splitlines())
    number = {name: int(value) for value, name in names.items()}
    labels = halves(surface_cohort / LABELS, "HCP_MMP1.mgz")
    where = np.flatnonzero(np.isin(labels, (number["V1"], number["V2"])))
    np.testing.assert_array_equal(subject.surface.vertices + N * subject.surface.right, where)
    values = np.arange(subject.n_voxels, dtype=np.float32)
    images = subject.to_gifti(np.stack([values, values + 1]))
    maps = [np.concatenate([images[side].darrays[row].data for side in ("lh", "rh")]) for row in (0, 1)]
    np.testing.assert_array_equal(maps[1][where], values + 1)
    assert np.isnan(np.delete(maps[0], where)).all() and len(maps[0]) == 2 * N
    assert images["lh"].meta["AnatomicalStructurePrimary"] == "CortexLeft"
    whole = subject.to_gifti(subject.rois["V1"])
    assert sum(int(image.darrays[0].data.sum()) for image in whole.values()) == subject.rois["V1"].sum()


def test_the_medial_wall_is_in_no_region(mine):
    bare = load(f"nsd:{mine}", space="fsaverage", roi="cortex")
    labels = halves(mine / LABELS, "HCP_MMP1.mgz")
    assert bare.n_voxels == (labels > 0).sum() < 2 * N
    assert any("cortex is what HCP_MMP1 labels" in note for note in bare.notes)
    first = np.flatnonzero(labels[:N] > 0)[:20]
    for side, listed in (("lh", first), ("rh", np.arange(N))):
        rows = "".join(f"{vertex} 0.0 0.0 0.0 0.0\n" for vertex in listed)
        (mine / LABELS / f"{side}.cortex.label").write_text(f"#!ascii label\n{len(listed)}\n{rows}")
    listed = load(f"nsd:{mine}", space="fsaverage", roi="cortex")
    assert listed.n_voxels == 20 + N and any("lh.cortex.label" in note for note in listed.notes)
    assert load(f"nsd:{mine}", space="fsaverage", roi="lh.cortex").n_voxels == 20


def test_regions_by_their_names_in_the_one_grammar(surface_cohort):
    def count(roi):
        return load(f"nsd:{surface_cohort}", space="fsaverage", roi=roi).n_voxels

    assert count("V1") == count("lh.V1") + count("rh.V1")
    assert count("HCP_MMP1 - V1") == count("cortex") - count("V1")
    assert count(AREAS) > count("V1 + V2 + V3 + V4")
    assert count("streams:early & V1") == count("V1")
    with pytest.raises(InputError, match="has no roi 'V9'; it has HCP_MMP1, V1"):
        count("V9")


def test_sessions_options_and_masks_as_of_volumes(surface_cohort):
    one = load(f"nsd:{surface_cohort}", space="fsaverage", sessions=2, zscore=True, roi="V1")
    assert np.unique(one.train.sessions).tolist() == [2]
    trained = np.asarray(one.train.betas[:])
    np.testing.assert_allclose(trained.mean(axis=0), 0, atol=1e-4)
    whole = load(f"nsd:{surface_cohort}", space="fsaverage")
    mask = np.zeros(whole.n_voxels, dtype=bool)
    mask[::3] = True
    part = load(f"nsd:{surface_cohort}", space="fsaverage", mask=mask)
    np.testing.assert_array_equal(part.test.patterns, whole.test.patterns[:, ::3])
    np.testing.assert_array_equal(part.surface.vertices, whole.surface.vertices[::3])


def test_a_volume_stays_the_default_and_both_are_told(surface_cohort):
    assert load(f"nsd:{surface_cohort}").grid is not None
    facts = describe(load(f"nsd:{surface_cohort}", space="fsaverage"))
    assert any("of 1,284 vertices of fsaverage3 are used" in note for note in facts["notes"])
    listed = files("nsd", surface_cohort, "subj01", space="fsaverage")
    assert all(row["present"] for row in listed if not row["optional"])
    names = [row["path"].rsplit("/", 1)[1] for row in listed]
    assert {"lh.betas_session01.mgh", "rh.betas_session02.mgh", "lh.HCP_MMP1.mgz", "rh.ncsnr.mgh"} <= set(names)
    absent = files("nsd", surface_cohort / "nowhere", "subj02", space="fsaverage", sessions="1")
    sizes = {row["path"].rsplit("/", 1)[1]: row["largest"] for row in absent}
    # 163,842 vertices, 750 trials, four bytes: the 491.5 MB of NSD's own files.
    assert sizes["lh.betas_session01.mgh"] == 163_842 * 750 * 4
    native = files("nsd", surface_cohort / "nowhere", "subj02", space="nativesurface", sessions="1")
    sizes = {row["path"].rsplit("/", 1)[1]: row["largest"] for row in native}
    assert sizes["rh.betas_session01.hdf5"] == 239_309 * 750 * 2 and "lh.floc-faces.mgz" in sizes
    assert "flat" not in [option.name for option in dataset_of("nsd").options if option.for_files]


def test_a_subjects_own_surface(mine, tmp_path):
    average = load(f"nsd:{mine}", space="fsaverage")
    own = mine / BETAS.replace("fsaverage", "nativesurface")
    own.mkdir(parents=True)
    labels = mine / LABELS.replace("fsaverage", "subj01")
    for path in (mine / LABELS).glob("*HCP_MMP1*"):
        shutil.copy(path, labels / path.name)
    for path in (mine / LABELS).glob("?h.nsdgeneral.mgz"):
        shutil.copy(path, labels / path.name)
    for path in (mine / BETAS).glob("*.betas_*.mgh"):
        values = np.asarray(nibabel.load(path).dataobj)[:, 0, 0].T
        with h5py.File(own / path.name.replace(".mgh", ".hdf5"), "w") as file:
            file["betas"] = np.rint(values * 300).astype(np.int16)
    native = load(f"nsd:{mine}", space="nativesurface")
    np.testing.assert_allclose(native.test.patterns, average.test.patterns, atol=1 / 300)
    assert (
        native.surface.mesh == "the surface of subj01" and native.surface.flat is None and native.noise_ceiling is None
    )
    with pytest.raises(InputError, match="no flat map of it; name the folder of one, --option flat=FOLDER"):
        raster_of(native)
    flat = tmp_path / "flat"
    flat.mkdir()
    for side, x in (("lh", 0), ("rh", 7)):
        corners = np.zeros(N, dtype=[("vertex", ">i4"), ("place", ">f4", 3)])
        corners["vertex"] = np.arange(1, N + 1)
        corners["place"][:, :2] = np.stack(np.divmod(np.arange(N), 26), axis=1) + (x, 0)
        (flat / f"{side}.cortex.patch.flat").write_bytes(np.array([-1, N], ">i4").tobytes() + corners.tobytes())
    mapped = load(f"nsd:{mine}", space="nativesurface", flat=str(flat))
    assert raster_of(mapped).origin == (
        "own raster of the flat map of the surface of subj01 (lh.cortex.patch.flat and rh.cortex.patch.flat)"
    )
    left = mapped.surface.flat[~mapped.surface.right]
    assert left[:, 0].max() < mapped.surface.flat[mapped.surface.right][:, 0].min()


def rewrite(path, change):
    image = nibabel.load(path)
    nibabel.save(nibabel.MGHImage(change(np.array(image.dataobj)), image.affine), path)


DAMAGE = {
    "one hemisphere": (
        lambda root: (root / BETAS / "rh.betas_session02.mgh").unlink(),
        "Session 2 has one hemisphere only",
    ),
    "other trials": (
        lambda root: rewrite(root / BETAS / "lh.betas_session01.mgh", lambda betas: betas[..., :-1].copy()),
        "has 29 trials but rh.betas_session01.mgh 30",
    ),
    "other mesh": (
        lambda root: rewrite(root / LABELS / "lh.HCP_MMP1.mgz", lambda labels: labels[:-2].copy()),
        "have 1,282 vertices but the betas 1,284",
    ),
    "no labels": (
        lambda root: rewrite(root / LABELS / "lh.streams.mgz", lambda labels: np.full(labels.shape, 1e9, np.float32)),
        "holds values that are no labels|hold values that are no labels",
    ),
    "a volume": (
        lambda root: rewrite(root / BETAS / "lh.betas_session01.mgh", lambda betas: betas.reshape(2, 321, 1, -1)),
        "expected \\(vertices, 1, 1, trials\\)",
    ),
    "truncated": (
        lambda root: (root / BETAS / "lh.betas_session01.mgh").write_bytes(
            (root / BETAS / "lh.betas_session01.mgh").read_bytes()[:5000]
        ),
        "more than its 5,000 can be",
    ),
    "not a number": (
        lambda root: rewrite(
            root / BETAS / "lh.betas_session01.mgh",
            lambda betas: np.where(np.arange(N)[:, None, None, None] % 2, np.nan, betas),
        ),
        "voxels hold NaN or infinite betas in session 1",
    ),
    "no surface": (lambda root: shutil.rmtree(root / BETAS.split("/betas_")[0]), "holds no betas in fsaverage"),
    "no atlas": (lambda root: [path.unlink() for path in (root / LABELS).glob("?h.*")], "expected lh.HCP_MMP1.mgz"),
    "one label": (lambda root: (root / LABELS / "rh.streams.mgz").unlink(), "but not rh.streams.mgz"),
    "words": (lambda root: (root / LABELS / "lh.cortex.label").write_text("#\n1\nword\n"), None),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_does_not_fit_is_said_in_one_sentence(name, mine):
    damage, told = DAMAGE[name]
    damage(mine)
    if told is None:
        (mine / LABELS / "rh.cortex.label").write_text("#\n1\n700 0 0 0 0\n")
        told = "is no label of FreeSurfer"
    with pytest.raises(InputError, match=told):
        np.asarray(load(f"nsd:{mine}", space="fsaverage").train.betas[:2])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"betas_format": "hdf5"}, "'hdf5' is no format of betas in fsaverage; allowed values are mgh"),
        ({"flat": "nowhere"}, "There is no folder nowhere with flat maps"),
        ({"betas": "b2"}, "holds no betas b2"),
    ],
)
def test_options_that_do_not_fit(options, told, surface_cohort):
    from brainrecon.datasets.nsd.reader import load as load_nsd

    with pytest.raises(InputError, match=told):
        load_nsd(surface_cohort, space="fsaverage", **options)


def test_a_flat_folder_of_another_mesh(surface_cohort, tmp_path):
    (tmp_path / "lh.flat").write_bytes(b"")
    with pytest.raises(InputError, match="holds no flat map of the right hemisphere"):
        load(f"nsd:{surface_cohort}", space="fsaverage", flat=str(tmp_path))
    from nilearn import datasets as nilearn_data

    bundled = f"{nilearn_data.__path__[0]}/data/fsaverage5"
    with pytest.raises(InputError, match="but the betas have 642 vertices; name the flat map of their mesh"):
        load(f"nsd:{surface_cohort}", space="fsaverage", flat=bundled)


def test_a_tiny_surface_written_by_hand(tmp_path):
    written = write_nsd_surface(tmp_path / "nsd")
    subject = load(f"nsd:{tmp_path / 'nsd'}")
    stored = np.concatenate([written.stored["subj01"][n].reshape(140, -1) for n in (1, 2, 3)], axis=1).T / 300
    shown = np.concatenate([written.shown["subj01"][n] for n in (1, 2, 3)])
    vertices = np.arange(140)
    inside = (vertices % 3 != 1) & (vertices % 4 != 0)
    for split in subject.splits.values():
        for name, pattern in zip(split.stimulus_ids, split.patterns):
            trials = np.array([stimulus_id(picture) == name for picture in shown])
            np.testing.assert_allclose(pattern, stored[trials][:, inside].mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        subject.surface.vertices, np.where(vertices < N_LEFT, vertices, vertices - N_LEFT)[inside]
    )
    np.testing.assert_array_equal(subject.surface.right, (vertices >= N_LEFT)[inside])
    assert subject.surface.mesh == "an average surface" and subject.surface.n_vertices == (80, 60)
    assert any("no flat map of it" in note for note in subject.notes)


def test_vertices_that_a_session_did_not_reach_can_be_left_out(tmp_path):
    written = write_nsd_surface(tmp_path / "nsd")
    gone = {1: [4, 5], 3: [N_LEFT + 6, N_LEFT + 9]}
    folder = written.root / BETAS
    for session, vertices in gone.items():
        for side, first in (("lh", 0), ("rh", N_LEFT)):
            own = [vertex - first for vertex in vertices if (vertex >= N_LEFT) == (side == "rh")]

            def lost(betas, own=own):
                betas[own] = np.nan
                return betas

            rewrite(folder / f"{side}.betas_session{session:02d}.mgh", lost)
    with pytest.raises(InputError, match="hold NaN .* leave such vertices out, --roi 'nsdgeneral & finite'"):
        load(f"nsd:{written.root}").train.patterns
    subject = load(f"nsd:{written.root}", roi="nsdgeneral & finite")
    vertices = np.arange(140)
    inside = (vertices % 3 != 1) & (vertices % 4 != 0) & ~np.isin(vertices, sum(gone.values(), []))
    places = np.where(subject.surface.right, subject.surface.vertices + N_LEFT, subject.surface.vertices)
    np.testing.assert_array_equal(places, vertices[inside])
    assert np.isfinite(subject.train.patterns).all()
    assert "finite" not in subject.rois
    one = load(f"nsd:{written.root}", roi="cortex - finite", sessions=3)
    assert one.n_voxels == sum(vertex % 4 != 0 for vertex in gone[3])
