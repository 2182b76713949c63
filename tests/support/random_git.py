"""Tiny random GITs in the layout in which GIT is published, which write with the words of `random_blip`."""

import torch
from random_blip import WORDS, save_bert_tokenizer

GIT_SIZE, GIT_PATCH = 32, 8


def git_config():
    """A tiny GIT whose states and tokens have different widths, as a transformers.GitConfig."""
    from transformers import GitConfig, GitVisionConfig

    vision = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3)
    text = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2)
    numbers = dict(vocab_size=len(WORDS), bos_token_id=2, eos_token_id=3, pad_token_id=0, max_position_embeddings=24)
    return GitConfig(
        vision_config=GitVisionConfig(**vision, image_size=GIT_SIZE, patch_size=GIT_PATCH), **text, **numbers
    )


def git(seed=5):
    """A tiny GIT, as transformers makes it, whose captions differ from picture to picture."""
    from transformers import GitForCausalLM

    network = GitForCausalLM(git_config()).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 or "class_embedding" in name:
                size = 1 if "embed" in name else value[0].numel() ** -0.5
                value.copy_(torch.randn(value.shape, generator=random) * size)
        # The states weigh more than the words that were written, and the end is so likely that sentences have several lengths.
        network.git.visual_projection.visual_projection[1].weight *= 3
        network.output.weight *= 3
        network.output.bias[3] = 2
    return network


def save_git(folder, network=None):
    """Write a tiny GIT and its tokenizer in the layout of Hugging Face; returns the network."""
    network = network or git()
    network.save_pretrained(folder)
    save_bert_tokenizer(folder)
    return network
