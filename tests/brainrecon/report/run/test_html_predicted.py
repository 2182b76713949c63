"""The report's blocks about predicted values: retrieval and captions; absent if there is nothing to say."""

import html

import numpy as np
import pytest

from brainrecon.evaluation import Protocol, evaluate
from brainrecon.report.run.html import ReportContent, render

N = 30
IDS = [f"nsd{row:05d}" for row in range(N)]
HOSTILE = "<script>alert('x')</script> a dog"


@pytest.fixture(scope="module")
def shown():
    return np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)


def scores_of(shown, *, pictures, retrieval, captions):
    content = {
        "name": "mine",
        "resize": {"size": 16, "interpolation": "bilinear", "antialias": True},
        "metrics": [{"name": "pixcorr", "measure": "pixel_correlation", "label": "PixCorr"}] if pictures else [],
        "retrieval": {
            "near": {"target": "clip_image", "direction": "brain_to_picture", "pool": 10, "label": "Picture found"},
            "best": {"target": "clip_image", "direction": "picture_to_brain", "pool": "all", "top_k": 5},
        },
        "captions": {"bleu_1": {"tokenisation": "simple", "label": "BLEU-1"}},
    }
    random = np.random.default_rng(1)
    true = random.normal(size=(N, 20))
    said = {name: f"a dog number {row}" for row, name in enumerate(IDS)}
    return evaluate(
        shown,
        {"reconstruction": shown[::-1].copy()} if pictures else {},
        stimulus_ids=IDS,
        protocol=Protocol(content),
        embeddings=({"clip_image": true}, {"clip_image": true + random.normal(size=true.shape)}) if retrieval else None,
        captions=[["a dog", f"number {row}"] for row in range(N)] if captions else None,
        predicted_captions={"reconstruction": said, "shuffled_responses": {IDS[0]: "a bus"}} if captions else None,
        n_resamples=2000,
    )


def page_of(shown, scores, **rest):
    conditions = {"reconstruction": dict(zip(IDS, shown))} if scores.protocol.metrics else {}
    content = ReportContent("A title", "subj01", IDS, dict(zip(IDS, shown)), conditions, scores, **rest)
    return render(content)


def test_a_run_with_everything_shows_both_blocks(shown):
    scores = scores_of(shown, pictures=True, retrieval=True, captions=True)
    said = {"reconstruction": {IDS[0]: HOSTILE, IDS[1]: ["one", "two"]}, "shuffled_responses": {IDS[0]: "a bus"}}
    page = page_of(shown, scores, predicted_captions=said, true_captions={IDS[0]: ["people said this", "and that"]})
    near, best = scores.retrieval.rows
    assert "Picture found" in page and "10 in each of 30 pools" in page and f"{100 * near.mean:.1f}" in page
    assert "A picture is given, and its prediction is searched among predictions." in page
    assert f"{100 * best.chance:.3g}" in page and f"{100 * near.mean_over_pools:.1f}" in page
    assert f"{scores.corpus['reconstruction']['bleu_1']:.3f}" in page and "people said this / and that" in page
    assert html.escape(HOSTILE, quote=False).replace("'", "&#39;") in page and "<script" not in page
    assert "one / two" in page and page.count('id="retrieval"') == page.count('id="predicted-captions"') == 1


def test_a_run_of_captions_alone_has_a_report_without_pictures(shown):
    page = page_of(shown, scores_of(shown, pictures=False, retrieval=False, captions=True))
    assert 'id="pictures"' not in page and 'id="retrieval"' not in page and "BLEU-1" in page
    assert "in BLEU-1" in page  # the first sentence


def test_a_run_of_pictures_alone_has_neither(shown):
    page = page_of(shown, scores_of(shown, pictures=True, retrieval=False, captions=False))
    assert 'id="retrieval"' not in page and 'id="predicted-captions"' not in page and 'id="pictures"' in page
