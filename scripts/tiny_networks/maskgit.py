"""The embedded MaskGIT: MaskGIT's transformer, as LEA conditions it, over the tokens of the embedded VQ autoencoder.

It learns from all pictures of the pool to tell masked tokens from the others, under the pooled image vector of tiny-clip, of unit
length. The vector is disturbed in most rows, as decoded ones are, and in some of them it is not there, so that the network
completes pictures without one too.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from stages.generators.generator import Item, in_order
from stages.generators.tokens.masked_tokens import MaskedTokenGenerator
from stages.networks.masked_tokens import MaskedTokens, MaskedTokensConfig
from stages.priors.token_learning import masked_loss
from stages.targets.clip import CLIPImageVector
from stages.targets.vq_tokens import VQTokens
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import write_text

NAME = "maskgit"
STEPS = 2200
BATCH_SIZE = 16
CONFIG = MaskedTokensConfig(
    n_codes=256, n_classes=0, n_places=256, context=64, width=128, depth=4, n_heads=4, dropout=0.0
)
DROPPED = 0.15  # rows without a vector
DISTURBED = 0.5  # at most so long is what is added to a vector of unit length
TOKENISER = "tiny-label2img"


def loss(model, batch, generator):
    """Cross-entropy of masked tokens; masks, disturbances and rows without a vector are drawn from `generator`."""
    tokens, context = batch
    noise = functional.normalize(torch.randn(context.shape, generator=generator), dim=1).to(context.device)
    length = DISTURBED * torch.rand(len(context), 1, generator=generator).to(context.device)
    none = (torch.rand(len(context), 1, generator=generator) < DROPPED).to(context.device)
    context = torch.where(none, torch.nan, context + length * noise)
    value, parts = masked_loss(model, tokens.long(), context, generator, smoothing=0.0)
    return value, {"right": parts["tokens right"].item()}


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/maskgit``, continuing what is there, and return the averaged network."""
    if threads is not None:
        torch.set_num_threads(threads)
    pool, encoded = load_pool(workspace), Encoder()

    def batches(step):
        return encoded(pool.images[pool.batch_indices(step, BATCH_SIZE)])

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        MaskedTokens(CONFIG),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=8e-3,
        warmup=150,
        ema_decay=0.997,
        save_seconds=60,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


class Encoder:
    """What a batch is made of: tokens, and unit vectors of pictures, uint8 (n, 64, 64, 3); many pictures at a time."""

    def __init__(self):
        self.tokens = VQTokens.from_pretrained(store.path(TOKENISER))
        self.vectors = CLIPImageVector.from_pretrained(store.path("tiny-clip"), normalise=True)

    @torch.no_grad()
    def __call__(self, images):
        pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
        return self.tokens.tokenizer.encode_together(pixels), torch.from_numpy(self.vectors.encode(np.array(images)))


def export(workspace, folder):
    """Write the checkpoint ``folder``: config.json, model.safetensors (float16) and card.md."""
    model = MaskedTokens(CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    model.save_pretrained(folder)
    held_out = figures(folder, load_pool(workspace, held_out=True))
    write_text(Path(folder) / "card.md", _card(record(workspace, NAME), held_out))
    return held_out


def figures(folder, pool, n=48):
    """Held-out figures of an exported network, of the first `n` drawn scenes of a pool.

    Returns
    -------
    figures : dict of str to float
        What `tiny_networks.generator_figures.scores` says of pictures that are drawn from their true vectors (``drawn_...``), of
        pictures completed from every second token, in the manner of a chequerboard, without a vector (``completed_...``), and of
        pictures through the tokens alone (``tokens_...``); and the share of the tokens that are completed right.
    """
    rows = first_scenes(pool, n)
    shown = np.array(pool.images[rows])
    encoder = Encoder()
    tokens, context = encoder.tokens.encode(shown), encoder.vectors.encode(shown)
    generator = MaskedTokenGenerator.from_pretrained(folder, store.path(TOKENISER))
    items = [Item(f"held-out-{row}") for row in rows]
    found = {"drawn": np.stack(in_order(generator.draw({"clip_image": context}, items)))}
    chequers = np.add.outer(*2 * [np.arange(encoder.tokens.tokenizer.side)]).ravel() % 2 == 0
    free = MaskedTokenGenerator(generator.network, generator.tokenizer, reads=None)
    cues = np.where(chequers, tokens, -1).astype(np.float32)
    found["completed"] = np.stack(in_order(free.draw({"vq_cues": cues}, items)))
    found["tokens"] = np.stack(in_order(free.draw({"vq_cues": tokens}, items)))
    own = [free.completed({"vq_cues": row}, torch.Generator().manual_seed(0)).numpy() for row in cues[:20]]
    right = float(np.mean(np.stack(own)[:, ~chequers] == tokens[:20, ~chequers]))
    return {
        f"{label}_{name}": value for label, pictures in found.items() for name, value in scores(shown, pictures).items()
    } | {"completed_tokens": right}


def _card(training, held_out):
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.3f} |" for name, value in held_out.items())
    learned = f"{training['pictures']:,} pictures ({training['steps']:,} steps of {BATCH_SIZE})"
    vectors = f"tiny-clip's pooled image vector, {CONFIG.context} values of unit length, disturbed"
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in MaskedTokens(CONFIG).parameters())
    return f"""# tiny-maskgit

MaskGIT's transformer (Chang and others, 2022), as LEA (Qian and others, 2024) conditions it, for the 64 x 64 pictures of
brainrecon's simulated world: the published layout at small size, with the names of LEA's parameters.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only maskgit`, from nothing |
| learned from | {learned}: drawn scenes, handwritten digits, patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| tokens | {CONFIG.n_places} places of {CONFIG.n_codes} codes, those of {TOKENISER}'s autoencoder |
| condition | {vectors}; in {DROPPED:.0%} of the rows none |
{lines}
| licence | MIT, as the repository |

The held-out figures are for drawn scenes: drawn from noise under the true vector (11 steps); completed from every second token
without a vector; and put through the tokens alone, which no network over tokens can surpass. Names (category, colour,
background) count as right where the evaluation network says of the drawn picture what it says of the shown one. It knows nothing
of photographs.
"""
