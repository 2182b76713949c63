"""The embedded bridge from tiny-clip's tokens to the states of tiny-captioner, solved by least squares.

The bridge is linear in each of its two layers. They are solved in turn, the other held still, until nothing more is won: there is
nothing to draw, and the same pictures give the same bridge.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from stages.checkpoints.pretrained import WEIGHTS_FILE
from stages.generators.generator import Item, in_order
from stages.generators.language.bridged_captioner import BridgedCaptioner
from stages.networks.caption_bridge import CaptionBridge
from stages.targets.blip import BLIPStates
from stages.targets.unclip_tokens import UnclipTokens
from tiny_networks.captioner_figures import SIZE, WRITING, all_disturbed, names, scores
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator_figures import first_scenes
from tiny_networks.pool import load_pool
from tiny_networks.training import RECORD_FILE
from weights import store
from weights.whole_files import whole_file, write_text

NAME = "caption-bridge"
STEPS = 30
PICTURES = 6000
PENALTY = 1e-6  # of a layer, relative to the largest eigenvalue of what it reads


def tokens_and_states(images):
    """What is bridged: tokens (n, 64, 128) and states (n, 65, 128) of uint8 pictures, float64 tensors."""
    captioner = store.path("tiny-captioner")
    ends = (
        UnclipTokens.from_pretrained(store.path("tiny-clip")),
        BLIPStates.from_pretrained(captioner, size=SIZE, normalise="CLIP"),
    )
    return [torch.from_numpy(end.encode(images, batch_size=50)).unflatten(1, end.shape).double() for end in ends]


def solved(bridge, tokens, states, rounds):
    """Solve the layers of a bridge in turn, `rounds` times, in place; mean squared error after each round."""
    errors = []
    for _ in range(rounds):
        first, second = ((layer.weight.double(), layer.bias.double()) for layer in (bridge.linear1, bridge.linear2))
        # States less b are A times the tokens behind B, and a times the sums of B's rows.
        behind = torch.cat([tokens @ second[0].T, second[0].sum(1).expand(len(tokens), 1, -1)], dim=1)
        found = _least_squares(behind.transpose(1, 2).flatten(0, 1), (states - second[1]).transpose(1, 2).flatten(0, 1))
        first = found[:-1].T, found[-1]
        between = first[0] @ tokens + first[1][:, None]
        padded = torch.cat([between, torch.ones_like(between[..., :1])], dim=2)
        found = _least_squares(padded.flatten(0, 1), states.flatten(0, 1))
        second = found[:-1].T, found[-1]
        with torch.no_grad():
            for layer, (weight, bias) in zip((bridge.linear1, bridge.linear2), (first, second)):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        errors.append((between @ second[0].T + second[1] - states).square().mean().item())
    return errors


def _least_squares(given, wanted):
    """Weights (n_given, n_wanted) that are penalised a little."""
    gram = given.T @ given
    penalty = PENALTY * torch.linalg.eigvalsh(gram)[-1]
    return torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), given.T @ wanted)


def train(workspace, *, steps=None, device=None, threads=None):
    """Solve it anew in ``workspace/caption-bridge``, on the CPU, in a minute; returns the bridge."""
    if threads is not None:
        torch.set_num_threads(threads)
    began, folder = time.monotonic(), Path(workspace) / NAME
    images = load_pool(workspace).images[:PICTURES]
    tokens, states = tokens_and_states(images)
    # Identities as far as they go: both networks see the same patches, and the captioner's eyes are CLIP's.
    bridge = CaptionBridge(tokens.shape[1:], states.shape[1:]).requires_grad_(False)
    bridge.linear1.weight.copy_(torch.eye(*bridge.linear1.weight.shape).roll(1, 0))
    bridge.linear2.weight.copy_(torch.eye(*bridge.linear2.weight.shape))
    for layer in (bridge.linear1, bridge.linear2):
        layer.bias.zero_()
    errors = solved(bridge, tokens, states, steps or STEPS)
    print(
        f"{NAME}: mean squared error {errors[0]:.4f} after one round, {errors[-1]:.4f} after {len(errors)}", flush=True
    )
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / WEIGHTS_FILE) as partial:
        save_file(dict(bridge.state_dict()), partial)
    told = {"pictures": len(images), "rounds": len(errors), "seconds": round(time.monotonic() - began, 1)}
    write_text(folder / RECORD_FILE, json.dumps(told) + "\n")
    return bridge


def export(workspace, folder):
    """Write the folder of `stages.networks.caption_bridge.load_caption_bridge`: weights in float16, and a card."""
    workspace, folder = Path(workspace), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = load_file(workspace / NAME / WEIGHTS_FILE)
    with whole_file(folder / WEIGHTS_FILE) as partial:
        save_file({name: value.half().contiguous() for name, value in stored.items()}, partial)
    held_out = figures(folder, load_pool(workspace, held_out=True))
    told = json.loads((workspace / NAME / RECORD_FILE).read_text())
    write_text(folder / "card.md", _card(told, sum(each.numel() for each in stored.values()), held_out))
    return held_out


def figures(folder, pool, n=200, sample=1500):
    """Judge an exported bridge on held-out drawn scenes.

    Parameters
    ----------
    folder : path
    pool : tiny_networks.pool.Pool
        Held-out pictures.
    n : int
        How many of its first drawn scenes are captioned.
    sample : int
        Pictures from which it is learned how errors of decoding look.

    Returns
    -------
    figures : dict of str to float
        ``states_explained``, share of the states' variance over pictures. BLEU-4 of all captions together, CIDEr, and in how many
        captions (0..1) the main thing and its colour are named: ``true_…`` from the tokens of the picture, ``disturbed_…`` from
        tokens with errors as of decoding; BLEU-4 and CIDEr of ``another_…``, the captions from true tokens, each given to the
        next scene.
    """
    captioner = BridgedCaptioner.from_pretrained(folder, store.path("tiny-captioner"))
    rows = first_scenes(pool, n)
    tokens, states = tokens_and_states(np.array(pool.images[rows]))
    with torch.no_grad():
        left = (captioner.bridge(tokens.float()) - states).square().sum()
    errors = DecodingErrors(tokens_and_states(pool.images[:sample])[0].float())
    disturbed = all_disturbed(errors, tokens.float())
    true, decoded = (captions_of(captioner, each.float().numpy(), rows) for each in (tokens, disturbed))
    said = [pool.captions[row] for row in rows]
    found = {"states_explained": 1 - (left / (states - states.mean(0)).square().sum()).item()}
    for name, captions in (("true", true), ("disturbed", decoded)):
        found |= {f"{name}_{key}": each for key, each in (scores(said, captions) | names(pool, rows, captions)).items()}
    return found | {f"another_{key}": each for key, each in scores(said, true[1:] + true[:1]).items()}


def captions_of(captioner, tokens, rows):
    """Captions of tokens (n, n_tokens, width), one a row of the pool."""
    items = [Item(f"held-out-{row}") for row in rows]
    return in_order(captioner.draw({"unclip_tokens": tokens}, items, batch_size=20, **WRITING))


def _card(told, parameters, held_out):
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('bleu', 'BLEU').replace('cider', 'CIDEr')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    return f"""# tiny-caption-bridge

A bridge as MindEye2's (Scotti and others, 2024) from tokens of tiny-clip, of washed-out pictures as `UnclipTokens` makes them, to
the states that tiny-captioner writes from: one linear layer over tokens and one over values, under the published names.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only caption-bridge`: the two layers in turn by least squares, {told["rounds"]} times |
| learned from | {told["pictures"]:,} pictures |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| tokens | 64 of 128 values |
| states | 65 of 128 values |
{lines}
| licence | MIT, as the repository |

The held-out figures are for drawn scenes and their five captions each, of a search over three sentences without a prompt: from
true tokens, and from tokens disturbed as decoded ones are. Category and colour: the first that is named is the main thing's. What
knows nothing of the picture reaches this: the captions from true tokens, each given to another scene. tiny-captioner's own card
has the figures of its true states.
"""
