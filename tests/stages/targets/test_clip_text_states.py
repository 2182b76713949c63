"""Captions as the last states of a text tower, held against the tower's own layers."""

import numpy as np
import torch

from stages.targets.clip_text_states import CLIPTextStates
from weights import store


def test_they_are_the_states_behind_the_last_block_and_layer_norm():
    target = CLIPTextStates.from_pretrained(store.path("tiny-clip"))
    captions, text = ["a red circle", "two cats on a boat"], target.model.text
    numbers = target._text_numbers(captions)
    with torch.no_grad():
        states = text.token_embedding(numbers) + text.positional_embedding
        for block in text.transformer.resblocks:
            states = block(states, attn_mask=text.attn_mask)
        expected = text.ln_final(states)
    found = target.encode([[one] for one in captions])
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)
    # Of several captions the mean.
    np.testing.assert_allclose(target.encode([captions])[0], found.mean(axis=0), atol=1e-5)
    assert target.shape == expected.shape[1:] and target.n_targets == found.shape[1]
    # Projected, they are those of retrieval.
    pooled, _ = text(numbers)
    ends = numbers.argmax(dim=1)
    projected = expected[torch.arange(2), ends] @ text.text_projection
    torch.testing.assert_close(pooled, projected, atol=1e-5, rtol=1e-4)
