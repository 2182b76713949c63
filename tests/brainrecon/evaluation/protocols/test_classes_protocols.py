"""The two protocols of n-way identification by classes: what they ask for, and scores under them."""

import numpy as np
import torch
import torchvision
from PIL import Image

from brainrecon.evaluation.metrics.n_way_classes import n_way_of_classes, n_way_of_classes_drawn
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.published import published_values
from brainrecon.evaluation.scoring import evaluate
from brainrecon.evaluation.views.resize_and_crop import prepare
from brainrecon.report.run.html import ReportContent, render
from stages.networks.evaluation_network import EvaluationClasses
from weights import store

IDS = [f"s{row}" for row in range(10)]
RANDOM = np.random.default_rng(3)


class Classifier:
    """Logits of a thousand classes, from a few pixels."""

    weights = np.random.default_rng(0).standard_normal((3 * 7 * 7, 1000)).astype(np.float32)

    def embed(self, prepared):
        assert prepared.dtype == np.float32 and prepared.shape[1:] == (3, 518, 518)
        return prepared[:, :, ::74, ::74].reshape(len(prepared), -1) @ self.weights


def pictures(n, size=64):
    return RANDOM.integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_the_twin_scores_by_the_embedded_classes(tmp_path):
    shown, drawn = pictures(10), np.stack([pictures(10), pictures(10)], axis=1)
    drawn[:5, 0] = shown[:5]
    scores = evaluate(shown, {"mine": drawn}, stimulus_ids=IDS, protocol="brainrecon-1-classes", n_resamples=2000)
    judge = EvaluationClasses.from_pretrained(store.path("tiny-evaluation"), "category")
    true = judge.embed(shown)
    own = np.mean([n_way_of_classes(true, judge.embed(drawn[:, k]), 10) for k in range(2)], axis=0)
    np.testing.assert_allclose(scores.conditions["mine"].values["classes_10_way"], own, atol=1e-6)
    trials = [n_way_of_classes_drawn(true, judge.embed(drawn[:, k]), 10, items=IDS) for k in range(2)]
    np.testing.assert_allclose(
        scores.conditions["mine"].values["classes_10_way_drawn"], np.mean(trials, axis=0), atol=1e-3
    )
    row = scores.mean("mine", "classes_10_way")
    assert row.ci_low < row.mean < row.ci_high
    page = render(ReportContent("mine", "on nothing", IDS, dict(zip(IDS, shown)), {}, scores))
    assert "10-way by classes, expected" in page and "chance is 10.0" in page


def test_scores_do_not_depend_on_order_or_number():
    shown, drawn = pictures(10), pictures(10)
    whole = evaluate(shown, {"mine": drawn}, stimulus_ids=IDS, protocol="brainrecon-1-classes", n_resamples=2000)
    order = [7, 2, 4]
    some = evaluate(
        shown[order],
        {"mine": drawn[order]},
        stimulus_ids=[IDS[row] for row in order],
        protocol="brainrecon-1-classes",
        n_resamples=2000,
    )
    values = [one.conditions["mine"].values["classes_10_way_drawn"] for one in (whole, some)]
    np.testing.assert_allclose(values[0][order], values[1], atol=1e-3)


def test_published_scores_are_of_torchvisions_network():
    protocol, weights = load_protocol("mindvis-2023"), torchvision.models.ViT_H_14_Weights.DEFAULT
    entry, spec = store.entry("vit-h-14-imagenet1k-swag-e2e-v1"), protocol.networks["vit_h_14"]
    assert entry.origin == weights.url and entry.files[0].reckoned == 4 * weights.meta["num_params"]
    asked, preparation = weights.transforms(), spec.preparation
    assert (preparation.resize.size,) == tuple(asked.crop_size) == tuple(asked.resize_size)
    assert preparation.resize.interpolation == asked.interpolation.value == "bicubic"
    assert (preparation.mean, preparation.std) == (tuple(asked.mean), tuple(asked.std))
    drawn = pictures(2, 256)
    wanted = torch.stack([asked(Image.fromarray(one)) for one in drawn]).numpy()
    np.testing.assert_allclose(prepare(drawn, protocol.resize, preparation), wanted, atol=3e-6)
    drawn, expected = (protocol.metrics[name] for name in ("classes_50_way_drawn", "classes_50_way"))
    assert drawn.options == {"n_way": 50, "top_k": 1, "n_trials": 1000} and expected.options == {
        "n_way": 50,
        "top_k": 1,
    }
    assert {row.method.split(",")[0] for row in published_values("mindvis-2023")} >= {"MinD-Vis", "CMVDM"}
    assert all(set(row.verified.values()) == {"memory"} for row in published_values("mindvis-2023"))


def test_a_table_under_the_published_protocol():
    shown = pictures(4, 40)
    drawn = (0.7 * shown + 0.3 * pictures(4, 40)).astype(np.uint8)
    scores = evaluate(
        shown,
        {"mine": drawn, "other": shown[::-1].copy()},
        stimulus_ids=IDS[:4],
        protocol="mindvis-2023",
        networks={"vit_h_14": Classifier()},
        n_resamples=2000,
    )
    for name in ("pairs_mse", "pairs_pcc", "pairs_ssim"):
        assert scores.mean("mine", name).mean == 1.0 > scores.mean("other", name).mean
    assert scores.mean("mine", "classes_50_way").mean > scores.mean("other", "classes_50_way").mean
    assert scores.mean("mine", "ssim_colours").mean > 0.5 > scores.mean("other", "ssim_colours").mean
