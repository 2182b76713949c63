"""What a dual-context generator attends to when it is told nothing, stored beside its weights."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class UnconditionalContexts(ModelMixin, ConfigMixin):
    """The two contexts of classifier-free guidance's unconditional half.

    The published ones are the encodings of a mid-grey picture and of the empty caption. As tensors of the
    checkpoint, generating needs no encoder.

    Parameters
    ----------
    image_tokens, text_tokens : int
        Length of each context.
    width : int
        Width of a token.

    Attributes
    ----------
    image : tensor of shape (image_tokens, width)
    text : tensor of shape (text_tokens, width)
    """

    @register_to_config
    def __init__(self, image_tokens: int = 257, text_tokens: int = 77, width: int = 768):
        super().__init__()
        self.image = nn.Parameter(torch.zeros(image_tokens, width), requires_grad=False)
        self.text = nn.Parameter(torch.zeros(text_tokens, width), requires_grad=False)

    @classmethod
    def from_contexts(cls, image, text):
        """Hold two given contexts, arrays or tensors of shape (n_tokens, width) with one width."""
        image, text = torch.as_tensor(image), torch.as_tensor(text)
        contexts = cls(image_tokens=len(image), text_tokens=len(text), width=image.shape[1])
        contexts.image.data.copy_(image)
        contexts.text.data.copy_(text)
        return contexts
