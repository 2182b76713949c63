"""What pickles of weights hold that was not put there by a friend, and how tensors are compared."""

import torch


def same(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name].nan_to_num(9), value.nan_to_num(9))
        for name, value in expected.items()
    )


class Harmful:
    """Something that a pickle would run when it is loaded."""

    def __reduce__(self):
        return (open, ("harm-was-done", "w"))
