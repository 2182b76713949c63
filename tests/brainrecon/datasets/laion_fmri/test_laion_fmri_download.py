"""Files of LAION-fMRI from a bucket on this machine: what is listed, fetched, and left where it is."""

import pytest
from laion_fmri_files import LaionFmri
from public_places import public_places

import brainrecon.datasets as datasets
from brainrecon.cli.main import run_command
from brainrecon.datasets.laion_fmri import listing


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A bucket that holds what another copy does, and much beside it that is not read."""
    with public_places() as places:
        monkeypatch.setattr(listing, "BUCKET", places.bucket_address)
        monkeypatch.setattr(listing, "PACKAGE", f"{places.bucket_address}/package")
        source = LaionFmri(tmp_path / "source")
        for path in source.root.rglob("*"):
            if path.is_file():
                key = path.relative_to(source.root).as_posix()
                places.bucket[key.replace("splits/", "package/")] = path.read_bytes()
        for name in (
            "ses-01/func/sub-01_ses-01_task-images_space-T1w_desc-GLMsingle_model.h5",
            "ses-01/func/figures/a.png",
        ):
            places.bucket[f"derivatives/glmsingle-tedana/sub-01/{name}"] = b"large"
        places.bucket["derivatives/rois/sub-01/face/sub-01_space-T1w_res-1pt5_label-OFA_mask.nii.gz"] = b"other"
        places.bucket["sub-01/ses-01/func/raw_bold.nii.gz"] = b"raw"
        places.page, places.source = 7, source
        # What the agreement is for is not given to those who do not ask.
        places.answers["/bucket/stimuli/task-images_stimuli.h5"] = (403, b"<Error/>")
        yield places


def download(folder, *more):
    return run_command(["data", "download", f"laion-fmri:{folder}", *more])


def fetched(places):
    return {path for path, _ in places.asked if "?" not in path}


def test_a_subject_arrives_and_the_pictures_stay_where_they_are(places, tmp_path, capsys):
    folder = tmp_path / "copy é"
    assert download(folder, "--subject", "sub-01") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "CC0 1.0" in out and "The pictures are under an agreement of their own and are not fetched" in out
    assert "https://laion-fmri.hebartlab.com/request" in out and places.asked == [] and not folder.exists()
    assert download(folder, "--subject", "sub-01", "--agree") == 0
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wanted = {
        path.relative_to(places.source.root).as_posix()
        for path in places.source.root.rglob("*")
        if path.is_file() and "sub-03" not in path.parts and path.parent.name != "stimuli"
    } | {"stimuli/task-images_desc-captions.csv"}
    assert there == wanted
    assert not any("stimuli.h5" in path or "model.h5" in path or "figures" in path for path in fetched(places))
    source, copy = (datasets.load(f"laion-fmri:{root}", split="tau") for root in (places.source.root, folder))
    assert copy.test.betas[:].tolist() == source.test.betas[:].tolist() and copy.train.images is None
    assert copy.train.captions == source.train.captions
    # Once more: everything is there.
    before = len(places.asked)
    assert download(folder, "--subject", "sub-01", "--agree") == 0
    assert all("?" in path for path, _ in places.asked[before:])


def test_some_sessions_alone(places, tmp_path):
    assert download(tmp_path / "copy", "--subject", "sub-03", "--option", "sessions=2,4", "--agree") == 0
    subject = datasets.load(f"laion-fmri:{tmp_path / 'copy'}")
    assert subject.name == "sub-03" and subject.details["sessions"] == [2, 4] and subject.noise_ceiling is not None


@pytest.mark.parametrize(
    "more, told",
    [
        (["--subject", "sub-09"], "lists nothing of sub-09"),
        (["--subject", "nobody"], "'nobody' is no subject of laion-fmri"),
        (["--option", "sessions=1-3"], "lists no session 3 of sub-01; it has 1, 2, 4"),
        (["--option", "sessions=0"], "sessions is"),
        (["--option", "split=best"], "split is 'best'"),
        (["--option", "zscore=true"], "'zscore' does not matter for the files"),
    ],
)
def test_what_is_not_there_is_told(places, tmp_path, capsys, more, told):
    assert download(tmp_path / "copy", *more, "--agree") == 2
    assert told in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "copy").exists()


def test_optional_files_that_are_not_to_be_had_are_told(places, tmp_path, capsys):
    places.bucket = {key: value for key, value in places.bucket.items() if not key.startswith(("package/", "stimuli/"))}
    assert download(tmp_path / "copy", "--option", "split=tau", "--agree") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("not to be had there") == 3 and "captions.csv" in out and "tau.json" in out
    datasets.load(f"laion-fmri:{tmp_path / 'copy'}")


def test_sessions_that_are_kept_back_are_told_and_the_others_fetched(places, tmp_path, capsys):
    """The bucket lists them and gives them to nobody."""
    for path in (places.source.betas_file("sub-01", 4), places.source.trials_file("sub-01", 4)):
        places.answers["/bucket/" + path.relative_to(places.source.root).as_posix()] = (403, b"<Error/>")
    assert download(tmp_path / "copy", "--agree") == 0
    assert capsys.readouterr().out.count("not to be had there") == 2
    assert datasets.load(f"laion-fmri:{tmp_path / 'copy'}").details["sessions"] == [1, 2]
    assert download(tmp_path / "copy", "--option", "sessions=4", "--agree") == 2
    assert "the source does not have it, or does not give it to all" in " ".join(capsys.readouterr().err.split())


def test_an_interrupted_session_goes_on(places, tmp_path, capsys):
    name = "/bucket/derivatives/glmsingle-tedana/sub-01/ses-02/func/" + places.source.betas_file("sub-01", 2).name
    places.breaks[name] = [300]
    assert download(tmp_path / "copy", "--agree") == 2
    assert "it broke off after 300" in " ".join(capsys.readouterr().err.split())
    assert download(tmp_path / "copy", "--agree") == 0
    assert places.ranges(name) == [None, "bytes=300-"]
    source, copy = (datasets.load(f"laion-fmri:{root}") for root in (places.source.root, tmp_path / "copy"))
    assert copy.train.betas[:].tolist() == source.train.betas[:].tolist()


def test_betas_that_were_unpacked_are_not_fetched_again(places, tmp_path):
    import gzip

    assert download(tmp_path / "copy", "--agree") == 0
    packed = next((tmp_path / "copy").rglob("*ses-02*SingletrialBetas_statmap.nii.gz"))
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert download(tmp_path / "copy", "--agree") == 0 and not packed.exists()
    source, copy = (datasets.load(f"laion-fmri:{root}") for root in (places.source.root, tmp_path / "copy"))
    assert copy.test.betas[:].tolist() == source.test.betas[:].tolist()


def test_files_say_where_each_is_to_be_had(tmp_path):
    reader = datasets.dataset_of("laion-fmri")
    nothing = reader.files(tmp_path)
    assert all(not file.path.exists() for file in nothing)
    addresses = {file.path.name: file.address for file in nothing}
    base = "https://laion-fmri.s3.amazonaws.com/derivatives/glmsingle-tedana/sub-01/"
    assert addresses["sub-01_ses-01_task-images_desc-SingletrialBetas_trials.tsv"].startswith(
        f"{base}ses-01/func/sub-01_ses-01_"
    )
    assert addresses["tau.json"].endswith("/splits/data/shared/tau.json")
    assert addresses["task-images_stimuli.h5"] == ""
    betas = [file for file in nothing if "SingletrialBetas_statmap" in file.path.name]
    assert len(betas) == 30 and {file.largest for file in betas} == {143**3 * 1066 * 4}
    named = reader.files(tmp_path, "sub-05", sessions="3-4")
    assert {file.path.parts[-3] for file in named if "Betas" in file.path.name} == {"ses-03", "ses-04"}
