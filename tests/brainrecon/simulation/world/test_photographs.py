"""Photographs in a simulated NSD: what is read back is what lay in the folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.runs.run import Run
from brainrecon.simulation import simulate
from stages.ground.errors import InputError

TINY = ("--weights", "tiny")

COCO80 = Path(__file__).parents[4].parent / "shared" / "data" / "coco80"
SMALL = {"sessions": 2, "trials_per_session": 15, "shared": 3, "voxels": 200}


@pytest.fixture
def folder(tmp_path):
    """Fifteen pictures of several shapes: of squares the colour tells which it is."""
    folder, random = tmp_path / "photo graphs é", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, captions, instances = [], [], []
    for k in range(15):
        height, width = (48, 80) if k % 2 else (90, 64)
        values = np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
        Image.fromarray(values).save(folder / "images" / f"{k:03d}.png")
        images.append({"id": 1000 + k, "file_name": f"{k:03d}.png"})
        captions += [{"id": 2 * k + c, "image_id": 1000 + k, "caption": f"picture {k} told {c}"} for c in range(2)]
        instances.append({"id": k, "image_id": 1000 + k, "category_id": 7, "area": 5})
        if k % 3 == 0:
            instances.append({"id": 100 + k, "image_id": 1000 + k, "category_id": 9, "area": 50})
    categories = [{"id": 7, "name": "dog"}, {"id": 9, "name": "red car"}]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (folder / "instances.json").write_text(json.dumps({"annotations": instances, "categories": categories}))
    return folder


def test_pictures_captions_and_categories_come_back(folder, tmp_path):
    simulate(tmp_path / "nsd", photographs=folder, **(SMALL | {"trials_per_session": 12}))
    subject = load(f"nsd:{tmp_path / 'nsd'}")
    assert subject.simulated and "know no labels of photographs" in subject.notes[0]
    seen = set()
    for split in subject.splits.values():
        for picture, captions, categories in zip(np.asarray(split.images), split.captions, split.categories):
            k = int(captions[0].split()[1])
            seen.add(k)
            assert captions == [f"picture {k} told 0", f"picture {k} told 1"]
            assert set(categories) == ({"dog", "red car"} if k % 3 == 0 else {"dog"})
            assert (picture == np.asarray(Image.open(folder / "images" / f"{k:03d}.png"))[0, 0]).all()
    assert len(seen) == 8 and subject.test.n_stimuli == 3


def test_the_same_photographs_are_found_again(folder, tmp_path):
    assert simulate(tmp_path / "nsd", photographs=folder, **(SMALL | {"trials_per_session": 12})).created
    assert not simulate(tmp_path / "nsd", photographs=folder, **(SMALL | {"trials_per_session": 12})).created
    Image.new("RGB", (64, 64)).save(folder / "images" / "000.png")
    with pytest.raises(InputError, match="holds a simulation with photographs"):
        simulate(tmp_path / "nsd", photographs=folder, **(SMALL | {"trials_per_session": 12}))


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda folder: None, "need 17 photographs but there are 15"),
        (lambda folder: (folder / "captions.json").unlink(), "There is no .*captions.json"),
        (lambda folder: (folder / "captions.json").write_text("{}"), "captions.json is not a caption file"),
        (lambda folder: (folder / "instances.json").write_text("[]"), "instances.json is not an instance file"),
        (lambda folder: (folder / "images" / "004.png").unlink(), "lacks 1 of the 15 photographs .* 004.png"),
        (
            lambda folder: (folder / "captions.json").write_text(
                json.dumps({"images": [{"id": 1000, "file_name": "000.png"}], "annotations": []})
            ),
            "no caption for 000.png",
        ),
    ],
)
def test_folders_that_will_not_do(folder, tmp_path, spoil, told):
    spoil(folder)
    with pytest.raises(InputError, match=told) as caught:
        simulate(tmp_path / "nsd", photographs=folder, **(SMALL | {"sessions": 3, "trials_per_session": 17}))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "nsd").exists()


@pytest.mark.skipif(not COCO80.is_dir(), reason=f"{COCO80} is absent")
def test_80_photographs_through_the_whole_pipeline(tmp_path):
    cohort, run = tmp_path / "nsd", tmp_path / "run"
    options = "--sessions 4 --trials-per-session 60 --shared 16 --voxels 300"
    assert run_command(["simulate", str(cohort), "--photographs", str(COCO80), *options.split()]) == 0
    line = [
        "run",
        "brain-diffuser",
        *TINY,
        f"nsd:{cohort}",
        "--out",
        str(run),
        "--features",
        str(tmp_path / "features"),
    ]
    assert run_command([*line, "--set", "generator.num_inference_steps=4"]) == 0
    written = json.loads((COCO80 / "captions.json").read_text())["annotations"]
    subject = Run(run).subject
    assert {caption for own in subject.train.captions for caption in own} <= {
        " ".join(one["caption"].split()) for one in written
    }
    assert all(Run(run).image_path("reconstruction", name).exists() for name in subject.test.stimulus_ids)
    assert (run / "report.html").stat().st_size > 50_000
