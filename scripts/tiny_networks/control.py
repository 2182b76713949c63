"""The embedded control nets: one branch for contours and for nearness, and a T2I-adapter for colours, of tiny-stable-diffusion.

Both are trained at once, beside the frozen UNet, by its own objective. The branch is a `ControlNetModel` of half of the UNet's
layers: attention is left out of it. Maps are present in some rows and absent in others, so that each works alone and beside
the other, and text is left out of many, so that it is not relied on. Some contours are those of softened pictures, and
nearness and colours are disturbed, as maps that were decoded from brain activity are.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, T2IAdapter, UNet2DConditionModel
from torch.nn import functional

from stages.checkpoints.strict_loading import load_strictly
from tiny_networks import control_figures, generator
from tiny_networks.control_data import COLOUR_SIDE, control_maps
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.stable_diffusion_data import encode_captioned
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import write_text

NAME = "control"
STEPS, BATCH_SIZE, PICTURES = 1200, 64, 6000
SHAPE_PRESENT, CONTOUR, COLOUR_PRESENT, TEXT_DROPPED = 0.75, 0.5, 0.6, 0.4
# Largest standard deviation of what disturbs nearness and colours, which are 0 to 1.
NOISE = 0.15
# Those of the UNet's that a branch has, too.
SHARED = ("in_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim")
BRANCH = {
    "conditioning_channels": 3,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "conditioning_embedding_out_channels": (8, 16, 24, 32),
    "attention_head_dim": (5, 3),
}
ADAPTER = {"in_channels": 3, "num_res_blocks": 2, "downscale_factor": 8, "adapter_type": "light_adapter"}


class ControlNets(torch.nn.Module):
    """The branch and the adapter; the UNet that they steer is not a part of it.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
    """

    def __init__(self, unet):
        super().__init__()
        torch.manual_seed(0)  # diffusers' constructors take no generator.
        config = {name: unet.config[name] for name in SHARED}
        self.branch = ControlNetModel(**config, **BRANCH)
        self.adapter = T2IAdapter(channels=list(config["block_out_channels"]), **ADAPTER)
        self._unet = (unet.requires_grad_(False),)
        known = unet.state_dict()
        start = {
            name: known[name] if name in known and known[name].shape == value.shape else value
            for name, value in self.branch.state_dict().items()
        }
        self.branch.load_state_dict(start)

    def forward(self, noisy, timesteps, contexts, shape, shape_present, colour, colour_present):
        """Velocity of the UNet beside both; what a row has not is multiplied by 0."""
        unet = self._unet[0].to(noisy.device)
        down, middle = self.branch(noisy, timesteps, contexts, shape, return_dict=False)
        features = self.adapter(colour)
        here, there = shape_present[:, None, None, None], colour_present[:, None, None, None]
        return unet(
            noisy,
            timesteps,
            contexts,
            down_block_additional_residuals=[each * here for each in down],
            mid_block_additional_residual=middle * here,
            down_intrablock_additional_residuals=[each * there for each in features],
            return_dict=False,
        )[0]


class Objective:
    """The loss of the embedded Stable Diffusion, under maps.

    Parameters
    ----------
    encoded : CaptionedLatents
    """

    def __init__(self, encoded, statistics_rows=2000):
        rows = np.arange(min(statistics_rows, len(encoded)))
        self.errors = DecodingErrors(torch.from_numpy(encoded.text_tokens(rows)))
        self.empty = torch.from_numpy(encoded.unconditional_text.astype(np.float32))
        self.scheduler = DDIMScheduler(**generator.SCHEDULE)

    def __call__(self, model, batch, random):
        """Mean squared error of the predicted velocity, one random timestep per row."""
        latents, contexts = batch["latents"].float(), self.errors(batch["text"].float(), random)
        n, device = len(latents), latents.device
        draws = torch.rand(5, n, generator=random).to(device)
        contexts = torch.where((draws[0] < TEXT_DROPPED)[:, None, None], self.empty.to(device), contexts)
        depth = disturbed(batch["depth"].float()[:, None], draws[4], random)
        shape = torch.where(
            (draws[2] < CONTOUR)[:, None, None, None], batch["contour"].float()[:, None], enlarged(depth)
        )
        colour = disturbed(batch["colour"].float().permute(0, 3, 1, 2), draws[4], random)
        colour = functional.interpolate(colour, scale_factor=64 // COLOUR_SIDE)
        present = (draws[1] < SHAPE_PRESENT).float(), (draws[3] < COLOUR_PRESENT).float()

        def predict(noisy, timesteps):
            return model(noisy, timesteps, contexts, shape.expand(-1, 3, -1, -1), present[0], colour, present[1])

        return generator.velocity_loss(self.scheduler, latents, random, predict)


def disturbed(maps, strength, random):
    """Maps of 0 to 1 with noise of up to `NOISE`, by row; cut off at both ends."""
    noise = torch.randn(maps.shape, generator=random).to(maps.device)
    return (maps + NOISE * strength[:, None, None, None] * noise).clamp(0, 1)


def enlarged(depth):
    """Nearness at 64 x 64, as the generator enlarges it."""
    return functional.interpolate(depth, size=(64, 64), mode="bilinear", align_corners=False)


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/control``, continuing what is there, and return the averaged networks."""
    if threads is not None:
        torch.set_num_threads(threads)
    encoded = encode_captioned(workspace, pictures=PICTURES)
    n = min(PICTURES, len(encoded))
    maps = control_maps(workspace, n)

    def batches(step):
        draw = np.random.default_rng([7, step])
        rows = draw.choice(n, BATCH_SIZE, replace=False)
        soft = draw.random(BATCH_SIZE) < 0.5
        contour = np.where(soft[:, None, None], maps.blurred_contour[rows], maps.contour[rows])
        weights = draw.random((BATCH_SIZE, encoded.captions_of.shape[1])) + 0.01
        arrays = {
            "latents": encoded.latents[rows],
            "text": encoded.text_tokens(rows, weights),
            "contour": contour,
            "depth": maps.depth[rows],
            "colour": maps.colour[rows],
        }
        return {name: torch.from_numpy(np.asarray(each, np.float32)) for name, each in arrays.items()}

    return fit(
        NAME,
        ControlNets(load_strictly(UNet2DConditionModel, store.path("tiny-stable-diffusion") / "unet")),
        Objective(encoded),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=4e-3,
        warmup=20,
        ema_decay=0.98,
        save_seconds=90,
        log_every=20,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def reached(workspace):
    """Load the averaged networks as the training last kept them."""
    nets = ControlNets(load_strictly(UNet2DConditionModel, store.path("tiny-stable-diffusion") / "unet"))
    nets.load_state_dict(averaged_weights(workspace, NAME))
    return nets.eval()


def export(workspace, folder):
    """Write the branch in diffusers' layout, in float16, with its card.

    Parameters
    ----------
    workspace : path-like
        Where `train` keeps its state; it may still be running.
    folder : path-like
        Usually ``weights/tiny/control``.

    Returns
    -------
    figures : dict of str to float
    """
    folder, nets = Path(folder), reached(workspace)
    nets.branch.half().save_pretrained(folder)
    nets.adapter.half().save_pretrained(Path(workspace) / NAME / "adapter")
    held_out = figures(workspace, folder)
    parameters = sum(each.numel() for each in nets.branch.parameters())
    write_text(folder / "card.md", card("tiny-control", ABOUT, record(workspace, NAME), parameters, held_out))
    return held_out


def figures(workspace, folder):
    """Held-out figures of an exported branch; see `control_figures.figures`."""
    adapter = Path(workspace) / NAME / "adapter"
    adapter = adapter if adapter.is_dir() else store.path("tiny-colour-adapter")
    return control_figures.figures(workspace, folder, adapter, ("contour", "depth"))


ABOUT = """A control net (Zhang and others, 2023) of tiny-stable-diffusion, in diffusers' layout. It reads one map of 64 x 64,
repeated in three channels: contours, or what stands out of a scene as if it were near. It has half of the UNet's layers, and no
attention."""


def card(name, about, training, parameters, held_out):
    """The card of one of both networks."""
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {BATCH_SIZE}"
    learned = f"{training['pictures']:,} pictures ({progress})"
    drawn = f"{control_figures.STEPS} steps from noise under guidance {control_figures.GUIDANCE:g} and the true text"
    lines = "\n".join(f"| held out, {each.replace('_', ' ')} | {value:.3f} |" for each, value in held_out.items())
    return f"""# {name}

{about}

| | |
|---|---|
| made by | `scripts/train_tiny.py --only control --only colour-adapter`: both at once, beside the frozen UNet |
| learned from | {learned} of drawn scenes, handwritten digits (scikit-learn's) and binary patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| objective | v-prediction under the map, which is absent in some rows; average of the weights |
{lines}
| licence | MIT, as the repository |

The held-out figures are for {control_figures.SCENES} drawn scenes, {drawn}: the mean correlation
of the map of what was drawn with the map of what was shown (contours softened by 1.5 pixels), under that map, without any, and
under the next scene's. It knows nothing of photographs.
"""
