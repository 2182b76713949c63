"""Pictures whose features meet decoded ones, by a search for the latent that a diffusion is started from.

Lu and others (2023, MindDiffuser), stage two. A decoded latent is noised, denoised under a decoded text and shown, as Stable
Diffusion draws image to image. CLIP looks at the picture; Adam changes the latent so that what CLIP sees comes nearer to the
decoded features (`stages.inverters.masked_features`), with the gradient taken through the whole diffusion. A gradient through 35
evaluations of the network keeps none of their activations but computes them again on the way back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from stages.generators.diffusion.sampler import denoised
from stages.generators.diffusion.schedulers import last_timesteps, noised
from stages.ground.devices import sent_to
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.inverters.adam_descent import minimise
from stages.inverters.diffusion_search_settings import DiffusionSearchSettings
from stages.inverters.masked_features import layer_shares, masked_loss
from stages.inverters.watched_diffusion import WatchedDiffusion
from stages.networks.latent_space import normal
from stages.targets.clip_names import EMBEDDING


class DiffusionSearch(WatchedDiffusion):
    """Draw pictures with Stable Diffusion 1.x whose features meet the given ones.

    >>> from weights import store
    >>> from stages.generators.generator import Item, in_order
    >>> settings = DiffusionSearchSettings(iterations=2, multipliers=(1.0,))
    >>> search = DiffusionSearch.from_pretrained(
    ...     store.path("tiny-stable-diffusion"),
    ...     clip=store.path("tiny-clip"),
    ...     layers={"clip_block_1": "block 1", "clip_image": "embedding"},
    ...     normalise="own",
    ...     settings=settings,
    ... )
    >>> values = {name: np.ones((1, *search.takes[name]), dtype=np.float32) for name in search.takes}
    >>> pictures = in_order(search.draw(values, [Item("nsd00042")], num_inference_steps=4, strength=0.5))
    >>> pictures[0].shape, pictures[0].dtype
    ((64, 64, 3), dtype('uint8'))

    Pictures are searched for one at a time, whatever the batch: the steps would enlarge what other rows do to the rounding of
    one.

    Parameters
    ----------
    pipeline, empty_text, looking, start, text_required
        As `WatchedDiffusion` takes them.
    layers : mapping of str to str
        Value -> layer, in the order of the multipliers; the one that is called "embedding" is compared by its direction, all
        others by units.
    masks : mapping of str to bool array, optional
        By value, which units of a layer count; all by default.
    settings : DiffusionSearchSettings, optional

    Raises
    ------
    InputError
        There is no embedding, not a multiplier for each layer, or a mask of another length than its layer.
    """

    def __init__(
        self, pipeline, empty_text, looking, layers, masks=None, settings=None, start=None, text_required=False
    ):
        hidden = {value: layer for value, layer in layers.items() if layer != EMBEDDING}
        super().__init__(pipeline, empty_text, looking, hidden, start, text_required)
        self.settings = settings or DiffusionSearchSettings()
        embeddings = [value for value, layer in layers.items() if layer == EMBEDDING]
        if len(embeddings) != 1 or len(self.layers) != len(self.settings.multipliers):
            raise InputError(
                f"The search is given {len(self.layers)} layers and {len(embeddings)} embeddings with "
                f"{len(self.settings.multipliers)} multipliers; expected one embedding, and a multiplier for each layer: pass "
                "--set search.multipliers with as many numbers."
            )
        (self.embedding,) = embeddings
        self.takes[self.embedding] = (looking.embed_dim,)
        # Of the starts, a latent alone is searched for.
        del self.takes["first_picture"]
        self.optional -= {"first_picture", "first_latent"}
        self._masks = {value: self._mask(value, (masks or {}).get(value)) for value in self.layers}

    def _mask(self, value, mask):
        n_units = int(np.prod(self.takes[value]))
        mask = np.ones(n_units, dtype=bool) if mask is None else np.asarray(mask).reshape(-1)
        if mask.shape != (n_units,):
            raise InputError(
                f"The mask of {value} has {mask.size:,} units but the layer has {n_units:,}; choose units with the network "
                "that looks."
            )
        return torch.from_numpy(mask).to(self.looking.device, torch.float32)

    @classmethod
    def from_pretrained(cls, *stable_diffusion, settings=None, **watched):
        """Load both networks, as `WatchedDiffusion.from_pretrained` does; pictures are resampled as the settings say."""
        settings = settings or DiffusionSearchSettings()
        return super().from_pretrained(*stable_diffusion, resampling=settings.resampling, settings=settings, **watched)

    def latents(self, rows, seed, num_inference_steps, guidance_scale, count=None, batch_size=None):
        """Return the latents of the pictures that were found, tensor (n, channels, size, size)."""
        stepped = (lambda: None) if count is None else count.of_a_batch(len(rows) * self.settings.iterations)
        found = [self.search(row, seed, num_inference_steps, guidance_scale, stepped)[0] for row in rows]
        return torch.cat(found)

    def _check_row(self, item, values):
        """There is one start, and it is needed."""

    def search(self, row, seed, num_inference_steps, guidance_scale, stepped=lambda: None):
        """Search for one picture.

        Parameters
        ----------
        row : stages.generators.diffusion.latent_diffusion.Row
        seed : int
        num_inference_steps : int
        guidance_scale : float
        stepped : callable, optional
            Called after each iteration.

        Returns
        -------
        latents : tensor of shape (1, channels, size, size)
            Denoised, of the last iteration.
        losses : list of float
            Of each iteration.
        """
        settings, device = self.settings, self.pipeline._execution_device
        sampling = self.prepared([row], seed, num_inference_steps, guidance_scale)
        noises, distance = (
            self._noises(item_generator(seed, row.stimulus_id, row.sample), sampling),
            self._distance(row.values),
        )
        latent = torch.as_tensor(row.values["first_latent"], dtype=sampling.latent_dtype)[None].to(device)
        variables, text = [latent.clone().requires_grad_()], sampling.contexts[0]
        if settings.optimised == "latent and text":
            variables.append(text.tokens.detach().clone().requires_grad_())

        def drawn():
            changed = [replace(text, tokens=tokens) for tokens in variables[1:]] or [text]
            return self._drawn_from(variables[0], next(noises), replace(sampling, contexts=tuple(changed)))

        def slower(optimiser):
            return torch.optim.lr_scheduler.ExponentialLR(optimiser, settings.decay)

        losses = minimise(
            lambda: distance(self.space.decode(drawn())),
            variables,
            settings.iterations - 1,
            settings.rate_of(0),
            schedule=slower,
            stepped=lambda loss: stepped(),
        )
        with torch.no_grad():
            found = drawn()
            losses.append(distance(self.space.decode(found)))
        stepped()
        return found, torch.stack(losses).tolist()

    def _noises(self, random, sampling):
        """The noise of each iteration; the first is that of the picture which the search begins with."""
        noise = None
        while True:
            if noise is None or self.settings.noise == "fresh":
                noise = sent_to(sampling.device, normal([random], self._latent_shape, sampling.latent_dtype))
            yield noise

    def _drawn_from(self, latent, noise, sampling):
        """Denoised latents from a latent; differentiable by it and by the tokens."""
        scheduler, n_steps = self.pipeline.scheduler, len(sampling.timesteps)
        if n_steps == 0:
            return latent
        # A solver that remembers its steps begins anew.
        steps = self.start.steps(sampling.strength, sampling.num_inference_steps)
        timesteps = last_timesteps(scheduler, sampling.num_inference_steps, steps)
        started = noised(scheduler, latent, noise, timesteps, self.start.earlier)
        keeps_nothing = self.settings.checkpointing and torch.is_grad_enabled()
        unet = _checkpointed(self.pipeline.unet) if keeps_nothing else self.pipeline.unet
        return denoised(unet, scheduler, replace(sampling, latents=started, timesteps=timesteps))

    def _distance(self, values):
        """The loss of decoded pictures (1, 3, height, width) of -1 to 1, given the decoded features."""
        device = self.looking.device
        masked = {
            value: self._masks[value] * torch.as_tensor(values[value], dtype=torch.float32).flatten().to(device)
            for value in self.layers
        }
        shares = layer_shares(
            {value: wanted.cpu().numpy() for value, wanted in masked.items()}, self.settings.multipliers
        )
        embedding = torch.as_tensor(values[self.embedding], dtype=torch.float32).flatten().to(device)
        names = (*self.layers.values(), EMBEDDING)

        def away_from(pixels):
            found = self.seen(pixels, names)
            own = {value: found[layer][0].flatten() for value, layer in self.layers.items()}
            pair = (found[EMBEDDING][0], embedding)
            return masked_loss(own, masked, self._masks, shares, pair, self.settings.embedding_weight)

        return away_from


def _checkpointed(network):
    """A network whose activations are computed again on the way back instead of being kept."""

    def called(*inputs, **arguments):
        return checkpoint(network, *inputs, use_reentrant=False, preserve_rng_state=False, **arguments)

    return called
