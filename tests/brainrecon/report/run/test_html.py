"""The report: one file, nothing outside it, nothing in it that was not escaped."""

import dataclasses
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.embedding_scores import EmbeddingRow, EmbeddingScores, RankRow
from brainrecon.evaluation.scores.scores import SummaryRow
from brainrecon.report.run import html as html_module
from brainrecon.report.run.html import ReportContent, render
from stages.ground.errors import InputError

N = 48
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


@pytest.fixture(scope="module", autouse=True)
def figures_are_drawn_once():
    """A figure follows from what it is given, and most pages here have the same ones."""

    def once(draw):
        drawn = {}

        def figure(*given):
            key = pickle.dumps(given)
            if key not in drawn:
                drawn[key] = draw(*given)
            return drawn[key]

        return figure

    with pytest.MonkeyPatch.context() as patch:
        for name in ("against", "curve", "distribution"):
            patch.setattr(f"brainrecon.report.run.html.{name}", once(getattr(html_module, name)))
        yield


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
        {name: Outputs(*one) for name, one in conditions.items()},
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
        notes=["Half of the stimuli under controls."],
        captions={one: ["a red house", "a house"] for one in IDS} | {"train0001": HOSTILE},
        captions_heading="Captions",
        captions_explanation="Chosen by CLIP.",
        decoder=[{"target": "vdvae", "n_targets": 9216, "penalty": 52000.0, "held_out_correlation": 0.33123}],
        config={"method": "brain-diffuser", "generator": {"strength": 0.75, "context_weights": [0.6, 0.4]}},
        environment={"torch": "2.6", "machine": {"cuda": None}},
        citations=["Ozcelik & VanRullen (2023), https://doi.org/10.1038/s41598-023-42891-8"],
        simulated=True,
    )


@pytest.fixture(scope="module")
def html(content):
    return render(content)


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
    assert "@import" not in render(content) and set(re.findall(r"url\((.)", render(content))) <= {"#"}


def test_an_id_occurs_once(content):
    ids = re.findall(r' id="([^"]+)"', render(content))
    assert len(ids) == len(set(ids))


def test_says_everything(content):
    text = Page(render(content)).text
    for expected in (
        "A title",
        "Simulated responses",
        "No brain was measured",
        "Half of the stimuli under controls.",
        "The reconstructions of 48 stimuli score",
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
        "Best 5",
        "Median 5",
        "Worst 5",
        "Unselected 6",
        "by the reconstruction's two-way identification on the evaluation network, ties decided by PixCorr",
        "of the 24 test stimuli that every condition here has drawn (there are 48)",
    ):
        assert expected in text, expected


def test_numbers_in_the_table_are_those_of_the_scores(content):
    text = Page(render(content)).text
    row = content.scores.mean("stage_one", "pixcorr")
    assert f"{row.mean:.3f} {row.ci_low:.3f} to {row.ci_high:.3f}" in text
    row = content.scores.difference("stage_one", "pixcorr")
    assert f"▲ {row.mean:+.3f} {row.ci_low:+.3f} to {row.ci_high:+.3f}" in text


@pytest.mark.parametrize(
    "field",
    [
        "title",
        "subtitle",
        "notes",
        "citations",
        "captions_heading",
        "config",
        "decoder",
        "rois",
        "rois_explanation",
        "links",
    ],
)
def test_hostile_text_is_escaped(content, field):
    hostile = {
        "notes": [HOSTILE],
        "citations": [HOSTILE],
        "config": {HOSTILE: {HOSTILE: HOSTILE}},
        "decoder": [{HOSTILE: HOSTILE}],
        "rois": [{"roi": HOSTILE, HOSTILE: HOSTILE}],
        "links": [(HOSTILE, HOSTILE.replace(":", ""))],
    }.get(field, HOSTILE)
    rows = {"rois": [{"roi": "V1"}]} if field == "rois_explanation" else {}
    html = render(dataclasses.replace(content, **{field: hostile}, **rows))
    assert "<script" not in html and "&lt;script&gt;" in html


def test_hostile_condition_and_stimulus_names_are_escaped(content):
    name, stimulus = "<script>$x$</script>", '"><script>'
    images = np.stack(list(content.shown.values()))[:4]
    ids = [stimulus, *IDS[1:4]]
    scores = evaluate(
        images,
        {name: Outputs(ids, images)},
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
    for absent in (
        *("Captions", "Decoder", "Configuration", "Versions", "How to cite", "Simulated"),
        *("Predicted embeddings", "By region", "Files", "Noise ceiling", "Before comparing"),
    ):
        assert absent not in text


def test_several_samples_and_missing_pictures(content):
    conditions = {name: dict(drawn) for name, drawn in content.conditions.items()}
    conditions["reconstruction"] = {one: [image, image] for one, image in conditions["reconstruction"].items()}
    conditions["a_control_of_my_own"] = {IDS[3]: content.shown[IDS[3]]}
    scored = dict(content.scores.conditions)
    own = scored["reconstruction"]
    scored["reconstruction"] = dataclasses.replace(own, n_samples=(2,) * len(own.stimulus_ids))
    scores = dataclasses.replace(content.scores, conditions=scored)
    text = Page(render(dataclasses.replace(content, conditions=conditions, scores=scores))).text
    assert "Of several samples the first is shown; scores are means over them." in text and "not drawn" in text


def test_weighs_little(content):
    random = np.random.default_rng(1)
    ids = [f"stim{row}" for row in range(100)]
    noise = random.integers(0, 256, (100, 64, 64, 3), dtype=np.uint8)  # the worst a PNG can meet
    pictures = dict(zip(ids, noise, strict=True))
    conditions = {f"condition_{k}": pictures for k in range(7)} | {"reconstruction": pictures}
    html = render(dataclasses.replace(content, stimulus_ids=ids, shown=pictures, conditions=conditions, captions=None))
    assert len(html) < 6e6


def test_a_page_of_nsd_weighs_little(content):
    """982 stimuli of 224 pixels under nine conditions."""
    random = np.random.default_rng(2)
    ids = [f"stim{row}" for row in range(982)]
    coarse = random.integers(0, 256, (28, 28, 28, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    pictures = {one: coarse[row % 28] for row, one in enumerate(ids)}
    scored = content.scores.conditions["reconstruction"]
    many = dataclasses.replace(
        scored,
        stimulus_ids=tuple(ids),
        n_samples=(1,) * 982,
        values={name: random.random(982) for name in scored.values},
    )
    row = content.scores.summary[0]
    names = ["reconstruction", "stage_one", "shuffled_responses", *(f"condition_{k}" for k in range(6))]
    html = render(
        dataclasses.replace(
            content,
            stimulus_ids=ids,
            shown=pictures,
            conditions=dict.fromkeys(names, pictures),
            scores=dataclasses.replace(
                content.scores,
                conditions=dict.fromkeys(names, many),
                summary=[
                    dataclasses.replace(row, condition=name, metric=metric) for name in names for metric in many.values
                ],
            ),
            captions=dict.fromkeys(ids, ["a caption of some length about what there is to see"] * 5),
        )
    )
    assert len(html) < 10e6


def test_each_picture_carries_its_score(content):
    html = render(content)
    one = content.scores.conditions["reconstruction"]
    best = max(
        range(N), key=lambda row: (one.values["identification_evaluation"][row], one.values["pixcorr"][row], -row)
    )
    common = [name for name in IDS[::2] if name in html]
    assert f"{100 * one.values['identification_evaluation'][best]:.1f} %" in html
    assert common and Page(html).text.count("Unselected 6") == 1
    row = one.stimulus_ids.index(common[0])
    assert f'<div class="id">{100 * one.values["identification_evaluation"][row]:.1f} %</div>' in html
    assert f'<div class="id low">{one.values["pixcorr"][row]:.3f}</div>' in html


def test_few_stimuli_are_all_shown_once(content):
    few = {name: {one: drawn[one] for one in IDS[:20:2]} for name, drawn in content.conditions.items()}
    text = Page(render(dataclasses.replace(content, conditions=few))).text
    assert "From best to worst" in text and "All 10 test stimuli that every condition" in text
    assert "Worst 5" not in text and "Unselected" not in text


def test_links_lead_beside_the_page(content):
    links = [("Scores", "scores/brainrecon-1.csv"), ("Odd", "a folder/50 % #1?.txt"), ("Up", "../other/report.html")]
    page = Page(render(dataclasses.replace(content, links=links)))
    assert "scores/brainrecon-1.csv" in page.addresses and "../other/report.html" in page.addresses
    assert "a%20folder/50%20%25%20%231%3F.txt" in page.addresses
    assert "Files" in page.text and "Odd" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "https://example.org/x",
        "javascript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "/etc/passwd",
        "//example.org/x",
        "\\\\host\\share",
        "C:/scores.csv",
        "",
    ],
)
def test_a_link_elsewhere_is_refused(content, path):
    with pytest.raises(InputError, match="expected a path relative to the report"):
        render(dataclasses.replace(content, links=[("Scores", path)]))


def test_notes_of_the_scores_stand_by_the_protocol(content):
    scores = dataclasses.replace(content.scores, notes=("Published on 982 stimuli; these are 48.", HOSTILE))
    html = render(dataclasses.replace(content, scores=scores))
    text = Page(html).text
    assert "Before comparing: Published on 982 stimuli; these are 48." in text and "<script" not in html
    assert text.index("Before comparing") < text.index("sha256") < text.index("Pictures")


def test_embeddings_beside_their_null(content):
    protocol = load_protocol(content.scores.protocol)
    own = [
        {"name": "retrieval", "measure": "image_retrieval", "target": "clip", "n_way": 300, "label": HOSTILE},
        {"name": "pairs", "measure": "brain_retrieval", "target": "vdvae", "label": "Pairs"},
    ]
    protocol = type(protocol)({**protocol.content, "embeddings": own})
    rows = [
        EmbeddingRow("retrieval", "clip", 48, 0.312, 0.271, 0.356, 0.0034, 0.001, 0.006, 1000),
        EmbeddingRow("pairs", "vdvae", 48, 0.512, None, None, 0.5, 0.47, 0.53, 1000),
    ]
    ranks = [RankRow("vdvae", 48, 12.0, 40.0), RankRow("nothing", 48, 0.0, 0.0)]
    scores = dataclasses.replace(
        content.scores, protocol=protocol, embeddings=EmbeddingScores(tuple(IDS), {}, rows, ranks)
    )
    html = render(dataclasses.replace(content, scores=scores))
    text = Page(html).text
    assert "clip 48 ▲ 31.2 27.1 to 35.6 0.3 0.1 to 0.6 1,000 2.08" in text  # one of the 48
    assert "Pairs vdvae 48 ○ 51.2 no interval 50.0 47.0 to 53.0 1,000 50" in text
    assert "vdvae 48 12.0 40.0 30 %" in text and "nothing 48 0.0 0.0 –" in text
    assert "<script" not in html


def test_ceilings_close_the_table(content):
    ceiling = SummaryRow("ceiling", "pixcorr", 48, 0.913, 0.9, 0.92)
    scores = dataclasses.replace(content.scores, ceilings={"noise_ceiling": {"pixcorr": ceiling}})
    assert "Noise ceiling 48 0.913 0.900 to 0.920 – –" in Page(render(dataclasses.replace(content, scores=scores))).text


def test_metrics_without_a_score_have_no_column(content):
    text = Page(render(content)).text
    has = {row.metric for row in content.scores.summary}
    absent = [spec.label for name, spec in content.scores.metrics.items() if name not in has]
    assert absent and f"Not scored: {', '.join(absent)}." in text
    head = text[text.index("Means over stimuli") : text.index("minus each of the others")]
    assert all(head.count(label) == 1 for label in absent[1:])


def test_regions_are_rows(content):
    def row(metric, mean):
        return SummaryRow("reconstruction", metric, 48, mean, mean - 0.1, mean + 0.1)

    rois = [
        {"roi": "V1", "n_voxels": 1350, "pixcorr": row("pixcorr", 0.4), "identification_clip": row("x", 0.7)},
        {"roi": "FFA", "n_voxels": 482, "pixcorr": None},
    ]
    text = Page(render(dataclasses.replace(content, rois=rois, rois_explanation="Each region alone."))).text
    assert "By region Each region alone. Region Number of voxels PixCorr Two-way identification on CLIP %" in text
    assert "V1 1,350 0.400 0.300 to 0.500 70.0 60.0 to 80.0 FFA 482 – –" in text


@pytest.mark.parametrize("row", [{"pixcorr": None}, {"roi": "V1", "unknown": SummaryRow("r", "unknown", 3, 0.1, 0, 1)}])
def test_regions_with_unknown_scores_are_refused(content, row):
    with pytest.raises(InputError, match="A row of regions has"):
        render(dataclasses.replace(content, rois=[row]))


def test_a_protocol_without_a_common_size(content):
    protocol = content.scores.protocol
    own = {key: value for key, value in protocol.content.items() if key != "resize"}
    resize = {"size": 32, "interpolation": "bilinear", "antialias": False}
    own["metrics"] = [
        {**spec, "resize": resize} if spec.get("features", "pixels") == "pixels" else spec for spec in own["metrics"]
    ]
    own["networks"] = {name: {**spec, "resize": resize, "crop": 28} for name, spec in own["networks"].items()}
    own["source"] = "Somebody (2023)"
    own["test_set"] = {"dataset": "nsd", "n_stimuli": 982}
    scores = dataclasses.replace(content.scores, protocol=type(protocol)(own))
    text = Page(render(dataclasses.replace(content, scores=scores))).text
    assert "at their own size" in text and "32 × 32 pixels (bilinear, not antialiased), centre 28 × 28" in text
    assert "982 stimuli of nsd" in text and "Somebody (2023)" in text


def test_printing_cuts_nothing_and_unfolds(content):
    html = render(content)
    rules = html[html.index("@media print") : html.index("</style>")]
    for expected in ("overflow: visible", "break-inside: avoid", "details.printed::details-content"):
        assert expected in rules
    assert "size: landscape" in html
    assert html.count('<details class="printed">') == 3 and "Configuration" in html


def test_contents_lead_to_the_sections_that_are_there(content, html):
    led_to = re.findall(r'<li><a href="#([a-z-]+)">', html)
    assert led_to == re.findall(r'<section id="([a-z-]+)">', html)
    bare = render(dataclasses.replace(content, decoder=(), captions=None, conditions={}))
    assert re.findall(r'<li><a href="#([a-z-]+)">', bare) == re.findall(r'<section id="([a-z-]+)">', bare)
    assert "#decoder" in html and "#decoder" not in bare and "#pictures" not in bare


def test_what_was_found_stands_before_notes_and_contents(html):
    text = Page(html).text
    assert text.index("score", text.index("The reconstructions of 48")) < text.index(
        "Half of the stimuli under controls."
    )
    assert text.index("The reconstructions of 48") < text.index("Every stimulus")


def test_a_dark_screen_has_a_colour_for_every_colour(html):
    light, dark = re.findall(r":root \{([^}]*)\}", html)
    named = {name: set(re.findall(r"--([a-z-]+): ", rules)) for name, rules in (("light", light), ("dark", dark))}
    assert named["light"] == named["dark"] and "prefers-color-scheme: dark" in html
    style = html[: html.index("</style>")].replace(light, "").replace(dark, "")
    # What has no name there would stay as it is on a dark screen.
    assert not re.findall(r"#[0-9a-f]{3,6}\b", style)
    used = set(re.findall(r"var\(--([a-z-]+)", html)) - {"side", "columns", "shade"}
    assert used <= named["light"]


def test_figures_take_the_colours_of_the_page(html):
    figure = html[html.index("<svg") : html.index("</svg>")]
    for name in ("page", "ink", "blue"):
        assert f"var(--{name}, #" in figure
    assert "#23272e" not in figure.replace("var(--ink, #23272e)", "")


def test_every_picture_can_be_enlarged_and_tells_its_scores_then(html):
    grid = html[html.index('<section id="pictures">') : html.index('<section id="scores">')]
    pictures = grid.count("<img ")
    assert pictures == grid.count('<label class="zoom"><input type="checkbox" aria-label="Enlarge ') > 0
    lines = re.findall(r'<span class="lines">(Reconstruction, nsd[^<]*)</span>', grid)
    assert lines and all("PixCorr: " in one and "CLIP" in one for one in lines)
    # A picture is in the page once, small or large.
    uris = re.findall(r'src="(data:[^"]+)"', grid)
    assert len(uris) == pictures


def test_a_narrow_screen_has_the_headline_in_a_table_of_its_own(content, html):
    table = html[html.index("means headline") :]
    table = table[: table.index("</table>")]
    row = content.scores.mean("reconstruction", "identification_evaluation")
    assert f"<b>{100 * row.mean:.1f}</b>" in table and table.count("<tr") == len(content.scores.conditions)
    assert ".headline { display: none; }" in html


def test_what_to_cite_says_protocol_judges_result_and_software(content, html):
    import brainrecon

    quoted = html[html.index('<p class="quote">') :]
    quoted = quoted[: quoted.index("</p>")]
    row = content.scores.mean("reconstruction", "identification_evaluation")
    expected = f"{100 * row.mean:.1f} % (95 % interval {100 * row.ci_low:.1f} to {100 * row.ci_high:.1f})"
    for text in (
        "A title (48 test stimuli)",
        content.scores.protocol.sha256[:16],
        content.scores.identity[:16],
        expected,
    ):
        assert text in quoted, text
    assert f"brainrecon, version {brainrecon.__version__}" in quoted


def test_all_pictures_are_led_to_or_how_to_have_them_is_said(content):
    page = Page(render(dataclasses.replace(content, all_pictures=["all-pictures/1.html", "all-pictures/2.html"])))
    assert "all-pictures/1.html" in page.addresses and "all-pictures/2.html" in page.addresses
    assert "All 48 test pictures: page 1 , 2 ." in page.text
    page = Page(render(dataclasses.replace(content, all_pictures_by="brainrecon report RUN --all-pictures")))
    assert "All 48 test pictures: brainrecon report RUN --all-pictures" in page.text


def test_each_training_has_its_curves_under_its_own_name(content):
    values = {"loss": ([1, 2, 3], [3.0, None, 1.0]), "clip_image error": ([1, 2, 3], [1.0, 1.0, 1.0])}
    one, two = ({"tokens": values}, {"tokens": values, HOSTILE: {"loss": ([1], [0.5])}})
    pages = [render(dataclasses.replace(content, curves=curves)) for curves in ({}, one, two)]
    without, alone, both = (page.partition('<section id="training">')[2].partition("</section>")[0] for page in pages)
    assert not without and "#training" not in pages[0] and "#training" in pages[1]
    # One training needs no name.
    assert "<h3>" not in alone and alone.count("<svg") == 2
    assert both.count("<h3>") == 2 and both.count("<svg") == 3 and "<script" not in both
    # The same curves twice on a page refer each to their own shapes.
    ids = re.findall(r' id="([^"]+)"', both.partition("</h3>")[2])
    clips = [one for one in ids if not re.fullmatch(r"[a-z]+_\d+", one)]
    assert clips and len(clips) == len(set(clips))


def test_a_name_of_a_value_keeps_its_letters(content):
    curves = {"sd_latent": {"loss": ([1], [1.0]), "sd_latent difference": ([1], [1.0])}}
    assert "Sd_latent" not in render(dataclasses.replace(content, curves=curves))
