"""The embedded text flow: Versatile Diffusion's flat UNet over the embedded Optimus' latents, at small size.

It attends by the transformers of the embedded generator, which stay as they are, as its embedding of time does. It learns
v-prediction, as the generator did, on the latent of a picture's second caption, the shortest that tells colour, thing and where;
under the tokens of the picture and of its captions, mixed in random proportions, most of them disturbed as decoded ones are
(`decoding_errors`).
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from stages.networks.text_flow import TextFlow
from stages.networks.versatile_diffusion_unet import TEXT_FLOW, TEXT_FLOW_CLASS
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator import mixing_weights, velocity_loss
from tiny_networks.pool import load_pool
from tiny_networks.text_flow_data import encode_contexts, latents_of
from tiny_networks.text_flow_figures import figures
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import make_folder, whole_file, write_text

NAME = "text-flow"
STEPS = 2600
BATCH_SIZE = 64
DROPPED = 0.1  # rows that see the unconditional contexts
PLACES = 1  # of a map; with Versatile Diffusion's 4 it would have nine million parameters
SECOND = 1
SAMPLE = 2000  # pictures whose tokens tell what decoding errors look like


class Objective:
    """The loss, with what it must know: errors of decoded tokens, and the contexts that say nothing.

    Parameters
    ----------
    encoded : CaptionedPictures
    """

    def __init__(self, encoded):
        rows = np.arange(min(SAMPLE, len(encoded)))
        sample = encoded.image_tokens[rows].astype(np.float32), encoded.text_tokens(rows)
        self.errors = [DecodingErrors(torch.from_numpy(tokens)) for tokens in sample]
        folder = store.path("tiny-generator")
        nothing = load_strictly(UnconditionalContexts, folder / "unconditional_contexts")
        self.nothing = [each.data.float() for each in (nothing.image, nothing.text)]
        self.scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")

    def __call__(self, model, batch, generator):
        """Mean squared error of the predicted velocity, one random timestep and one random mixture per row."""
        latents, *contexts = batch
        n, device = len(latents), latents.device
        contexts = [errors(tokens.float(), generator) for errors, tokens in zip(self.errors, contexts)]
        dropped = (torch.rand(n, generator=generator) < DROPPED).to(device)[:, None, None]
        contexts = [torch.where(dropped, nothing.to(device), own) for nothing, own in zip(self.nothing, contexts)]

        def predict(noisy, timesteps):
            weights = {"context_weights": mixing_weights(n, generator).to(device)}
            return model(noisy, timesteps, torch.cat(contexts, dim=1), cross_attention_kwargs=weights)[0]

        return velocity_loss(self.scheduler, latents[:, :, None, None], generator, predict)


def flow(width):
    """A text flow that has learned nothing, around the embedded generator's transformers and embedding of time."""
    unet = load_strictly(DualContextUNet2DConditionModel, store.path("tiny-generator") / "unet")
    unet.requires_grad_(False)
    return TextFlow(unet, width, places=PLACES)


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/text-flow``, continuing what is there; returns the averaged network."""
    if threads is not None:
        torch.set_num_threads(threads)
    encoded, pool = encode_contexts(workspace), load_pool(workspace)
    latents = torch.from_numpy(
        latents_of(store.path("tiny-optimus"), [own[SECOND] for own in pool.captions[: len(encoded)]])
    )

    def batches(step):
        random = np.random.default_rng([8, step])
        rows = np.sort(random.choice(len(encoded), min(BATCH_SIZE, len(encoded)), replace=False))
        tokens = encoded.image_tokens[rows], encoded.text_tokens(rows)
        return latents[rows], *(torch.from_numpy(each) for each in tokens)

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        flow(latents.shape[1]),
        Objective(encoded),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=1e-2,
        warmup=100,
        ema_decay=0.998,
        save_seconds=60,
        device=device,
        threads=threads,
        autocast=False,
        channels_last=False,
        muon=True,
    )


def export(workspace, folder):
    """Write the folder of `stages.networks.text_flow.load_text_flow` in float16, with a card."""
    folder = Path(folder)
    averaged = averaged_weights(workspace, NAME)
    model = flow(averaged["conv_in.weight"].shape[1])
    model.load_state_dict(averaged)
    save_flow(model, folder)
    held_out = figures(workspace, folder)
    parameters = sum(each.numel() for each in model.own_tensors().values())
    write_text(folder / "card.md", _card(record(workspace, NAME), parameters, model.width, held_out))
    return held_out


def save_flow(model, folder):
    """Write configuration and weights, in float16; what it has from the image flow is left out."""
    folder = Path(folder) / TEXT_FLOW
    make_folder(folder)
    image = json.loads((store.path("tiny-generator") / "unet" / "config.json").read_text())
    # What load_text_flow holds against the generator's.
    shared = ("block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim", "norm_num_groups")
    told = {"_class_name": TEXT_FLOW_CLASS, "in_channels": [model.width, 1, 1], "out_channels": [model.width, 1, 1]}
    told |= {"flat_places": PLACES} | {name: image[name] for name in (*shared, "use_linear_projection")}
    write_text(folder / "config.json", json.dumps(told, indent=2) + "\n")
    with whole_file(folder / "diffusion_pytorch_model.safetensors") as partial:
        save_file({name: value.half().contiguous() for name, value in model.own_tensors().items()}, partial)


def _card(training, parameters, width, held_out):
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('bleu', 'BLEU').replace('cider', 'CIDEr')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {BATCH_SIZE}"
    return f"""# tiny-text-flow

Versatile Diffusion's text flow (Xu and others, 2023) for the captions of brainrecon's simulated world, at small size: a flat UNet
over tiny-optimus' latents of {width} values. It has its own residual blocks; transformers and embedding of time are those of
tiny-generator, without which it is worth nothing. Its maps have {PLACES} place; Versatile Diffusion's have 4.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only text-flow`, from nothing |
| learned from | {training["pictures"]:,} captions ({progress}), the second of each picture's five |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| own parameters | {parameters:,}, stored as float16, computed in float32 |
| contexts | tiny-generator's: 65 image tokens and 24 text tokens of tiny-clip; {DROPPED:.0%} of them said nothing |
| objective | v-prediction under tiny-generator's schedule; average of the weights |
{lines}
| licence | MIT, as the repository |

The held-out figures are for the captions of drawn scenes, written from noise, the most probable word at a time: under the true
contexts of the picture and its captions, mixed 0.9 and 0.1; under contexts disturbed as in training (all of them, unlike there);
under the true contexts of another picture; and for the caption that fits most of these very scenes. It says colour and thing, and
where; and it knows nothing of photographs.
"""
