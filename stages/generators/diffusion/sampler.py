"""The one way in which pictures are denoised, and what has to be ready before it begins.

Conditioners fill a `Sampling` in, one named value each; `denoise` then goes through the steps. Inside its loop nothing waits
for the device: timesteps, weights, and which rows read which context are known beforehand, on the CPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from stages.ground.devices import sent_to


@dataclass(frozen=True)
class Context:
    """Tokens that cross-attention reads.

    Attributes
    ----------
    tokens : tensor of shape (n, n_tokens, width)
        Of the rows under conditions.
    nothing : tensor of that shape
        Of guidance's unconditional rows.
    weights : tuple of n float, or None
        What each row mixes this context's update with, in a network of several contexts; None in a network of one.
    """

    tokens: torch.Tensor
    nothing: torch.Tensor
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Sampling:
    """What a batch of n pictures is drawn with.

    Attributes
    ----------
    random : tuple of n torch.Generator
        One for each row, on the CPU.
    weights : mapping of str to tuple of n float
        By name of a value, how much each row heeds it.
    num_inference_steps : int
        Steps from noise to a picture.
    strength : float
        Share of the steps that are done from a given start, 0..1.
    device : torch.device
    dtype : torch.dtype
        What the UNet computes in.
    latent_dtype : torch.dtype
        What latents are kept in between the steps.
    guidance_scale : float
        1 computes no unconditional rows.
    contexts : tuple of Context
        In the order in which the network reads their tokens.
    arguments, added : mapping of str to (tensor, tensor), or to (list of tensor, list of tensor)
        Further arguments of the UNet, and what it reads as ``added_cond_kwargs``: for the n rows under conditions, and for
        the n unconditional ones.
    controls : tuple of callable
        Called at each step with the rows, the timestep, the tokens, all on the device, and the UNet's other arguments; returns
        further arguments of it, such as the residuals of control nets. Each has ``of_fixed_shape``, as this has.
    corrections : tuple of callable
        Called in order at each step as ``correct(unet, sampling, predicted)`` with a `Predicted`; each returns the prediction
        that the next one, and in the end the solver, reads. They know the n rows as they are: a compiled network's are not.
    latents : tensor of shape (n, channels, size, size)
        What is denoised first.
    channels : tensor of shape (n, further channels, size, size), or None
        What the network reads behind the channels of the latents, at every step and in both halves of guidance.
    timesteps : tensor on the CPU
        One for each evaluation of the network.
    fixed : bool
        Whether no tensor's shape may follow from the weights, as a compiled network asks for: a context that any row gives
        weight to is computed for all rows then.
    """

    random: tuple[torch.Generator, ...]
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    num_inference_steps: int = 50
    strength: float = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    latent_dtype: torch.dtype = torch.float32
    guidance_scale: float = 1.0
    contexts: tuple[Context, ...] = ()
    arguments: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    added: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    controls: tuple[Callable, ...] = ()
    corrections: tuple[Callable, ...] = ()
    latents: torch.Tensor | None = None
    channels: torch.Tensor | None = None
    timesteps: torch.Tensor | None = None
    fixed: bool = False

    @property
    def guided(self):
        """Whether unconditional rows are computed, in front of the others."""
        return self.guidance_scale != 1

    def with_context(self, tokens, nothing, weights=None):
        """Return this with one more context; `nothing` may be the tokens of a single row, for all of them."""
        context = Context(tokens, nothing.expand_as(tokens), weights)
        return replace(self, contexts=(*self.contexts, context))

    def with_argument(self, name, value, nothing):
        """Return this with an argument of the UNet for the rows under conditions and for the unconditional ones."""
        return replace(self, arguments={**self.arguments, name: (value, nothing)})

    def with_added(self, name, value, nothing):
        """Return this with one of the UNet's ``added_cond_kwargs``, likewise."""
        return replace(self, added={**self.added, name: (value, nothing)})

    def with_correction(self, correct):
        """Return this with one more correction of what the network predicts."""
        return replace(self, corrections=(*self.corrections, correct))

    def with_channels(self, values):
        """Return this with further channels of the network's input, of all rows alike."""
        return replace(self, channels=values)

    def of_fixed_shape(self, n):
        """Return this, complete, with its last row repeated until there are n, and with shapes that are `fixed`.

        What is drawn from `random` was drawn before, by the rows that are there.
        """
        contexts = [
            replace(
                each, tokens=padded(each.tokens, n), nothing=padded(each.nothing, n), weights=_repeated(each.weights, n)
            )
            for each in self.contexts
        ]
        return replace(
            self,
            weights={name: _repeated(row, n) for name, row in self.weights.items()},
            contexts=tuple(contexts),
            arguments={name: padded(pair, n) for name, pair in self.arguments.items()},
            added={name: padded(pair, n) for name, pair in self.added.items()},
            controls=tuple(each.of_fixed_shape(n) for each in self.controls),
            latents=padded(self.latents, n),
            channels=None if self.channels is None else padded(self.channels, n),
            fixed=True,
        )


@dataclass(frozen=True)
class Predicted:
    """What a network has predicted at one step, for what corrects it.

    Attributes
    ----------
    number : int
        Of the step, from 0.
    n_steps : int
        Of all that are done.
    timestep : tensor of shape ()
        On the device that computes.
    latents : tensor of shape (n, channels, size, size)
        What is denoised.
    conditional, nothing : tensor of that shape
        Of the rows under conditions, and of guidance's unconditional ones; the latter is None without guidance.
    value : tensor of that shape
        Both together, with the corrections that came before.
    """

    number: int
    n_steps: int
    timestep: torch.Tensor
    latents: torch.Tensor
    conditional: torch.Tensor
    nothing: torch.Tensor | None
    value: torch.Tensor


def padded(value, n):
    """Repeat the last row of a tensor, or of each in a tuple or list, until there are n.

    >>> padded(torch.tensor([1, 2]), 4)
    tensor([1, 2, 2, 2])
    """
    if isinstance(value, (tuple, list)):
        return type(value)(padded(each, n) for each in value)
    return torch.cat([value, value[-1:].expand(n - len(value), *value.shape[1:])])


@torch.inference_mode()
def denoise(unet, scheduler, sampling, stepped=lambda: None):
    """Denoise latents, one timestep after the other, without a gradient; see `denoised`."""
    return denoised(unet, scheduler, sampling, stepped)


def denoised(unet, scheduler, sampling, stepped=lambda: None):
    """Denoise latents, one timestep after the other; torch differentiates it by the latents and the tokens.

    At each timestep t the network predicts the noise (or v) in the latents x, under guidance scale g as

        prediction = nothing + g · (conditional − nothing),

    what the sampling has of corrections changes it, and the scheduler's solver takes x from t to the next timestep.

    >>> sampling = Sampling(random=(), latents=noise, timesteps=last_timesteps(scheduler, 50, 50))  # doctest: +SKIP
    >>> latents = denoised(unet, scheduler, sampling.with_context(tokens, empty_tokens))  # doctest: +SKIP

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        Or any network called like it. Channels of its output beyond those of the latents, a predicted variance, are not
        used.
    scheduler : diffusers.SchedulerMixin
        From `make_scheduler`, set up for the sampling's timesteps (see `last_timesteps`).
    sampling : Sampling
        Complete.
    stepped : callable
        Called after each timestep.

    Returns
    -------
    latents : tensor of shape (n, channels, size, size)
    """
    latents, guided = sampling.latents, sampling.guided
    tokens, arguments = network_arguments(sampling)
    channels = _further_channels(sampling)
    # The solver reads the timesteps on the CPU, the network on its device.
    n_steps, on_devices = len(sampling.timesteps), sent_to(latents.device, sampling.timesteps)
    for number, (timestep, on_device) in enumerate(zip(sampling.timesteps, on_devices)):
        rows = torch.cat([latents, latents]) if guided else latents
        # A network's output may lie otherwise in memory than the noise did; a compiled network takes that for another input.
        rows = scheduler.scale_model_input(rows, timestep).to(sampling.dtype).contiguous()
        if channels is not None:
            rows = torch.cat([rows, channels], dim=1)
        controlled = {}
        for control in sampling.controls:
            controlled |= control(rows, on_device, tokens, arguments)
        prediction = unet(rows, on_device, tokens, **arguments, **controlled, return_dict=False)[0]
        prediction = prediction[:, : latents.shape[1]].to(latents.dtype)
        conditional, nothing = prediction, None
        if guided:
            nothing, conditional = prediction.chunk(2)
            prediction = nothing + sampling.guidance_scale * (conditional - nothing)
        for correct in sampling.corrections:
            predicted = Predicted(number, n_steps, on_device, latents, conditional, nothing, prediction)
            prediction = correct(unet, sampling, predicted)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        stepped()
    return latents


def network_arguments(sampling):
    """Return what the UNet is called with at every step: the tokens, or None, and the other arguments by name.

    Under guidance the unconditional rows come first.
    """

    def rows(conditional, nothing):
        if isinstance(conditional, list):
            return [rows(*pair) for pair in zip(conditional, nothing)]
        return (torch.cat([nothing, conditional]) if sampling.guided else conditional).to(sampling.dtype)

    contexts = sampling.contexts
    tokens = torch.cat([rows(each.tokens, each.nothing) for each in contexts], dim=1) if contexts else None
    arguments = {name: rows(*pair) for name, pair in sampling.arguments.items()}
    if sampling.added:
        arguments["added_cond_kwargs"] = {name: rows(*pair) for name, pair in sampling.added.items()}
    if any(each.weights is not None for each in contexts):
        arguments["cross_attention_kwargs"] = mixture(
            [each.weights * (2 if sampling.guided else 1) for each in contexts],
            sampling.device,
            sampling.dtype,
            sampling.fixed,
        )
    return tokens, arguments


def _further_channels(sampling):
    """What every row of the network's input has behind its latents, or None."""
    if sampling.channels is None:
        return None
    channels = sampling.channels.to(sampling.latents.device, sampling.dtype)
    return torch.cat([channels, channels]) if sampling.guided else channels


def _repeated(weights, n):
    return None if weights is None else (*weights, *weights[-1:] * (n - len(weights)))


def mixture(weights, device, dtype, fixed=False):
    """Return what a network of several contexts reads of their weights.

    >>> found = mixture([(0.6, 0.0), (0.4, 1.0)], "cpu", torch.float32)
    >>> found["context_rows"]
    (tensor([0]), None)

    Parameters
    ----------
    weights : sequence of tuple of float
        For each context, one weight per row.
    device : torch.device
    dtype : torch.dtype
    fixed : bool
        Choose all rows where not all of them give a context weight. Weight 0 then multiplies what is computed in vain.

    Returns
    -------
    arguments : dict
        ``context_weights``, a tensor of shape (n_rows, n_contexts), and ``context_rows``: for each context the rows that give
        it weight, as a tensor of indices, None if all do, or () if none does. Both are decided here, on the CPU.
    """
    served = []
    for each in weights:
        rows = [row for row, weight in enumerate(each) if weight != 0]
        if not rows:
            served.append(())
        elif fixed or len(rows) == len(each):
            served.append(None)
        else:
            served.append(sent_to(device, torch.tensor(rows, dtype=torch.long)))
    columns = torch.tensor(weights, dtype=torch.float32).T.to(dtype).contiguous()
    return {"context_weights": sent_to(device, columns), "context_rows": tuple(served)}
