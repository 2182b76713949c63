"""Labels of classes as tokens: the condition that latent diffusion of ImageNet was trained with."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from stages.generators.diffusion.conditioners import Conditioner
from stages.ground.errors import InputError


class ClassTokens(ModelMixin, ConfigMixin):
    """The tokens of classes, as a part of a generator's folder (``labels/``); the last one is that of no class.

    Parameters
    ----------
    n_rows, width : int
        Classes and one more; values of a token.
    """

    @register_to_config
    def __init__(self, n_rows: int = 1001, width: int = 512):
        super().__init__()
        self.embedding = torch.nn.Embedding(n_rows, width)

    @property
    def table(self):
        """All tokens, float32 (n_rows, width)."""
        return self.embedding.weight.detach().float()


class LabelToken(Conditioner):
    """The token of a class, by its number; guidance's unconditional rows read that of no class, the last one.

    Parameters
    ----------
    reads : str
        The name of a value of one number: 0 for the first class.
    table : tensor of shape (n_classes + 1, width)
    added : int
        Width of the time embedding, to which zeros are added.

    """

    def __init__(self, reads, table, added):
        self.reads, self._table, self._added = reads, table, added

    def prepare(self, value, sampling):
        numbers = torch.tensor([int(row[0]) for row in value])
        table = self._table.to(sampling.device)
        tokens = table[numbers.to(sampling.device)][:, None]
        zeros = tokens.new_zeros(len(tokens), self._added)
        return sampling.with_context(tokens, table[-1:]).with_argument("class_labels", zeros, zeros)

    def check(self, row, stimulus_id):
        """Raise InputError if a row is the number of no class."""
        number, n_classes = float(row[0]), len(self._table) - 1
        if number != int(number) or not 0 <= number < n_classes:
            raise InputError(
                f"The label of {stimulus_id} is {number:g}; expected the number of a class, from 0 to {n_classes - 1}."
            )
