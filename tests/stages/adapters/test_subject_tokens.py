"""Tokens of subjects: each stands beside its own rows."""

import pytest
import torch

from stages.adapters.subject_tokens import SubjectTokens
from stages.ground.errors import InputError

SUBJECTS = ("subj02", "subj01", "subj05")


def made(**changed):
    torch.manual_seed(0)
    return SubjectTokens(SUBJECTS, **{"width": 4, **changed})


def test_rows_are_in_the_order_they_are_given():
    tokens = made()
    found = tokens({"subj05": 2, "subj02": 1})
    assert torch.equal(found, torch.stack([tokens.tokens[2], tokens.tokens[2], tokens.tokens[0]]))


def test_a_gradient_reaches_the_tokens_of_those_who_are_there():
    tokens = made()
    tokens({"subj01": 3}).sum().backward()
    reached = {name for name, one in tokens.named_parameters() if one.grad is not None}
    assert reached == {"tokens.1"} == set(tokens.subject_tensors("subj01").values())
    assert torch.equal(tokens.tokens[1].grad, torch.full((4,), 3.0))


def test_first_values_have_the_spread_that_is_asked_for():
    wide = made(width=40_000)
    assert abs(float(wide.tokens[0].std()) - 0.02) < 0.0005 and abs(float(wide.tokens[0].mean())) < 0.0005
    assert not made(spread=0.0).tokens[0].any()


def test_tensors_of_all_subjects_are_all_there_are():
    tokens = made()
    owned = [name for subject in SUBJECTS for name in tokens.subject_tensors(subject).values()]
    assert sorted(owned) == sorted(tokens.state_dict())


@pytest.mark.parametrize("subjects, changed, said", [
    ((), {}, "tokens of no subject"),
    (SUBJECTS, {"width": 0}, "width is 0"),
    (SUBJECTS, {"spread": -1.0}, "spread is -1.0"),
])  # fmt: skip
def test_what_cannot_be_is_refused(subjects, changed, said):
    with pytest.raises(InputError, match=said):
        SubjectTokens(subjects, **{"width": 4, **changed})


def test_strangers_are_refused():
    with pytest.raises(InputError, match="no token of subject 'subj2'.*subj02"):
        made()({"subj2": 1})
    with pytest.raises(InputError, match="rows of no subject"):
        made()({})
