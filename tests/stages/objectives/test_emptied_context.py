"""A context that is empty now and then: how often, from when on, and nothing else of what is judged."""

import torch
from scipy.stats import binom

from stages.objectives.emptied_context import EmptiedContext


class Seen:
    """An objective that remembers what it was given."""

    reads = ("tokens", "map")

    def __call__(self, outputs, targets, step):
        self.outputs = outputs
        return outputs["tokens"].sum(), {}

    def __repr__(self):
        return "Seen()"


def seen(share, step=10, first_step=10, n=400):
    inner, empty = Seen(), torch.randn(7, 4)
    torch.manual_seed(0)
    given = {"tokens": torch.randn(n, 7, 4), "map": torch.randn(n, 2, 3, 3)}
    EmptiedContext(inner, "tokens", empty, share, first_step)(given, {}, step)
    is_empty = (inner.outputs["tokens"] == empty).flatten(1).all(dim=1)
    assert torch.equal(inner.outputs["tokens"][~is_empty], given["tokens"][~is_empty])
    # The map stays, whatever the tokens are.
    assert inner.outputs["map"] is given["map"]
    return int(is_empty.sum())


def test_every_sample_never_and_the_published_share():
    assert seen(1.0) == 400 and seen(0.0) == 0
    least, most = binom.interval(0.999, 20_000, 0.05)
    assert least <= seen(0.05, n=20_000) <= most
    # Not before that phase.
    assert seen(1.0, step=9) == 0 and seen(1.0, step=11) == 400


def test_no_gradient_goes_through_what_was_replaced():
    tokens = torch.ones(50, 2, 3, requires_grad=True)
    objective = EmptiedContext(Seen(), "tokens", torch.zeros(2, 3), share=0.5)
    torch.manual_seed(0)
    objective({"tokens": tokens, "map": None}, {}, 0)[0].backward()
    kept = tokens.grad.flatten(1)
    assert 0 < (kept == 0).all(dim=1).sum() < 50 and ((kept == 0).all(dim=1) | (kept == 1).all(dim=1)).all()


def test_two_that_differ_are_told_apart():
    """What a training depends on is told by plain attributes."""
    one, other = (EmptiedContext(Seen(), "tokens", torch.zeros(2, 3), share) for share in (0.05, 0.1))
    plain = [
        {name: value for name, value in vars(each).items() if isinstance(value, (str, int, float))}
        for each in (one, other)
    ]
    assert plain[0] != plain[1] and plain[0]["of"] == "Seen()"
    assert repr(one) == "EmptiedContext(Seen(), 'tokens', share=0.05, first_step=0)"
