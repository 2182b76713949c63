"""Low-rank adapters of layers that subjects share, of each subject its own, through `peft`: the shared weights stay as they are.

An adapted layer is y = W x + b + (alpha / r) B A x, after Hu et al. (2022), "LoRA". The names of W and b in a state dict are
those of the layer without adapters, so that what subjects share is read and written as if there were none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

INITS = ("b_normal", "peft")
# Standard deviation of what is drawn.
_SPREAD = 0.01
_BASE = "base_layer."


class SubjectLora:
    """Adapters of some linear layers of a network, for each of some subjects.

    >>> network = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 4))
    >>> adapters = SubjectLora(network, ["0", "2"], ["subj01", "subj02"], rank=2)
    >>> with adapters.rows_of({"subj02": 3, "subj01": 1}):
    ...     network(torch.zeros(4, 6)).shape
    torch.Size([4, 4])
    >>> adapters.subject_tensors("subj01")["2.lora_A.weight"]
    '2.lora_A.subj01.weight'
    >>> "0.weight" in network.state_dict()
    True

    Before training an adapted network gives exactly what it gives without, since one factor of each product is 0. Outside of
    `rows_of` nobody is adapted to.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place: its layers are replaced by peft's, which hold them.
    layers : sequence of str
        Whole names of linear layers in the network.
    subjects : sequence of str
        What peft's adapters are called.
    rank : int
        Of the product of both factors. The layers may be narrower.
    alpha : float
        Adapters are multiplied by ``alpha / rank``.
    init : {"b_normal", "peft"}
        "b_normal": A is 0 and B is drawn with a standard deviation of 0.01. "peft": as usual, A is drawn and B is 0.

    Raises
    ------
    InputError
        A name is no linear layer of the network, or a subject cannot be the name of an adapter.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        subjects: Sequence[str],
        rank: int = 8,
        alpha: float = 8.0,
        init: str = "b_normal",
    ) -> None:
        check_low_rank(rank, alpha, init)
        known = {name: one for name, one in network.named_modules() if isinstance(one, nn.Linear)}
        for name in layers:
            if name not in known:
                raise InputError(
                    f"{name!r} is no linear layer of {type(network).__name__}{did_you_mean(name, known)}; expected some of "
                    f"{', '.join(list(known)[:4])}."
                )
        for subject in subjects:
            if "." in subject or not subject:
                raise InputError(
                    f"A subject is called {subject!r}, which cannot be the name of an adapter; expected a name without a full "
                    "stop, such as subj01."
                )
        self.subjects = tuple(subjects)
        _inject(network, list(layers), self.subjects, rank, alpha)
        self.layers = {name: network.get_submodule(name) for name in layers}
        self._names: list[str] | None = None
        for layer in self.layers.values():
            layer.register_forward_pre_hook(self._with_names, with_kwargs=True)
            layer.register_state_dict_post_hook(_without_holder)
            layer.register_load_state_dict_pre_hook(_with_holder)
            for subject in self.subjects if init == "b_normal" else ():
                draw_second(layer.lora_A[subject].weight, layer.lora_B[subject].weight)

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without the subject, and in the network's state dict."""
        self._check_known(subject)
        factors = ("lora_A", "lora_B")
        return {
            f"{name}.{factor}.weight": f"{name}.{factor}.{subject}.weight" for name in self.layers for factor in factors
        }

    @contextmanager
    def rows_of(self, n_rows: Mapping[str, int]) -> Iterator[None]:
        """Adapt the rows that the network reads meanwhile, each to its subject: numbers of rows by subject, in their order."""
        for subject in n_rows:
            self._check_known(subject)
        self._names = [subject for subject, n in n_rows.items() for _ in range(n)]
        try:
            yield
        finally:
            self._names = None

    def merge(self, subject: str) -> None:
        """Add one subject's adapters to the weights that all share, W + (alpha / r) B A: of a network for that subject alone."""
        self._check_known(subject)
        for layer in self.layers.values():
            layer.merge(adapter_names=[subject])

    def unmerge(self) -> None:
        """Take away what `merge` added."""
        for layer in self.layers.values():
            layer.unmerge()

    def _with_names(self, layer, arguments, named):
        """What a layer is called with: whose each row is, unless one subject's adapters are in the weights."""
        if layer.merged:
            return None
        names = ["__base__"] * len(arguments[0]) if self._names is None else self._names
        return arguments, named | {"adapter_names": names}

    def _check_known(self, subject):
        if subject not in self.subjects:
            raise InputError(
                f"The network has no adapters of subject {subject!r}{did_you_mean(subject, self.subjects)}; it was made for "
                f"{', '.join(self.subjects)}."
            )


def check_low_rank(rank: int, alpha: float, init: str) -> None:
    """Refuse what no low-rank product can have.

    >>> check_low_rank(8, 8.0, "b_normal")
    """
    check("rank", rank, Number(1, whole=True, example=8))
    check("alpha", alpha, Number(0, above=True, example=8.0))
    check("init", init, OneOf(*INITS))


def draw_second(first: Tensor, second: Tensor) -> None:
    """Begin a product B A with A = 0 and B drawn with a standard deviation of 0.01, the other way round than LoRA does.

    >>> a, b = torch.ones(2, 6), torch.zeros(5, 2)
    >>> draw_second(a, b)
    >>> float(a.abs().sum()), bool(b.abs().min() > 0)
    (0.0, True)

    Parameters
    ----------
    first, second : tensors of shape (rank, n_in) and (n_out, rank)
        A and B; changed in place.
    """
    with torch.no_grad():
        first.zero_()
        nn.init.normal_(second, std=_SPREAD)


def _inject(network, layers, subjects, rank, alpha):
    """Replace layers by peft's, with an adapter for each subject; all that was trained before is trained still."""
    # It takes seconds, and is needed for a new subject alone.
    from peft import LoraConfig, inject_adapter_in_model

    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for subject in subjects:
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, bias="none")
        inject_adapter_in_model(config, network, adapter_name=subject)
        # What peft notes of the one before; the layers know all that is needed.
        del network.peft_config
    for name, parameter in network.named_parameters():
        if ".lora_" in name:
            parameter.requires_grad_(True)
    for parameter in trained:
        parameter.requires_grad_(True)


def _without_holder(layer, state, prefix, metadata):
    """Bring the shared layer's tensors to their names without adapters, in a state dict."""
    for name in [name for name in state if name.startswith(prefix + _BASE)]:
        state[prefix + name.removeprefix(prefix + _BASE)] = state.pop(name)


def _with_holder(layer, state, prefix, *others):
    """Bring them to their names with adapters, in a state dict that is read."""
    for own in layer.base_layer.state_dict():
        if prefix + own in state:
            state[f"{prefix}{_BASE}{own}"] = state.pop(prefix + own)
