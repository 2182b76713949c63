"""Compiled networks: as a whole, or block by block; in place, so that they stay what they are on disk."""

import torch

# A network's blocks share their code, and each shape of a block is compiled by itself: that of Versatile Diffusion has eight of
# transformers, which is torch's own limit. Beyond it torch goes on without compiling, and says so in its log alone.
SHAPES_OF_A_BLOCK = 64


def compiled(network, whole=False, **options):
    """Compile a network of diffusers in place and return it.

    Blocks that are repeated are compiled once for each shape: seconds of compiling at the first batch. As a whole it takes
    minutes, and computes a little faster.

    Parameters
    ----------
    network : diffusers.ModelMixin
    whole : bool
        One graph, in place of one for each repeated block (``_repeated_blocks``); so is a network that names no such blocks.
    **options
        Of ``torch.compile``.
    """
    # Each size of a batch is compiled for itself: sizes are padded, and shapes that are known compute faster.
    options = {"fullgraph": True, "dynamic": False} | options
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, SHAPES_OF_A_BLOCK)
    if whole or not getattr(network, "_repeated_blocks", None):
        network.compile(**options)
    else:
        network.compile_repeated_blocks(**options)
    return network


def is_compiled(network):
    """Whether a network or any of its parts was compiled in place.

    >>> is_compiled(torch.nn.Linear(2, 2))
    False
    """
    parts = network.modules() if isinstance(network, torch.nn.Module) else ()
    return any(part._compiled_call_impl is not None for part in parts)
