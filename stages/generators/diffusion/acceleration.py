"""How a generator computes: precision, memory savings, batches; for any of diffusers' pipelines.

Nothing here changes what a picture shows: slicing, memory layout, joined projections and compiling change float rounding,
half precision a little more than that.
"""

from dataclasses import dataclass

from stages.generators.diffusion import memory
from stages.generators.diffusion.memory import BYTES, SET_ASIDE, GeneratorSize, largest_batch, memory_need
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

# diffusers' names of what attention slicing replaces by something that computes the same.
_PLAIN_ATTENTION = ("AttnProcessor", "AttnProcessor2_0", "AttnAddedKVProcessor", "AttnAddedKVProcessor2_0")
# And of what joined projections replace.
_JOINABLE = ("AttnProcessor", "AttnProcessor2_0")


@dataclass(frozen=True)
class Acceleration:
    """Settings of how a pipeline computes.

    Attributes
    ----------
    dtype : {"auto", "float32", "float16", "bfloat16"}
        "auto" is float16 on CUDA and float32 elsewhere.
    attention_slicing : bool
        Attention a few heads at a time. Where torch has ``scaled_dot_product_attention``, which it replaces, it takes
        more memory and time, not less; for devices where that one is missing or wrong.
    vae_slicing : {"auto"} or bool
        The autoencoder works on one picture at a time. "auto" slices where a whole batch would not fit.
    offload : {"none", "model", "sequential"}
        Keep in host memory what is not computing: whole networks, or single layers (slow). Needs an accelerator, and a
        loop that asks the pipeline where to compute (``_execution_device``), as diffusers' own do.
    compile : bool or {"whole"}
        ``torch.compile`` of the UNet's repeated blocks, or of the UNet as a "whole"; see
        `stages.generators.diffusion.compilation.compiled`. Batches that are not full are filled up then.
    channels_last : {"auto"} or bool
        Store maps channel by channel last, which convolutions in half precision on CUDA like. "auto" does so there.
    joined_projections : {"auto"} or bool
        Compute the query, key and value of an attention as one product (diffusers' ``fuse_qkv_projections``). The weights
        are held twice; what is saved to disk keeps its names. "auto" does so in half precision on CUDA where a network's
        attention is the plain one.
    batch_size : {"auto"} or int
        "auto" is the largest that fits, up to 16 on a CPU and 64 on an accelerator; see
        `stages.generators.diffusion.memory.largest_batch`.

    Raises
    ------
    InputError
        A setting has a value that it cannot have.
    """

    dtype: str = "auto"
    attention_slicing: bool = False
    vae_slicing: bool | str = "auto"
    offload: str = "none"
    compile: bool | str = False
    channels_last: bool | str = "auto"
    joined_projections: bool | str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self):
        if self.attention_slicing is True and self.joined_projections is True:
            raise InputError(
                "attention_slicing and joined_projections are both True, but each replaces attention; set one of them to False."
            )
        for name, allowed in (
            ("dtype", ("auto", *BYTES)),
            ("attention_slicing", (True, False)),
            ("vae_slicing", ("auto", True, False)),
            ("offload", ("none", "model", "sequential")),
            ("compile", (True, False, "whole")),
            ("channels_last", ("auto", True, False)),
            ("joined_projections", ("auto", True, False)),
        ):
            value = getattr(self, name)
            # 1 == True, but the file of a run would say something else.
            if not any(value is each or (isinstance(value, str) and value == each) for each in allowed):
                meant = did_you_mean(value, allowed)
                raise InputError(f"{name} is {value!r}; choose one of {', '.join(map(repr, allowed))}{meant}.")
        number = self.batch_size
        if number != "auto" and not (isinstance(number, int) and not isinstance(number, bool) and number >= 1):
            raise InputError(f"batch_size is {number!r}; expected 'auto' or a number from 1.")

    def dtype_for(self, device):
        """The torch.dtype to load networks in for a device."""
        import torch

        return getattr(torch, self._dtype_name(device))

    def apply(self, pipeline, device="cpu", free_bytes=None):
        """Bring a pipeline to a device under these settings.

        Parameters
        ----------
        pipeline : diffusers.DiffusionPipeline
            With a ``unet``, and a ``vae`` or ``movq``; changed in place. An autoencoder whose configuration file says
            ``force_upcast`` stays in float32 for float16.
        device : str or torch.device
        free_bytes : int, optional
            By default what is free on the device now.

        Returns
        -------
        pipeline

        Raises
        ------
        InputError
            The pipeline cannot do what a setting asks for, or the device cannot.
        """
        import torch

        from stages.networks.latent_space import overflows_in_half

        device = torch.device(device)
        vae = pipeline.vae if hasattr(pipeline, "vae") else pipeline.movq
        self._check(pipeline, vae, device)
        sliced = self.vae_slicing
        if sliced == "auto":
            sliced = hasattr(vae, "enable_slicing") and self._is_short(pipeline, device, free_bytes)
        dtype = self.dtype_for(device)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                upcast = part is vae and dtype == torch.float16 and overflows_in_half(vae)
                # torch's own `to`: diffusers' warns about modules that it was never told to keep in float32.
                torch.nn.Module.to(part, torch.float32 if upcast else dtype)
        if self._chosen(self.channels_last, device):
            for part in (pipeline.unet, vae):
                torch.nn.Module.to(part, memory_format=torch.channels_last)
        if self._joins(pipeline.unet, device):
            join_projections(pipeline.unet)
        if self.attention_slicing:
            pipeline.enable_attention_slicing()
        if sliced:
            vae.enable_slicing()
        if self.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif self.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        else:
            pipeline.to(device)
        if self.compile:
            from stages.generators.diffusion.compilation import compiled

            compiled(pipeline.unet, whole=self.compile == "whole")
        return pipeline

    def batch_size_for(self, size, device="cpu", free_bytes=None, guided=True):
        """How many pictures to draw at a time.

        Parameters
        ----------
        size : GeneratorSize or diffusers.DiffusionPipeline
        device : str or torch.device
        free_bytes : int, optional
            For weights and activations together; by default what is free on the device now, to which the weights of a
            pipeline that is there already are added.
        guided : bool

        Returns
        -------
        batch_size : int
            The one set, or the largest up to `largest_batch` that fits with the autoencoder at one picture at a time.

        Raises
        ------
        InputError
            Not even one picture fits.
        """
        import torch

        if self.batch_size != "auto":
            return self.batch_size
        device = torch.device(device)
        there = 0
        if not isinstance(size, GeneratorSize):
            there = _bytes_on(size, device) if self.offload == "none" else 0
            size = GeneratorSize.of(size)
        free = free_memory(device) + there if free_bytes is None else free_bytes
        settings = self.settings_on(device) | {"guided": guided, "vae_slicing": self.vae_slicing is not False}
        found = memory.batch_size_for(size, free, largest_batch(device), **settings)
        if found == 0:
            need = memory_need(size, batch_size=1, **settings).total
            raise InputError(
                f"One picture of {size.image_size} x {size.image_size} in {settings['dtype']} needs "
                f"{need / 1e9:.1f} GB but {free / 1e9:.1f} GB are free on {device}; {self._advice(device)}."
            )
        return found

    def _chosen(self, setting, device):
        """Whether to do what "auto" does in half precision on CUDA."""
        if setting != "auto":
            return setting
        return device.type == "cuda" and self._dtype_name(device) != "float32"

    def _joins(self, unet, device):
        """Whether to join projections; "auto" leaves alone what other settings are about."""
        if self.joined_projections == "auto" and (self.attention_slicing or self.offload != "none"):
            return False
        return self._chosen(self.joined_projections, device) and not _other_attention(unet, _JOINABLE)

    def _dtype_name(self, device):
        if self.dtype != "auto":
            return self.dtype
        return "float16" if str(device).partition(":")[0] == "cuda" else "float32"

    def settings_on(self, device):
        """What `stages.generators.diffusion.memory.memory_need` is told of these settings on a device."""
        import torch

        device = torch.device(device)
        return {
            "dtype": self._dtype_name(device),
            "attention_slicing": self.attention_slicing,
            "offload": self.offload,
            "set_aside": 0 if device.type == "cpu" else SET_ASIDE,
        }

    def less_memory(self, device, name="acceleration"):
        """Return the settings that would take less memory on a device, as they are typed, list of str.

        >>> Acceleration(dtype="float32").less_memory("cuda")
        ['acceleration.dtype=float16', 'acceleration.offload=model']
        """
        if str(device).partition(":")[0] == "cpu":
            return []
        found = [f"{name}.dtype=float16"] if self._dtype_name(device) == "float32" else []
        return found + ([f"{name}.offload=model"] if self.offload == "none" else [])

    def _advice(self, device):
        if device.type == "cpu":
            return "free memory, or take a machine with more of it"
        if self._dtype_name(device) == "float32":
            return "choose dtype='float16'"
        return "draw on a device with more memory, or on the CPU"

    def _is_short(self, pipeline, device, free_bytes):
        """Whether a batch at once through the autoencoder would not fit."""
        free = free_memory(device) + _bytes_on(pipeline, device) if free_bytes is None else free_bytes
        batch = largest_batch(device) if self.batch_size == "auto" else self.batch_size
        whole = memory_need(
            GeneratorSize.of(pipeline), batch_size=batch, vae_slicing=False, **self.settings_on(device)
        )  # fmt: skip
        return whole.total > free

    def _check(self, pipeline, vae, device):
        name = type(pipeline).__name__
        if device.type == "cpu" and self.offload != "none":
            raise InputError(
                f"offload is {self.offload!r} on the CPU, where networks are in host memory anyway; set it to 'none' or "
                "name an accelerator."
            )
        if self.offload == "model" and not getattr(pipeline, "model_cpu_offload_seq", None):
            raise InputError(
                f"{name} does not say in which order its networks compute (model_cpu_offload_seq), so they cannot be "
                "offloaded one by one; choose offload='sequential' or 'none'."
            )
        if self.vae_slicing is True and not hasattr(vae, "enable_slicing"):
            raise InputError(f"The {type(vae).__name__} of {name} cannot slice; set vae_slicing to 'auto' or False.")
        other = _other_attention(pipeline.unet, _PLAIN_ATTENTION)
        if self.attention_slicing and other:
            raise InputError(
                f"Attention slicing would replace {', '.join(other)} in the UNet of {name} by plain attention, and "
                "an adapter's context would be ignored; set attention_slicing to False."
            )
        other = _other_attention(pipeline.unet, _JOINABLE)
        if self.joined_projections is True and other:
            raise InputError(
                f"Joined projections would replace {', '.join(other)} in the UNet of {name} by plain attention; set "
                "joined_projections to 'auto' or False."
            )


def join_projections(unet):
    """Compute the projections of each attention as one product; what is saved to disk keeps its names.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        Changed in place; its attention is the plain one.
    """
    names = set(unet.state_dict())
    unet.fuse_qkv_projections()

    def as_published(module, state, prefix, metadata):
        for name in [name for name in state if name.startswith(prefix) and name[len(prefix) :] not in names]:
            del state[name]

    unet.register_state_dict_post_hook(as_published)


def _other_attention(unet, known):
    """Return the names of attention processors in a UNet that are not among the known ones."""
    processors = getattr(unet, "attn_processors", {}).values()
    return sorted({type(each).__name__ for each in processors} - set(known))


def free_memory(device="cpu"):
    """Bytes that are free on a device: of the accelerator, or of the host where torch does not tell."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        # Torch keeps what was freed, and the driver counts it as taken.
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def _bytes_on(pipeline, device):
    """Bytes of a pipeline's parameters that are on a device already, and so no longer free."""
    parts = (part for part in pipeline.components.values() if hasattr(part, "parameters"))
    parameters = (parameter for part in parts for parameter in part.parameters())
    return sum(each.nbytes for each in parameters if each.device.type == device.type)
