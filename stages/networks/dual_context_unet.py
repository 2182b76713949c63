"""A latent-diffusion UNet that attends to an image context and a text context at once.

The layout is Versatile Diffusion's (Xu et al., 2023), as diffusers' ``DualTransformer2DModel`` stores it: wherever
a one-context UNet has one transformer, this one has a transformer per context, ``…attentions.N.transformers.0``
for the image tokens and ``…attentions.N.transformers.1`` for the text tokens, and mixes their residual updates,

    h ← h + w_image · (T_image(h, c_image) − h) + w_text · (T_text(h, c_text) − h).

diffusers' own class accepts no ``encoder_attention_mask`` and holds one mixing ratio for a whole batch; this one
takes the weights per row, so that rows of different conditions share a batch.
"""

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from stages.checkpoints.strict_loading import load_strictly
from stages.ground.errors import InputError

CONTEXTS = ("image", "text")


class DualContextTransformer(nn.Module):
    """One transformer per context over the same feature map, their residual updates mixed row by row.

    Parameters
    ----------
    transformer : Transformer2DModel
        Becomes the image context's transformer; the text context's is a new one of the same configuration.
    context_tokens : tuple of two int
        Tokens of the image and of the text context, in the order in which they lie in ``encoder_hidden_states``.
    """

    def __init__(self, transformer, context_tokens):
        super().__init__()
        # `from_config(transformer.config)` would forget the arguments that diffusers' blocks pass by position.
        arguments = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
        self.transformers = nn.ModuleList([transformer, Transformer2DModel(**arguments)])
        self.context_tokens = tuple(context_tokens)

    def forward(
        self,
        hidden_states,
        encoder_hidden_states,
        cross_attention_kwargs=None,
        attention_mask=None,
        encoder_attention_mask=None,
        return_dict=False,
    ):
        """Mix the contexts' residual updates.

        Parameters
        ----------
        hidden_states : tensor of shape (n_rows, n_channels, height, width)
        encoder_hidden_states : tensor of shape (n_rows, n_image_tokens + n_text_tokens, cross_attention_dim)
        cross_attention_kwargs : dict
            Its ``context_weights``, of shape (n_rows, 2), are the weights of image and text. Its ``context_rows``, if
            given, says which rows each context is computed for: a tensor of indices, None for all of them, or an empty
            tuple for none. Anything else is handed to the attention processors.
        encoder_attention_mask : tensor of shape (n_rows, 1, n_image_tokens + n_text_tokens), optional
            Added to the attention scores.

        Returns
        -------
        (mixed,) : tuple of one tensor, shaped as hidden_states
        """
        others = dict(cross_attention_kwargs)
        weights = others.pop("context_weights").to(hidden_states)
        served = others.pop("context_rows", (None, None))
        mixed = hidden_states
        start = 0
        for index, transformer in enumerate(self.transformers):
            tokens = slice(start, start + self.context_tokens[index])
            start = tokens.stop
            # Which rows they are was decided on the CPU: asking the weights here would wait for the device.
            rows = served[index]
            if rows is not None and len(rows) == 0:
                continue
            h = _rows(hidden_states, rows)
            mask = None if encoder_attention_mask is None else encoder_attention_mask[..., tokens]
            update = transformer(
                h,
                encoder_hidden_states=_rows(encoder_hidden_states[:, tokens], rows),
                cross_attention_kwargs=others or None,
                attention_mask=_rows(attention_mask, rows),
                encoder_attention_mask=_rows(mask, rows),
                return_dict=False,
            )[0].sub(h)
            update = update * _rows(weights[:, index], rows)[:, None, None, None]
            mixed = mixed + update if rows is None else mixed.index_add(0, rows, update)
        return (mixed,)


def _rows(tensor, rows):
    """Select rows of a batch by their indices; without indices hand the batch through, and None too."""
    return tensor if rows is None or tensor is None else tensor[rows]


class PositionedConv2d(nn.Conv2d):
    """A convolution that adds a learned code of the place to its output.

    Parameters
    ----------
    convolution : torch.nn.Conv2d
        What it replaces; its weights are taken over.
    size : int
        Height and width of the maps that it will see.
    """

    def __init__(self, convolution, size):
        super().__init__(
            convolution.in_channels, convolution.out_channels, convolution.kernel_size, padding=convolution.padding
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.position = nn.Parameter(torch.zeros(convolution.out_channels, size, size))

    def forward(self, sample):
        """Convolve (n_rows, in_channels, size, size) to (n_rows, out_channels, size, size)."""
        if sample.shape[-2:] != self.position.shape[-2:]:
            given, known = (" x ".join(map(str, shape[-2:])) for shape in (sample.shape, self.position.shape))
            raise InputError(
                f"The map is {given} but this network knows the places of {known}; pass latents of {known}."
            )
        return super().forward(sample) + self.position


class DualContextUNet2DConditionModel(UNet2DConditionModel):
    """diffusers' conditional UNet with a `DualContextTransformer` wherever it has a ``Transformer2DModel``.

    The constructor takes what ``UNet2DConditionModel`` takes, and

    Parameters
    ----------
    image_context_tokens, text_context_tokens : int
        Length of each context. They are concatenated along the token axis, image first; the published network
        sees 257 image tokens and 77 text tokens.
    position_embedding : bool
        Whether learned codes of the place are added: ``conv_in.position`` after the first convolution, and
        ``token_position`` to the tokens of both contexts. The published network has neither; they let a small one
        find the image token of a place.
    dual_cross_attention : bool
        Accepted so that configurations of diffusers' own dual network load; this network always has two contexts.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int | None = None,
        in_channels: int = 4,
        out_channels: int = 4,
        center_input_sample: bool = False,
        flip_sin_to_cos: bool = True,
        freq_shift: int = 0,
        down_block_types: tuple[str, ...] = (
            "CrossAttnDownBlock2D",
            "CrossAttnDownBlock2D",
            "CrossAttnDownBlock2D",
            "DownBlock2D",
        ),
        mid_block_type: str | None = "UNetMidBlock2DCrossAttn",
        up_block_types: tuple[str, ...] = (
            "UpBlock2D",
            "CrossAttnUpBlock2D",
            "CrossAttnUpBlock2D",
            "CrossAttnUpBlock2D",
        ),
        only_cross_attention: bool | tuple[bool, ...] = False,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int | tuple[int, ...] = 2,
        downsample_padding: int = 1,
        mid_block_scale_factor: float = 1,
        dropout: float = 0.0,
        act_fn: str = "silu",
        norm_num_groups: int | None = 32,
        norm_eps: float = 1e-5,
        cross_attention_dim: int | tuple[int, ...] = 768,
        transformer_layers_per_block: int | tuple[int, ...] = 1,
        reverse_transformer_layers_per_block: tuple[tuple[int, ...], ...] | None = None,
        encoder_hid_dim: int | None = None,
        encoder_hid_dim_type: str | None = None,
        attention_head_dim: int | tuple[int, ...] = 8,
        num_attention_heads: int | tuple[int, ...] | None = None,
        dual_cross_attention: bool = False,
        use_linear_projection: bool = False,
        class_embed_type: str | None = None,
        addition_embed_type: str | None = None,
        addition_time_embed_dim: int | None = None,
        num_class_embeds: int | None = None,
        upcast_attention: bool = False,
        resnet_time_scale_shift: str = "default",
        resnet_skip_time_act: bool = False,
        resnet_out_scale_factor: float = 1.0,
        time_embedding_type: str = "positional",
        time_embedding_dim: int | None = None,
        time_embedding_act_fn: str | None = None,
        timestep_post_act: str | None = None,
        time_cond_proj_dim: int | None = None,
        conv_in_kernel: int = 3,
        conv_out_kernel: int = 3,
        projection_class_embeddings_input_dim: int | None = None,
        attention_type: str = "default",
        class_embeddings_concat: bool = False,
        mid_block_only_cross_attention: bool | None = None,
        cross_attention_norm: str | None = None,
        addition_embed_type_num_heads: int = 64,
        image_context_tokens: int = 257,
        text_context_tokens: int = 77,
        position_embedding: bool = False,
    ):
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            center_input_sample=center_input_sample,
            flip_sin_to_cos=flip_sin_to_cos,
            freq_shift=freq_shift,
            down_block_types=down_block_types,
            mid_block_type=mid_block_type,
            up_block_types=up_block_types,
            only_cross_attention=only_cross_attention,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            downsample_padding=downsample_padding,
            mid_block_scale_factor=mid_block_scale_factor,
            dropout=dropout,
            act_fn=act_fn,
            norm_num_groups=norm_num_groups,
            norm_eps=norm_eps,
            cross_attention_dim=cross_attention_dim,
            transformer_layers_per_block=transformer_layers_per_block,
            reverse_transformer_layers_per_block=reverse_transformer_layers_per_block,
            encoder_hid_dim=encoder_hid_dim,
            encoder_hid_dim_type=encoder_hid_dim_type,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            dual_cross_attention=False,
            use_linear_projection=use_linear_projection,
            class_embed_type=class_embed_type,
            addition_embed_type=addition_embed_type,
            addition_time_embed_dim=addition_time_embed_dim,
            num_class_embeds=num_class_embeds,
            upcast_attention=upcast_attention,
            resnet_time_scale_shift=resnet_time_scale_shift,
            resnet_skip_time_act=resnet_skip_time_act,
            resnet_out_scale_factor=resnet_out_scale_factor,
            time_embedding_type=time_embedding_type,
            time_embedding_dim=time_embedding_dim,
            time_embedding_act_fn=time_embedding_act_fn,
            timestep_post_act=timestep_post_act,
            time_cond_proj_dim=time_cond_proj_dim,
            conv_in_kernel=conv_in_kernel,
            conv_out_kernel=conv_out_kernel,
            projection_class_embeddings_input_dim=projection_class_embeddings_input_dim,
            attention_type=attention_type,
            class_embeddings_concat=class_embeddings_concat,
            mid_block_only_cross_attention=mid_block_only_cross_attention,
            cross_attention_norm=cross_attention_norm,
            addition_embed_type_num_heads=addition_embed_type_num_heads,
        )
        self.context_tokens = (image_context_tokens, text_context_tokens)
        if position_embedding:
            self.conv_in = PositionedConv2d(self.conv_in, sample_size)
            self.token_position = nn.Parameter(torch.zeros(sum(self.context_tokens), cross_attention_dim))
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            if getattr(block, "has_cross_attention", False):
                block.attentions = nn.ModuleList(
                    DualContextTransformer(transformer, self.context_tokens) for transformer in block.attentions
                )

    def forward(self, sample, timestep, encoder_hidden_states, *, cross_attention_kwargs=None, **options):
        """Predict the noise (or v) in a batch of latents, each row under its own mixture of contexts.

        Parameters
        ----------
        sample : tensor of shape (n_rows, in_channels, height, width)
        timestep : int, or tensor of shape () or (n_rows,)
        encoder_hidden_states : tensor of shape (n_rows, n_image_tokens + n_text_tokens, cross_attention_dim)
            Image tokens first, then text tokens.
        cross_attention_kwargs : dict
            ``context_weights``: tensor of shape (n_rows, 2), the weights of the image and of the text context.
            ``context_rows``, optional: for each context the indices of the rows that it is computed for, a tensor, None
            for all rows, or an empty tuple for none. Rows that give it weight must be among them. Without it both contexts
            are computed for all rows. A tensor's length is part of a compiled network's shapes; None and () are not.
        **options
            As in ``UNet2DConditionModel.forward``.

        Returns
        -------
        UNet2DConditionOutput, or a tuple of one tensor with ``return_dict=False``

        Raises
        ------
        InputError
            Tokens or weights have another shape.
        """
        rows, expected = len(sample), sum(self.context_tokens)
        if encoder_hidden_states.shape[:2] != (rows, expected):
            raise InputError(
                f"encoder_hidden_states have shape {tuple(encoder_hidden_states.shape)} for {rows} rows, but this "
                f"network reads {self.context_tokens[0]} image tokens followed by {self.context_tokens[1]} text "
                f"tokens; concatenate both contexts along axis 1 to ({rows}, {expected}, …)."
            )
        weights = (cross_attention_kwargs or {}).get("context_weights")
        if weights is None or tuple(weights.shape) != (rows, 2):
            given = "no context_weights" if weights is None else f"context_weights of shape {tuple(weights.shape)}"
            raise InputError(
                f"{rows} rows came with {given}; pass "
                f'cross_attention_kwargs={{"context_weights": weights}} with weights of shape ({rows}, 2).'
            )
        if self.config.position_embedding:
            encoder_hidden_states = encoder_hidden_states + self.token_position
        return super().forward(
            sample, timestep, encoder_hidden_states, cross_attention_kwargs=cross_attention_kwargs, **options
        )

    @classmethod
    def from_pretrained(cls, folder, dtype=torch.float32):
        """Load a folder in diffusers' layout; CheckpointError when a tensor is missing, left over or misshapen."""
        return load_strictly(cls, folder, dtype)
