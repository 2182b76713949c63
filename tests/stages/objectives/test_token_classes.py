"""The classifier's loss is torch's own, and that of a classifier without an opinion is the logarithm of the codes."""

import math

import pytest
import torch

from stages.objectives.token_classes import TokenClasses


def test_without_an_opinion_it_is_log_k():
    tokens = torch.randint(37, (4, 9)).float()
    for smoothing in (0.0, 0.1):
        loss, _ = TokenClasses("t", smoothing)({"t": torch.zeros(4, 9, 37)}, {"t": tokens}, 0)
        assert loss.item() == pytest.approx(math.log(37), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_torchs_own(smoothing):
    torch.manual_seed(0)
    scores, tokens = torch.randn(4, 9, 37), torch.randint(37, (4, 9))
    loss, parts = TokenClasses("t", smoothing, weight=2.0)({"t": scores}, {"t": tokens.float()}, 0)
    own = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(scores.movedim(2, 1), tokens)
    torch.testing.assert_close(loss, 2 * own)
    torch.testing.assert_close(parts["t right"], (scores.argmax(2) == tokens).float().mean())
