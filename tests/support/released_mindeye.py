"""MindEye's released files, small and at random: in the published layout, under the published names, as torch saves them.

The tables of the noise process are worked out in torch from the published formulas, and not taken from what they are compared
with. Attention has the names of diffusers 0.13.
"""

import math
from pathlib import Path

import torch
from torch.optim.lr_scheduler import OneCycleLR

from weights import store
from weights.manifest import Checkpoint, CheckpointFile, read_manifest, write_manifest

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
METHOD = "mindeye2023"
TOKENS, LATENT = "small-subj01-tokens", "small-subj01-latent"
PATHS = {
    TOKENS: "mindeye_models/prior_257_final_subj01_bimixco_softclip_byol/last.pth",
    LATENT: "mindeye_models/autoencoder_subj01_4x_locont_no_reconst/epoch120.pth",
}


def noise_tables(n_steps=100):
    """What DALLE2-pytorch registers of a cosine schedule, float32."""
    places = torch.linspace(0, n_steps, n_steps + 1, dtype=torch.float64)
    curve = torch.cos((places / n_steps + 0.008) / 1.008 * math.pi * 0.5) ** 2
    curve = curve / curve[0]
    betas = torch.clip(1 - curve[1:] / curve[:-1], 0, 0.999)
    kept = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
    variance = betas * (1 - before) / (1 - kept)
    tables = {
        "betas": betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": kept.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - kept).log(),
        "sqrt_recip_alphas_cumprod": (1 / kept).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / kept - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - kept),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - kept),
        "p2_loss_weight": (1 + kept / (1 - kept)) ** -0.0,
    }
    return {f"noise_scheduler.{name}": table.float() for name, table in tables.items()}


def released_tokens(network):
    """`model_state_dict` of a tokens' network with its prior."""
    return dict(network.state_dict()) | noise_tables()


def released_latent(network, convolutions=False):
    """`model_state_dict` of a latent's network; weights of attention as linear layers or as convolutions of 1 x 1."""
    found = {}
    for name, value in network.state_dict().items():
        for today, old in OLD_NAMES.items():
            if f".attentions.0.{today}." in name:
                name = name.replace(f".{today}.", f".{old}.")
                value = value[..., None, None] if convolutions and name.endswith("weight") else value
        found[name] = value
    return found


def save_training(state, path, parallel=False, **more):
    """Write a file as the authors' scripts do: weights, and the state of their training beside them."""
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    optimiser = torch.optim.AdamW([weight], lr=1e-4)
    schedule = OneCycleLR(optimiser, 3e-4, total_steps=10)
    weight.sum().backward()
    optimiser.step()
    schedule.step()
    # As torch 2.0 kept it.
    of_schedule = schedule.state_dict() | {"anneal_func": OneCycleLR._annealing_cos}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "epoch": 239,
        "model_state_dict": {f"module.{name}" if parallel else name: value for name, value in state.items()},
        "optimizer_state_dict": optimiser.state_dict(),
        "lr_scheduler": of_schedule,
        "train_losses": [1.5, 0.5],
        "val_losses": [0.75],
        "lrs": [1e-4],
    }
    torch.save(content | more, path)
    return path


def random_network(make, n_voxels, gives, arguments, seed=0):
    """A network whose values are all drawn, also those that start at one or zero."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = make(n_voxels, gives, **arguments).eval()
        for parameter in network.parameters():
            if parameter.requires_grad and parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def networks_of(chain, n_voxels, seed=0):
    """Random networks of the steps that a chain learns: dict of part to network."""
    return {
        step.part: random_network(
            step.decoder.make,
            n_voxels,
            {name: source.outline.shape for name, source in step.targets.items()},
            step.decoder.arguments,
            seed,
        )
        for step in chain.steps
        if step.is_learned
    }


def write_released(networks, folder):
    """Write both files below a folder, by their published paths."""
    save_training(released_tokens(networks["tokens"]), Path(folder) / PATHS[TOKENS])
    save_training(released_latent(networks["latent"]), Path(folder) / PATHS[LATENT], parallel=True)


def use_manifest(folder, n_voxels, monkeypatch, *more):
    """Put a manifest of the embedded checkpoints and the two small released ones in the place of the package's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny").symlink_to(store.MANIFEST.parent / "tiny", target_is_directory=True)
    entries = {name: entry for name, entry in read_manifest().items() if entry.embedded}
    for name, part in ((TOKENS, "tokens"), (LATENT, "latent")):
        file = CheckpointFile(PATHS[name], becomes="model.safetensors", entry="model_state_dict", reckoned=12_000_000)
        entries[name] = Checkpoint(
            *(name, f"the {part} of subj01", "hub:datasets/somebody/weights@main", name, "MIT", (METHOD,), (file,)),
            subject="subj01",
            n_voxels=n_voxels,
            standardized="session",
            parts=(part,),
        )
    entries |= {entry.name: entry for entry in more}
    write_manifest(entries, folder / "manifest.toml")
    monkeypatch.setattr(store, "MANIFEST", folder / "manifest.toml")
    return folder / "manifest.toml"
