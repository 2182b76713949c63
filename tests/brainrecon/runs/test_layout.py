"""Where everything lies in a run folder."""

from pathlib import Path

import pytest

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.runs.layout import MEDIA, Layout
from stages.ground.media import CAPTION, FEATURES, FILM, PICTURE

LAYOUT = Layout(Path("run"))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (LAYOUT.config, "config.toml"),
        (LAYOUT.environment, "environment.json"),
        (LAYOUT.captions, "captions.json"),
        (LAYOUT.decoder, "decoder"),
        (LAYOUT.manifest, "manifest.jsonl"),
        (LAYOUT.report, "report.html"),
        (LAYOUT.fold(3), "folds/3"),
        (LAYOUT.scores("brainrecon-1"), "scores/brainrecon-1.json"),
        (LAYOUT.embeddings("test"), "embeddings/test.safetensors"),
        (LAYOUT.embeddings("mean_response"), "embeddings/mean_response.safetensors"),
        (LAYOUT.embeddings("test", "blurry"), "embeddings/test-blurry.safetensors"),
        (LAYOUT.output("reconstruction", "picture", "nsd-1", 2), "images/stim-nsd-1_sample-2.png"),
        (LAYOUT.output("mean_response", "picture", "a"), "controls/mean_response/images/stim-a_sample-0.png"),
        (LAYOUT.on_the_way("first_picture", "picture", "a"), "stage_one/stim-a.png"),
        (LAYOUT.on_the_way("draft", "picture", "a"), "draft/stim-a.png"),
        (
            LAYOUT.on_the_way("first_picture", "picture", "mean_response", "mean_response"),
            "controls/mean_response/stage_one/stim-mean_response.png",
        ),
    ],
)
def test_places(path, place):
    assert path == Path("run") / place


@pytest.mark.parametrize(
    ("medium", "folder"), [(PICTURE, "images"), (CAPTION, "captions"), (FILM, "films"), (FEATURES, "features")]
)
def test_an_output_lies_in_the_folder_of_its_medium_under_its_suffix(medium, folder):
    path = LAYOUT.output("reconstruction", medium.name, "a", 1)
    assert path == Path("run") / folder / f"stim-a_sample-1{medium.suffix}"
    assert MEDIA[medium.name] == (medium, folder)


def test_no_two_outputs_share_a_file():
    paths = [
        LAYOUT.output(condition, medium, name, sample)
        for condition in CONDITIONS
        for medium in MEDIA
        for name in ("a", "b")
        for sample in range(2)
    ]
    paths += [
        LAYOUT.on_the_way(value, "picture", "a", one) for value in ("first_picture", "draft") for one in CONDITIONS
    ]
    assert len(set(paths)) == len(paths)


def test_an_id_never_leads_out_of_its_folder():
    for name in ("../../escaped", "/etc/passwd", "a\\..\\b", "cats/001.png"):
        assert LAYOUT.output("reconstruction", "picture", name).parent == LAYOUT.folder / "images"
        assert LAYOUT.on_the_way("first_picture", "picture", name).parent == LAYOUT.folder / "stage_one"
    assert LAYOUT.output("reconstruction", "picture", "cats/001").name == "stim-cats%2F001_sample-0.png"
