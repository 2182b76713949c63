"""The report: one file, nothing outside it, nothing in it that was not escaped."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from brainrecon.evaluation.scoring import Condition, evaluate
from brainrecon.report.figures import distribution
from brainrecon.report.html import ReportContent, render
from brainrecon.report.pictures import choose_stimuli, data_uri
from stages.errors import InputError

N = 24
IDS = [f"nsd{row:05d}" for row in range(N)]
HOSTILE = "<script>alert('x')</script> & \"quoted\""


class Stub:
    def embed(self, images):
        return images.reshape(len(images), 4, 16, 4, 16, 3).mean(axis=(2, 4)).reshape(len(images), -1)

    def classify(self, images):
        return {
            "category": [str(k) for k in images.mean(axis=(1, 2)).argmax(axis=1)],
            "digit": ["1"] * len(images),
        }


@pytest.fixture(scope="module")
def content():
    random = np.random.default_rng(0)
    shown = random.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)

    def noisy(amount):
        return np.clip(shown + random.normal(0, amount, shown.shape), 0, 255).astype(np.uint8)

    conditions = {
        "reconstruction": (IDS, noisy(60)),
        "stage_one": (IDS, noisy(120)),
        "shuffled_responses": (IDS[::2], np.roll(shown, 1, axis=0)[::2]),
        "a_control_of_my_own": (IDS[::2], noisy(250)[::2]),
    }
    scores = evaluate(
        shown,
        {name: Condition(*one) for name, one in conditions.items()},
        stimulus_ids=IDS,
        networks={"evaluation": Stub(), "clip": Stub()},
    )
    return ReportContent(
        title="A title",
        subtitle="Brain-Diffuser, subj01",
        stimulus_ids=IDS,
        shown=dict(zip(IDS, shown, strict=True)),
        conditions={name: dict(zip(*one, strict=True)) for name, one in conditions.items()},
        scores=scores,
        notes=["Twelve stimuli under controls."],
        captions={one: ["a red house", "a house"] for one in IDS} | {"train0001": HOSTILE},
        captions_heading="Captions",
        captions_explanation="Chosen by CLIP.",
        decoder=[{"target": "vdvae", "n_targets": 9216, "penalty": 52000.0, "held_out_correlation": 0.33123}],
        config={"method": "brain-diffuser", "generator": {"strength": 0.75, "context_weights": [0.6, 0.4]}},
        environment={"torch": "2.6", "machine": {"cuda": None}},
        citations=["Ozcelik & VanRullen (2023), https://doi.org/10.1038/s41598-023-42891-8"],
        simulated=True,
    )


class Page(HTMLParser):
    """Collects what matters of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_needs_no_other_file(content):
    page = Page(render(content))
    assert page.addresses and all(one.startswith(("data:image/", "#")) for one in page.addresses)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert "url(http" not in render(content) and "@import" not in render(content)


def test_says_everything(content):
    text = Page(render(content)).text
    for expected in (
        "A title",
        "Simulated responses",
        "No brain was measured",
        "Twelve stimuli under controls.",
        "The reconstructions of 24 stimuli score",
        "Reconstruction",
        "Stage one alone",
        "Shuffled responses",
        "A control of my own",
        "Two-way identification on CLIP",
        content.scores.protocol.sha256,
        content.scores.identity,
        "generator.context_weights 0.6, 0.4",
        "torch 2.6",
        "Number of targets",
        "9,216",
        "0.3312",
        "Chosen by CLIP.",
        "Ozcelik",
    ):
        assert expected in text, expected


def test_numbers_in_the_table_are_those_of_the_scores(content):
    text = Page(render(content)).text
    row = content.scores.mean("stage_one", "pixcorr")
    assert f"{row.mean:.3f} {row.ci_low:.3f} to {row.ci_high:.3f}" in text
    row = content.scores.difference("stage_one", "pixcorr")
    assert f"▲ {row.mean:+.3f} {row.ci_low:+.3f} to {row.ci_high:+.3f}" in text


@pytest.mark.parametrize("field", ["title", "subtitle", "notes", "citations", "captions_heading", "config", "decoder"])
def test_hostile_text_is_escaped(content, field):
    hostile = {
        "notes": [HOSTILE],
        "citations": [HOSTILE],
        "config": {HOSTILE: {HOSTILE: HOSTILE}},
        "decoder": [{HOSTILE: HOSTILE}],
    }.get(field, HOSTILE)
    html = render(dataclasses.replace(content, **{field: hostile}))
    assert "<script" not in html and "&lt;script&gt;" in html


def test_hostile_condition_and_stimulus_names_are_escaped(content):
    name, stimulus = "<script>$x$</script>", '"><script>'
    images = np.stack(list(content.shown.values()))[:4]
    ids = [stimulus, *IDS[1:4]]
    scores = evaluate(
        images,
        {name: Condition(ids, images)},
        stimulus_ids=ids,
        networks={"evaluation": Stub(), "clip": Stub()},
        reference=name,
    )
    pictures = dict(zip(ids, images, strict=True))
    html = render(ReportContent("t", "s", ids, pictures, {name: pictures}, scores, captions={stimulus: HOSTILE}))
    assert "<script" not in html
    assert Page(html).tags.count("img") == 4 * 2 + 1


def test_a_small_report_has_only_what_there_is(content):
    bare = dataclasses.replace(
        content, notes=(), captions=None, decoder=(), config={}, environment={}, citations=(), simulated=False
    )
    text = Page(render(bare)).text
    for absent in ("Captions", "Decoder", "Configuration", "Versions", "How to cite", "Simulated"):
        assert absent not in text


def test_several_samples_and_missing_pictures(content):
    conditions = {name: dict(drawn) for name, drawn in content.conditions.items()}
    conditions["reconstruction"] = {one: [image, image] for one, image in conditions["reconstruction"].items()}
    conditions["a_control_of_my_own"] = {IDS[3]: content.shown[IDS[3]]}
    text = Page(render(dataclasses.replace(content, conditions=conditions))).text
    assert "Of several samples the first is shown." in text and "not drawn" in text


def test_weighs_little(content):
    random = np.random.default_rng(1)
    ids = [f"stim{row}" for row in range(100)]
    noise = random.integers(0, 256, (100, 64, 64, 3), dtype=np.uint8)  # the worst a PNG can meet
    pictures = dict(zip(ids, noise, strict=True))
    conditions = {f"condition_{k}": pictures for k in range(7)} | {"reconstruction": pictures}
    html = render(dataclasses.replace(content, stimulus_ids=ids, shown=pictures, conditions=conditions, captions=None))
    assert len(html) < 6e6


def test_many_points_become_a_bitmap(content):
    one = content.scores.conditions["reconstruction"]
    many = dataclasses.replace(one, values={name: np.tile(v, 100) for name, v in one.values.items()})
    few = distribution(content.scores, "pixcorr")
    scores = dataclasses.replace(content.scores, conditions={"reconstruction": many})
    assert "<image" not in few and "<image" in distribution(scores, "pixcorr")
    assert len(distribution(scores, "pixcorr")) < 300_000


def test_figures_are_the_same_every_time(content):
    for metric in content.scores.metrics:
        svg = distribution(content.scores, metric)
        assert svg == distribution(content.scores, metric)
        assert svg.startswith("<svg") and "<metadata" not in svg
        assert not re.search(r'<svg[^>]* width="', svg)


def test_figures_of_uniform_and_single_scores(content):
    for size in (1, 5):
        scored = content.scores.conditions["reconstruction"]
        flat = dataclasses.replace(scored, values={name: np.zeros(size) for name in scored.values})
        scores = dataclasses.replace(content.scores, conditions={"reconstruction": flat})
        assert scored.values and all(distribution(scores, metric) for metric in scored.values)


def test_rows_are_spread_over_the_test_set():
    pictures = dict.fromkeys(IDS)
    chosen, how = choose_stimuli(IDS, pictures, {"reconstruction": pictures}, "reconstruction", 6)
    assert len(chosen) == 6 and chosen[0] == IDS[0] and chosen[-1] == IDS[-1]
    assert how.startswith("6 of the 24 test stimuli, evenly spaced")

    few = dict.fromkeys(IDS[1::2])
    chosen, how = choose_stimuli(IDS, pictures, {"reconstruction": pictures, "x": few}, "reconstruction", 6)
    assert set(chosen) <= set(few) and "12 test stimuli that every condition here has drawn (there are 24)" in how

    one = dict.fromkeys(IDS[:1])
    chosen, how = choose_stimuli(IDS, pictures, {"x": one, "reconstruction": pictures}, "reconstruction", 40)
    assert chosen == IDS and how.startswith("All 24 test stimuli")

    chosen, how = choose_stimuli(IDS, pictures, {"reconstruction": few}, "reconstruction", 40)
    assert chosen == list(few) and how.startswith("All 12 test stimuli that every condition")


def test_small_pictures_are_exact_and_large_ones_small():
    small = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    header, text = data_uri(small).split(",")
    assert header == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))), small)
    header, text = data_uri(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)).split(",")
    assert header == "data:image/jpeg;base64" and len(text) < 80_000
    with pytest.raises(InputError, match="8-bit RGB"):
        data_uri(small / 255)
