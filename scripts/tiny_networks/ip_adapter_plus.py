"""The embedded IP-Adapter-Plus: a resampler of tiny-clip's hidden states, and matrices of tiny-stable-diffusion's attention.

Trained beside the frozen UNet, by its own objective, under the empty text. The matrices begin as those of the text, as Ye and
others (2023) begin. In some rows the picture is one of nothing, so that guidance has something to lead away from; in others
states are disturbed, as those that are decoded from brain activity are.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from safetensors.torch import save_file

from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.unconditional_embedding import FOLDER, UnconditionalEmbedding
from stages.networks.ip_resampler import tokens_of_nothing
from stages.targets.clip import CLIPImageVector
from tiny_networks import generator, ip_adapter_plus_figures
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.ip_adapter_plus_data import encode_states
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import write_text

NAME = "ip-adapter-plus"
STEPS, BATCH_SIZE = 900, 48
PICTURE_DROPPED = 0.1
# Depth, width of the heads, and four-fold layers are what diffusers builds every resampler with.
RESAMPLER = {"hidden_dims": 48, "depth": 4, "dim_head": 64, "heads": 1, "num_queries": 16, "ffn_ratio": 4}
WEIGHTS_FILE = "ip-adapter-plus.safetensors"


class Adapter(torch.nn.Module):
    """The resampler and the matrices; the UNet that reads them is not a part of it.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        Changed.
    embed_dim : int
        Width of the states.
    """

    def __init__(self, unet, embed_dim=128):
        super().__init__()
        torch.manual_seed(0)  # diffusers' constructors take no generator.
        width = unet.config.cross_attention_dim
        self.resampler = IPAdapterPlusImageProjection(embed_dims=embed_dim, output_dims=width, **RESAMPLER)
        unet.requires_grad_(False)
        processors = unet.attn_processors
        self.matrices = torch.nn.ModuleList()
        for name in processors:
            if name.endswith("attn2.processor"):
                attention = unet.get_submodule(name.removesuffix(".processor"))
                hidden = attention.to_k.out_features
                own = IPAdapterAttnProcessor2_0(hidden, width, num_tokens=[RESAMPLER["num_queries"]], scale=1.0)
                own.to_k_ip[0].weight.data.copy_(attention.to_k.weight)
                own.to_v_ip[0].weight.data.copy_(attention.to_v.weight)
                processors[name] = own
                self.matrices.append(own)
        unet.set_attn_processor(processors)
        unet.encoder_hid_proj, unet.config.encoder_hid_dim_type = torch.nn.Identity(), "ip_image_proj"
        self._unet = (unet,)

    def forward(self, noisy, timesteps, contexts, states):
        """Velocity of the UNet under states (n, tokens, embed_dim)."""
        unet = self._unet[0].to(noisy.device)
        added = {"image_embeds": [self.resampler(states)[:, None]]}
        return unet(noisy, timesteps, contexts, added_cond_kwargs=added, return_dict=False)[0]

    def published(self):
        """Tensors by the names of the published files."""
        found = {}
        for name, value in self.resampler.state_dict().items():
            if name.startswith("layers."):
                _, place, part, *rest = name.split(".")
                name = f"layers.{place}." + _published_name(part, rest)
                if name.endswith(("to_k.weight", "to_v.weight")):
                    continue
            found[f"image_proj.{name}"] = value
        for place, block in enumerate(self.resampler.layers):
            both = torch.cat([block.attn.to_k.weight, block.attn.to_v.weight])
            found[f"image_proj.layers.{place}.0.to_kv.weight"] = both
        for number, each in enumerate(self.matrices):
            found[f"ip_adapter.{2 * number + 1}.to_k_ip.weight"] = each.to_k_ip[0].weight
            found[f"ip_adapter.{2 * number + 1}.to_v_ip.weight"] = each.to_v_ip[0].weight
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}


def _published_name(part, rest):
    """What a published file calls a tensor of a block."""
    if part in ("ln0", "ln1"):
        return f"0.norm{int(part[-1]) + 1}.{rest[0]}"
    if part == "attn":
        return f"0.{rest[0]}.weight"
    # Of the layer norm, and of both linear layers.
    places = {("0",): "0", ("1", "net", "0", "proj"): "1", ("1", "net", "2"): "3"}
    return f"1.{places[tuple(rest[:-1])]}.{rest[-1]}"


class Objective:
    """The loss of the embedded Stable Diffusion, under the empty text and a picture's states.

    Parameters
    ----------
    encoded : StatesAndLatents
    """

    def __init__(self, encoded, statistics_rows=2000):
        rows = np.arange(min(statistics_rows, len(encoded)))
        self.errors = DecodingErrors(torch.from_numpy(encoded.states[rows].astype(np.float32)))
        self.nothing = torch.from_numpy(encoded.states_of_nothing.astype(np.float32))
        self.empty = torch.from_numpy(encoded.unconditional_text.astype(np.float32))
        self.scheduler = DDIMScheduler(**generator.SCHEDULE)

    def __call__(self, model, batch, random):
        """Mean squared error of the predicted velocity, one random timestep per row."""
        latents, states = batch["latents"].float(), self.errors(batch["states"].float(), random)
        n, device = len(latents), latents.device
        dropped = torch.rand(n, generator=random).to(device) < PICTURE_DROPPED
        states = torch.where(dropped[:, None, None], self.nothing.to(device), states)
        contexts = self.empty.to(device).expand(n, -1, -1)
        return generator.velocity_loss(
            self.scheduler, latents, random, lambda noisy, timesteps: model(noisy, timesteps, contexts, states)
        )


def _unet():
    return load_strictly(UNet2DConditionModel, store.path("tiny-stable-diffusion") / "unet")


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/ip-adapter-plus``, continuing what is there, and return the averaged adapter."""
    if threads is not None:
        torch.set_num_threads(threads)
    encoded = encode_states(workspace)

    def batches(step):
        rows = np.sort(np.random.default_rng([8, step]).choice(len(encoded), BATCH_SIZE, replace=False))
        arrays = {"latents": encoded.latents[rows], "states": encoded.states[rows]}
        return {name: torch.from_numpy(each.astype(np.float32)) for name, each in arrays.items()}

    return fit(
        NAME,
        Adapter(_unet()),
        Objective(encoded),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=4e-3,
        warmup=20,
        ema_decay=0.98,
        save_seconds=60,
        log_every=20,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def export(workspace, folder):
    """Write the adapter by the names of the published files, in float16, with the tokens of nothing and its card.

    Parameters
    ----------
    workspace : path-like
        Where `train` keeps its state; it may still be running.
    folder : path-like
        Usually ``weights/tiny/ip-adapter-plus``.

    Returns
    -------
    figures : dict of str to float
    """
    folder, adapter = Path(folder), Adapter(_unet())
    adapter.load_state_dict(averaged_weights(workspace, NAME))
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: value.half() for name, value in adapter.published().items()}
    save_file(stored, folder / WEIGHTS_FILE)
    # Of what is stored, and computed in float32.
    visual = CLIPImageVector.from_pretrained(store.path("tiny-clip")).model.visual
    nothing = tokens_of_nothing(visual, adapter.half().float().eval().resampler)
    held = UnconditionalEmbedding(shape=list(nothing.shape), kind="zero image")
    held.embedding.data.copy_(nothing)
    held.save_pretrained(folder / FOLDER)
    held_out = ip_adapter_plus_figures.figures(workspace, folder)
    parameters = sum(value.numel() for value in stored.values())
    write_text(folder / "card.md", card(record(workspace, NAME), parameters, held_out))
    return held_out


def figures(workspace, folder):
    """Held-out figures of an exported adapter; see `ip_adapter_plus_figures.figures`."""
    return ip_adapter_plus_figures.figures(workspace, folder)


def card(training, parameters, held_out):
    """The card."""
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {BATCH_SIZE}"
    lines = "\n".join(f"| held out, {each.replace('_', ' ')} | {value:.3f} |" for each, value in held_out.items())
    own = ip_adapter_plus_figures
    learned = f"{training['pictures']:,} pictures ({progress})"
    drawn = f"{own.SCENES} drawn scenes, {own.STEPS} steps from noise under guidance {own.GUIDANCE:g}"
    return f"""# tiny-ip-adapter-plus

An IP-Adapter-Plus (Ye and others, 2023) of tiny-stable-diffusion, by the names of the published files: 16 tokens of 128 values,
which a resampler makes of tiny-clip's hidden states before the last block.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only ip-adapter-plus`, beside the frozen UNet |
| learned from | {learned} of drawn scenes, handwritten digits (scikit-learn's) and binary patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| objective | v-prediction under the empty text and a picture's tokens; average of the weights |
{lines}
| licence | MIT, as the repository |

The held-out figures are for {drawn}, the empty text and the
picture's own tokens. Shuffled: under the tokens of the next scene, and judged by the scene whose tokens they are not. Names
(category, colour, background) count as right where the evaluation network says of the drawn picture what it says of the
shown one. It knows nothing of photographs.
"""
