r"""How far the features of a picture are from decoded ones, of which some units are left out.

Lu and others (2023, MindDiffuser). With the decoded features :math:`t_l` of layer l, 0 outside the mask :math:`m_l` of its units,
the picture's own :math:`f_l`, and embeddings :math:`t` and :math:`f`,

.. math:: \sum_l \lambda_l (1 - w) \overline{(t_l - m_l f_l)^2} + 0.1 w (1 - \cos(t, f))

where the mean goes over all units of a layer, those outside the mask included as zeros, and

.. math:: \lambda_l = c_l |t_l|^{-1} / \sum_k |t_k|^{-1}
"""

from __future__ import annotations

import numpy as np
from torch.nn.functional import cosine_similarity

# Of the embedding's term beside those of the layers, before the weights.
EMBEDDING_SHARE = 0.1


def layer_shares(wanted, multipliers):
    """Return what the squared distance of each layer counts.

    >>> wanted = {"block 1": np.array([3.0, 4.0]), "block 2": np.array([0.0, 5.0])}
    >>> layer_shares(wanted, (2.0, 1.0))
    {'block 1': 1.0, 'block 2': 0.5}

    Parameters
    ----------
    wanted : mapping of str to array
        Decoded features by layer, masked.
    multipliers : sequence of float
        One for each layer, in order.

    Returns
    -------
    shares : dict of str to float
        Their sum is 1 before they are multiplied.
    """
    inverse = {
        name: 1 / max(float(np.linalg.norm(np.asarray(values, dtype=np.float64))), float(np.finfo(np.float32).tiny))
        for name, values in wanted.items()
    }
    total = sum(inverse.values())
    return {name: by * inverse[name] / total for name, by in zip(wanted, multipliers, strict=True)}


def masked_loss(found, wanted, masks, shares, embeddings, embedding_weight):
    """Return the distance of a picture's features from decoded ones.

    >>> import torch
    >>> layer, mask = torch.tensor([1.0, 2.0, 7.0, 7.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    >>> wanted = {"block 1": torch.tensor([1.0, 4.0, 0.0, 0.0])}
    >>> same = torch.ones(3)
    >>> float(masked_loss({"block 1": layer}, wanted, {"block 1": mask}, {"block 1": 1.0}, (same, same), 0.5))
    0.5

    Parameters
    ----------
    found, wanted : mapping of str to float tensor
        Layers of the picture, and decoded ones, which are 0 outside the mask; of one shape each.
    masks : mapping of str to float tensor of that shape
        1 for units that count, else 0.
    shares : mapping of str to float
        As `layer_shares` gives them.
    embeddings : (float tensor, float tensor), each of shape (n_values,)
        The picture's and the decoded one.
    embedding_weight : float
        w, 0 to 1.

    Returns
    -------
    loss : tensor of shape ()
    """
    layers = sum(shares[name] * (wanted[name] - masks[name] * found[name]).square().mean() for name in wanted)
    turned = 1 - cosine_similarity(*embeddings, dim=0)
    return (1 - embedding_weight) * layers + EMBEDDING_SHARE * embedding_weight * turned
