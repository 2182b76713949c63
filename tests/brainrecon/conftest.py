"""A small simulated cohort, and a run of the whole method on it, shared by the tests that only look."""

import shutil
from pathlib import Path

import pytest
import torch

from brainrecon.cli.main import run_command

TINY = ("--weights", "tiny")

# Few steps: what is tested does not depend on how good the pictures are.
FEW_STEPS = ["--set", "generator.num_inference_steps=4"]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def no_figures(request):
    """Figures of scores, half a second each, are drawn where they are looked at: in the tests of reports, and once on the way."""
    place = request.path.relative_to(Path(__file__).parent)
    if place.parts[0] == "report" or place.name == "test_whole_way.py":
        yield
        return
    from brainrecon.report.run import html

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "distribution", lambda *asked: "")
        patch.setattr(html, "against", lambda *asked: None)
        yield


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Folder of a simulated cohort: one subject, 12 shared pictures, 48 training pictures."""
    folder = tmp_path_factory.mktemp("cohort") / "nsd"
    options = "--sessions 3 --trials-per-session 60 --shared 12 --voxels 300"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory):
    """Folder of a smaller cohort: one subject, 4 shared pictures, 26 training pictures."""
    folder = tmp_path_factory.mktemp("small") / "nsd"
    options = "--sessions 2 --trials-per-session 45 --shared 4 --voxels 160"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="session")
def surface_cohort(tmp_path_factory):
    """Folder of a cohort with betas on a small mesh, too: one subject, 5 shared pictures, 15 training pictures."""
    folder = tmp_path_factory.mktemp("surface") / "nsd"
    options = "--sessions 2 --trials-per-session 30 --shared 5 --voxels 160 --surface fsaverage3"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="session")
def three_subjects(tmp_path_factory):
    """Folder of a cohort of three: 8 shared pictures, 32 own ones of each, three sessions."""
    folder = tmp_path_factory.mktemp("three") / "nsd"
    options = "--subjects 3 --sessions 3 --trials-per-session 40 --shared 8 --voxels 160"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    """Folder of a feature store that the tests share."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def fitted(cohort, features, tmp_path_factory):
    """Run folder with a fitted decoder and no picture yet."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    line = [
        "fit",
        "brain-diffuser",
        *TINY,
        f"nsd:{cohort}",
        "--out",
        str(folder),
        "--features",
        str(features),
        *FEW_STEPS,
    ]
    assert run_command(line) == 0
    return folder


@pytest.fixture
def run_folder(fitted, tmp_path):
    """A copy of the fitted run, to be changed."""
    return Path(shutil.copytree(fitted, tmp_path / "run"))
