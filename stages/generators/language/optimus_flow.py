"""Captions by Versatile Diffusion's text flow: an Optimus latent is noised, denoised under both contexts, and written.

UniBrain (Mai and Zhang 2023) decodes the latent and both contexts from the brain. The flow and the way in which Optimus writes
are Versatile Diffusion's (Xu et al. 2023): DDIM without noise, then word after word by lot.
"""

from __future__ import annotations

from functools import partial

import torch

from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.diffusion.conditioners import MixedContext
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.in_float32 import InFloat32
from stages.generators.diffusion.latent_diffusion import check_options
from stages.generators.diffusion.loading import computing_dtype
from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.start import StartFromLatent, StartFromNoise
from stages.generators.diffusion.start_rule import StartRule, denoising_steps
from stages.generators.diffusion.versatile_diffusion import is_versatile_diffusion, load_versatile_diffusion
from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.generators.language.optimus_writer import check_words, check_writing, written
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.ground.progress import SILENT
from stages.networks.optimus import BOS, EOS, PAD, load_optimus
from stages.networks.text_flow import load_text_flow
from weights.manifest import CheckpointError

CONTEXTS, START = ("clip_image", "clip_text"), "optimus"
WEIGHTS = {"clip_image": 0.9, "clip_text": 0.1}
"""UniBrain's, if its rate of 0.9 weighs the image context, which the paper leaves open."""


class OptimusFlowCaptioner:
    """Write captions with the text flow and Optimus' decoder.

    >>> import numpy as np
    >>> from diffusers import DDIMScheduler
    >>> from transformers import GPT2Tokenizer
    >>> from stages.generators.generator import Item, in_order
    >>> from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
    >>> from stages.networks.optimus_decoder import OptimusDecoder
    >>> from stages.networks.text_flow import TextFlow
    >>> sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1, "attention_head_dim": 2}
    >>> sizes |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "cross_attention_dim": 6}
    >>> sizes |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "sample_size": 8}
    >>> flow = TextFlow(DualContextUNet2DConditionModel(**sizes, image_context_tokens=5, text_context_tokens=3), width=12)
    >>> tokenizer = GPT2Tokenizer(vocab={"a": 0, "b": 1, "<|endoftext|>": 2}, merges=[])
    >>> _ = tokenizer.add_tokens([PAD, BOS, EOS], special_tokens=True)
    >>> decoder = OptimusDecoder(len(tokenizer), latent=12, width=8, n_layers=1, n_heads=2, n_positions=40).eval()
    >>> nothing = {"clip_image": torch.zeros(5, 6), "clip_text": torch.zeros(3, 6)}
    >>> captioner = OptimusFlowCaptioner(flow, decoder, tokenizer, DDIMScheduler(clip_sample=False), nothing)
    >>> captioner.takes
    {'optimus': (12,), 'clip_image': (5, 6), 'clip_text': (3, 6)}
    >>> values = {name: np.ones((1, *shape), dtype=np.float32) for name, shape in captioner.takes.items()}
    >>> captions = in_order(captioner.draw(values, [Item("nsd00042")], num_inference_steps=4))
    >>> type(captions[0])
    <class 'str'>

    Parameters
    ----------
    flow : stages.networks.text_flow.TextFlow
    decoder : stages.networks.optimus_decoder.OptimusDecoder
        In evaluation mode, in float32.
    tokenizer : transformers.GPT2Tokenizer
        With <PAD>, <BOS> and <EOS>.
    scheduler : diffusers.DDIMScheduler
    nothing : mapping of str to tensor
        Tokens of ``clip_image`` and of ``clip_text`` that guidance's unconditional half reads.
    noised_to : {"step before", "first step"}
        Noise to the timestep before the one that is denoised first, as Versatile Diffusion's sampler does, or to that one.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    """

    gives = "caption"
    draws_by_lot = True
    default_steps = 50
    default_guidance_scale = 7.5

    def __init__(self, flow, decoder, tokenizer, scheduler, nothing, noised_to="step before"):
        self.flow, self.decoder, self.tokenizer, self.scheduler = flow, decoder, tokenizer, scheduler
        self.rule = StartRule(noised_to=noised_to)
        self.contexts = [MixedContext(name, nothing[name]) for name in CONTEXTS]
        self.takes = {START: (flow.width,)} | {name: tuple(nothing[name].shape) for name in CONTEXTS}
        self.optional = frozenset(self.takes)
        self._check_parts()

    @classmethod
    def from_pretrained(
        cls, folder, text_flow, optimus, tokenizer, device="cpu", acceleration=None, noised_to="step before"
    ):
        """Load the parts from their folders.

        Parameters
        ----------
        folder : path
            Of Versatile Diffusion, or of a `DualContextImg2ImgPipeline`; what only pictures need is let go again.
        text_flow : path
            See `stages.networks.text_flow.load_text_flow`; may be `folder` if that has the whole of ``text_unet/``.
        optimus : path
            See `stages.networks.optimus.load_optimus`.
        tokenizer : path
            Of GPT-2's.
        device : str or torch.device
        acceleration : stages.generators.diffusion.acceleration.Acceleration, optional
            Of which the precision is taken, for the flow; Optimus computes in float32.
        noised_to
            See the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen, or the parts do not fit each other.
        """
        dtype = computing_dtype(None, acceleration, device)
        load = (
            load_versatile_diffusion if is_versatile_diffusion(folder) else DualContextImg2ImgPipeline.from_pretrained
        )
        pipeline = load(folder, dtype=dtype)
        nothing = pipeline.unconditional_contexts
        return cls(
            load_text_flow(text_flow, pipeline.unet, dtype).to(device),
            load_optimus(optimus).decoder.to(device),
            load_gpt2_tokenizer(tokenizer, (PAD, BOS, EOS)),
            pipeline.scheduler,
            {"clip_image": nothing.image.data, "clip_text": nothing.text.data},
            noised_to,
        )

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        batch_size=1,
        progress=SILENT,
        num_inference_steps=None,
        guidance_scale=None,
        strength=0.75,
        weights=None,
        writing="by lot",
        temperature=1.0,
        max_length=30,
        repetitions="words and sentences",
    ):
        """Write one caption per item; see `stages.generators.generator`.

        The noise and the words of a caption are drawn from its own generator, see `stages.ground.item_seeds.item_generator`.

        Parameters
        ----------
        values : mapping of str to rows
            ``optimus``, unscaled, as of `stages.targets.optimus.OptimusLatents`: without it denoising starts from noise alone.
            ``clip_image`` and ``clip_text``: at least one of them.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
        batch_size : int
            Changes the probabilities of words by float rounding only; a word may change by it, and those that follow.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.
        num_inference_steps : int, optional
            Steps from noise to a latent, of which the strength's share is done; 50 by default.
        guidance_scale : float, optional
            7.5 by default; 1 switches guidance off.
        strength : float
            Share of the steps that are done from the given latent, 0..1; 0 writes what the latent says as it is.
        weights : mapping of str to float, optional
            Shares of the image context's and of the text context's attention. An absent context leaves its share to the other.
        writing : {"by lot", "greedy"}
            Draw each token by its probability, or take the most probable one.
        temperature : float
            What scores are divided by before; above 0.
        max_length : int
            Tokens of a sentence with its beginning and its end, which takes the place of the last.
        repetitions : {"words and sentences", "words", "kept"}
            Which are removed: words that stand twice in a row, as Versatile Diffusion does, and then sentences that were said.

        Yields
        ------
        position : int
            Into `items`; not in order.
        caption : str
            May be empty, if the sentence ends at once.

        Raises
        ------
        InputError
            A value or a setting does not fit; raised before anything is written.
        NotFinite
            Latents or probabilities are NaN or infinite, in float32 too; raised after all other captions have been yielded.
        """
        items = list(items)
        steps = self.default_steps if num_inference_steps is None else num_inference_steps
        scale = self.default_guidance_scale if guidance_scale is None else guidance_scale
        check_options(batch_size, steps, scale)
        denoising_steps(strength, steps)
        check("writing", writing, OneOf("by lot", "greedy"))
        check_writing(self.decoder, temperature, max_length, repetitions)
        shares = _shares(weights)
        rows = rows_of(self, values, items)
        for position, item in enumerate(items):
            if all(rows[name][position] is None for name in CONTEXTS):
                raise InputError(
                    f"{item.stimulus_id} has neither clip_image nor clip_text, but captions are written under at least one of "
                    "them; give one."
                )

        def starts(position):
            return rows[START][position] is not None and strength < 1

        def captions(positions):
            random = tuple(item_generator(seed, items[one].stimulus_id, items[one].sample) for one in positions)
            own = {name: [rows[name][one] for one in positions] for name in rows}
            latents = self._latents(own, random, shares, steps, scale, strength, starts(positions[0]))
            by_lot = None if writing == "greedy" else random
            return self._sentences(latents, by_lot, temperature, max_length, repetitions)

        batches = together(range(len(items)), batch_size, starts)
        again = partial(InFloat32.of_networks, [self.flow], "Captions")
        return drawn_in_batches(batches, captions, items, in_float32=again, progress=progress)

    @torch.inference_mode()
    def _latents(self, rows, random, shares, steps, scale, strength, from_latent):
        """Denoised latents of items that start alike, tensor (n, width), float32."""
        sampling = Sampling(
            random=random,
            weights=_weights_of_rows(rows, shares),
            num_inference_steps=steps,
            strength=strength,
            device=self.flow.conv_in.weight.device,
            dtype=self.flow.dtype,
            guidance_scale=scale,
        )
        for context in self.contexts:
            sampling = context.prepare(rows[context.reads], sampling)
        shape = (self.flow.width, 1, 1)
        if from_latent:
            starts = [row.reshape(shape) for row in rows[START]]
            sampling = StartFromLatent(self.scheduler, shape, None, self.rule).prepare(starts, sampling)
        else:
            sampling = StartFromNoise(self.scheduler, shape).prepare(None, sampling)
        return denoise(self.flow, self.scheduler, sampling).flatten(1).float()

    def _sentences(self, latents, *how):
        return written(self.decoder, self.tokenizer, latents, *how)

    def _check_parts(self):
        """Raise CheckpointError unless the parts belong together."""
        check_words(self.decoder, self.tokenizer)
        latent = self.decoder.transformer.linear.in_features
        if latent != self.flow.width:
            raise CheckpointError(
                f"The text flow denoises {self.flow.width} values but Optimus' latents have {latent}; give folders that belong "
                "together."
            )


def _shares(weights):
    """Shares of both contexts; InputError for another name or a number that is not finite."""
    weights = dict(weights or {})
    for name, weight in weights.items():
        if name not in WEIGHTS:
            raise InputError(f"There is no weight of {name}; captions take those of {' and '.join(WEIGHTS)}.")
        check(f"weight of {name}", weight, Number(float("-inf")))
    return WEIGHTS | weights


def _weights_of_rows(rows, shares):
    """For each context its weight in each row: one that is absent leaves its share to the other."""
    whole, found = float(sum(shares.values())), {name: [] for name in shares}
    for image, text in zip(*(rows[name] for name in CONTEXTS)):
        alone = image is None or text is None
        found["clip_image"].append(0.0 if image is None else whole if alone else float(shares["clip_image"]))
        found["clip_text"].append(0.0 if text is None else whole if alone else float(shares["clip_text"]))
    return {name: tuple(own) for name, own in found.items()}
