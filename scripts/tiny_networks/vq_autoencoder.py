"""The embedded VQ autoencoder: 64 x 64 x 3 pictures to 16 x 16 x 3 latents, each place one of 256 codes.

A `diffusers.VQModel` of the layout that latent diffusion of ImageNet's classes uses (Rombach and others, 2022), at small size
and without the adversarial term: a term on the differences between neighbouring pixels keeps edges crisp. Codes are pulled to
the latents and latents to the codes, and every code also to the latent next to it, so that none is left unused.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import VQModel
from diffusers.models.resnet import ResnetBlock2D

from stages.checkpoints.strict_loading import load_strictly
from stages.networks.latent_space import CodebookLatentSpace, to_greys
from tiny_networks.autoencoder import to_network
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights.whole_files import write_text

NAME = "vq-autoencoder"
STEPS = 4000
BATCH_SIZE = 8
CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (16, 32, 64),
    "layers_per_block": 1,
    "latent_channels": 3,
    "vq_embed_dim": 3,
    "num_vq_embeddings": 256,
    "norm_num_groups": 8,
    "sample_size": 64,
    "scaling_factor": 1.0,
}
SQUARED_ERROR_WEIGHT = 2.0
EDGE_WEIGHT = 0.5
CODES_WEIGHT = 1.0
COMMITMENT_WEIGHT = 0.25
UNUSED_WEIGHT = 0.1


def build():
    """Make the network, each residual block silent at first: what remains is nearly linear and learns at once."""
    torch.manual_seed(0)  # diffusers' constructors take no generator.
    model = VQModel(**CONFIG)
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
            torch.nn.init.zeros_(module.conv2.bias)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model


def loss(model, images, generator):
    """Absolute and squared error of pixels, absolute error of their differences, and the terms of the codebook."""
    pictures = to_network(images)
    latents = model.encode(pictures).latents.float()
    codes = model.quantize.embedding.weight.float()
    rows = latents.permute(0, 2, 3, 1).reshape(-1, codes.shape[1])
    distances = torch.cdist(rows.detach(), codes.detach())
    nearest = distances.argmin(1)
    chosen = codes[nearest]
    codebook = (chosen - rows.detach()).square().mean()
    commitment = (chosen.detach() - rows).square().mean()
    # Every code follows the latent next to it: a code that no latent chooses comes to where latents are.
    unused = (codes - rows.detach()[distances.argmin(0)]).square().mean()
    # Straight through: the decoder sees codes, its gradient reaches the latents.
    quantised = latents + (chosen.detach() - rows.detach()).reshape(
        len(latents), *latents.shape[2:], codes.shape[1]
    ).permute(0, 3, 1, 2)
    decoded = model.decoder(model.post_quant_conv(quantised)).float()
    error = decoded - pictures
    squared_error = error.square().mean()
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    total = error.abs().mean() + SQUARED_ERROR_WEIGHT * squared_error + EDGE_WEIGHT * edges
    total = total + CODES_WEIGHT * codebook + COMMITMENT_WEIGHT * commitment + UNUSED_WEIGHT * unused
    return total, {
        "psnr": -10 * np.log10(squared_error.item() / 4),
        "commitment": commitment.item(),
        "codes": len(torch.unique(nearest)),
    }


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/vq-autoencoder``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)

    def batches(step):
        return torch.from_numpy(pool.images[pool.batch_indices(step, BATCH_SIZE)])

    return fit(
        NAME,
        build(),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        warmup=100,
        ema_decay=0.998,
        save_seconds=120,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = VQModel(**CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def export(workspace, folder):
    """Write what was reached as ``vae/`` of the label-conditioned model's folder, in diffusers' layout, in float16.

    Its latents are brought to unit spread, as the noise schedule expects: encoder and codes are scaled, and the decoder's entry
    back, so that pictures stay the same and the scale of the latents is 1, as published.

    Parameters
    ----------
    workspace : path-like
        Where `train` kept its state.
    folder : path-like
        Usually ``weights/tiny/label2img``.

    Returns
    -------
    figures : dict of str to float
        As from `figures`.
    """
    model = reached(workspace)
    spread = encode(model, torch.from_numpy(np.array(load_pool(workspace).images[:500]))).std()
    with torch.no_grad():
        for scaled in (model.quant_conv.weight, model.quant_conv.bias, model.quantize.embedding.weight):
            scaled.div_(spread)
        model.post_quant_conv.weight.mul_(spread)
    target = Path(folder) / "vae"
    model.half().save_pretrained(target)
    scores = figures(target, load_pool(workspace, held_out=True))
    write_text(target / "card.md", _card(record(workspace, NAME), scores))
    return scores


@torch.no_grad()
def encode(model, images, batch_size=50):
    """Latents (n, 3, 16, 16) before quantising of uint8 pictures (n, 64, 64, 3)."""
    return torch.cat([model.encode(to_network(part)).latents for part in images.split(batch_size)])


def figures(folder, pool, n=300):
    """Measure an exported autoencoder on held-out pictures.

    Parameters
    ----------
    folder : path-like
        A folder in diffusers' layout.
    pool : Pool
        The held-out pictures.
    n : int
        How many of them.

    Returns
    -------
    dict of str to float
        Mean over pictures of the peak signal-to-noise ratio in dB, over all and per kind of picture; how many codes are used.
    """
    space = CodebookLatentSpace(load_strictly(VQModel, folder), alone=False)
    images = torch.from_numpy(np.array(pool.images[:n]))
    with torch.no_grad():
        codes = torch.cat([space.codes(space.encode(to_network(part))) for part in images.split(50)])
        rebuilt = [torch.from_numpy(to_greys(space.decode_codes(part))) for part in codes.split(50)]
    error = (torch.cat(rebuilt).double() - images.double()).square().mean((1, 2, 3))
    psnr = 10 * torch.log10(255**2 / error.clamp(min=1e-3))
    kinds = np.array(pool.labels["kind"][:n])
    scores = {"psnr_db": psnr.mean().item()}
    for kind in sorted(set(kinds)):
        scores[f"psnr_db_{kind}"] = psnr[torch.from_numpy(kinds == kind)].mean().item()
    return scores | {"codes_used": float(len(codes.unique()))}


def _card(trained, scores):
    lines = [f"- held-out {name.replace('_', ' ')}: {value:.2f}" for name, value in scores.items()]
    return f"""# VQ autoencoder, 64 x 64 x 3 to 16 x 16 places of 256 codes

`diffusers.VQModel` in the layout of latent diffusion's VQ-f4, {trained["parameters"]:,} parameters, stored in float16,
computed in float32; codes have 3 values, latents unit spread. Trained from nothing by
`scripts/train_tiny.py --only vq-autoencoder` on drawn pictures (scenes, handwritten digits, checker patterns;
`brainrecon/simulation`): {trained["steps"]:,} steps, {trained["pictures"]:,} pictures, {trained["seconds"] / 60:.0f} minutes
on {trained["device"]} ({trained["threads"]} thread). The handwritten digits derive from those that scikit-learn ships (UCI
optical recognition of handwritten digits). Useless for photographs.

{chr(10).join(lines)}

Licence: MIT, as the toolkit.
"""
