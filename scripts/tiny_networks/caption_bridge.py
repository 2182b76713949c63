"""The embedded bridge from tiny-clip's tokens to the states of tiny-captioner, whose text decoder stays as it is.

The bridge is linear in each of its two layers. They are solved for the states in turn, the other held still, by least squares.
Such states have the colours of a picture and little of what is in it, which is a small part of their variance; so the bridge then
learns what the captioner learned: to have the fullest caption said, from tokens of which most are disturbed as decoded ones are.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from stages.checkpoints.pretrained import WEIGHTS_FILE
from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.generator import Item, in_order
from stages.generators.language.bridged_captioner import BridgedCaptioner
from stages.networks.blip import load_blip
from stages.networks.caption_bridge import CaptionBridge
from stages.targets.blip import BLIPStates
from stages.targets.unclip_tokens import UnclipTokens
from tiny_networks.captioner import SAMPLE, Captioner, fullest, sentences
from tiny_networks.captioner_figures import SIZE, WRITING, all_disturbed, names, scores
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator_figures import first_scenes
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import whole_file, write_text

NAME = "caption-bridge"
ROUNDS = 5
STEPS = 2500
BATCH_SIZE = 32
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


def begun(tokens, states, rounds=ROUNDS):
    """A bridge for tokens and states, solved by least squares."""
    bridge = CaptionBridge(tokens.shape[1:], states.shape[1:]).requires_grad_(False)
    # Identities as far as they go: both networks see the same patches, and the captioner's eyes are CLIP's.
    bridge.linear1.weight.copy_(torch.eye(*bridge.linear1.weight.shape).roll(1, 0))
    bridge.linear2.weight.copy_(torch.eye(*bridge.linear2.weight.shape))
    for layer in (bridge.linear1, bridge.linear2):
        layer.bias.zero_()
    errors = solved(bridge, tokens, states, rounds)
    print(f"{NAME}: mean squared error {errors[0]:.4f} after one round, {errors[-1]:.4f} after {rounds}", flush=True)
    return bridge.requires_grad_(True)


def loss_of(captioner, errors):
    """Surprise at captions of what the bridge makes of disturbed tokens."""

    def loss(model, batch, generator):
        tokens, words, given = batch
        nats, right = captioner(model(errors(tokens, generator)), words, given)
        return nats, {"right": right.item()}

    return loss


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/caption-bridge``, continuing what is there; returns the bridge with averaged weights."""
    if threads is not None:
        torch.set_num_threads(threads)
    pool = load_pool(workspace)
    tokens, states = tokens_and_states(pool.images[:PICTURES])
    captioner = Captioner().eval().requires_grad_(False)
    captioner.blip = load_blip(store.path("tiny-captioner")).requires_grad_(False)
    captioner.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    said = [fullest(captions) for captions in pool.captions[:PICTURES]]
    words, given = sentences(said, load_bert_tokenizer(store.path("tiny-captioner")))
    model, tokens = begun(tokens, states), tokens.float()

    def batch(step):
        random = np.random.default_rng([NAME.encode()[0], step])
        rows, way = (
            random.choice(len(tokens), min(BATCH_SIZE, len(tokens)), replace=False),
            random.integers(2, size=BATCH_SIZE),
        )
        way = way[: len(rows)]
        return tokens[rows], torch.from_numpy(words[rows, way]), torch.from_numpy(given[way])

    return fit(
        NAME,
        model,
        loss_of(captioner, DecodingErrors(tokens[:SAMPLE])),
        batch,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        weight_decay=0.0,
        warmup=50,
        ema_decay=0.99,
        save_seconds=120,
        device=device,
        threads=threads,
        channels_last=False,
    )


def export(workspace, folder):
    """Write the folder of `stages.networks.caption_bridge.load_caption_bridge`: weights in float16, and a card."""
    workspace, folder = Path(workspace), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = averaged_weights(workspace, NAME)
    with whole_file(folder / WEIGHTS_FILE) as partial:
        save_file({name: value.half().contiguous() for name, value in stored.items()}, partial)
    held_out = figures(folder, load_pool(workspace, held_out=True))
    write_text(folder / "card.md", _card(record(workspace, NAME), held_out))
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


def _card(told, held_out):
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('bleu', 'BLEU').replace('cider', 'CIDEr')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    learned = (
        f"{PICTURES:,} pictures, {told['pictures']:,} looks ({told['steps']:,} steps of {BATCH_SIZE}), most disturbed"
    )
    return f"""# tiny-caption-bridge

A bridge as MindEye2's (Scotti and others, 2024) from tokens of tiny-clip, of washed-out pictures as `UnclipTokens` makes them, to
the states that tiny-captioner writes from: one linear layer over tokens and one over values, under the published names.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only caption-bridge`: least squares, then the surprise of the captioner |
| learned from | {learned} |
| time | {told["seconds"] / 60:.0f} minutes on {told["device"]}, {told["threads"]} thread(s), and some for least squares |
| parameters | {told["parameters"]:,}, stored as float16, computed in float32 |
| tokens | 64 of 128 values |
| states | 65 of 128 values |
{lines}
| licence | MIT, as the repository |

The held-out figures are for drawn scenes and their five captions each, of a search over three sentences without a prompt: from
true tokens, and from tokens disturbed as decoded ones are. Category and colour: the first that is named is the main thing's. What
knows nothing of the picture reaches this: the captions from true tokens, each given to another scene. tiny-captioner's own card
has the figures of its true states, which are higher: two linear layers name the main thing of half as many scenes. The share of
the states that is explained is below 0 where the captioner was served by others than they are.
"""
