"""Versatile Diffusion (Xu et al., 2023) from its published folder, as the toolkit's dual-context pipeline.

The folder is diffusers' (``shi-labs/versatile-diffusion``): ``image_unet``, ``text_unet``, ``vae``, ``scheduler``,
``image_encoder``, ``text_encoder``, ``tokenizer`` and ``image_feature_extractor``. diffusers' own pipelines for it are
deprecated, take no embeddings and no first picture, and the dual-guided one no longer runs; nothing of them is
imported. The two UNets are joined as they are read, and the sampler is the one of Brain-Diffuser (Ozcelik & VanRullen,
2023): DDIM over the published betas, 50 steps at timesteps 1, 21, … 981, guidance 7.5.
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler

from stages.checkpoints.strict_loading import load_strictly, read_json_object
from stages.checkpoints.transformers_loading import load_clip_tokenizer, load_transformers_strictly
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.generators.diffusion.unconditional_embedding import FOLDER, keep_where_possible
from stages.networks.latent_space import load_autoencoder
from stages.networks.versatile_diffusion_unet import load_versatile_diffusion_unet
from weights.manifest import CheckpointError

PIPELINES = ("VersatileDiffusionPipeline", "VersatileDiffusionDualGuidedPipeline")
GUIDANCE_SCALE = 7.5
GREYS = (127.0, 127.5, 0.0)
"""Grey levels of the picture that means nothing: 0.5 of white, cut off to 8 bit as in the published recipe, or not; or black."""
GREY = GREYS[0]
# What is taken from the published scheduler, whatever its class; the rest is the sampler's.
BETAS = ("beta_start", "beta_end", "beta_schedule")


def is_versatile_diffusion(folder):
    """Whether a folder's ``model_index.json`` was written by one of diffusers' Versatile Diffusion pipelines."""
    path = Path(folder) / "model_index.json"
    if not path.is_file():
        return False
    written_by = read_json_object(path, "pipeline").get("_class_name")
    return isinstance(written_by, str) and written_by.startswith("VersatileDiffusion")


def load_versatile_diffusion(folder, dtype=torch.float32, unconditional_grey=GREY):
    """Load the published folder.

    Parameters
    ----------
    folder : path
        As published, with weights in safetensors, whole or in shards. If it has no unconditional contexts, they are computed
        (see `encode_unconditional_contexts`) and written there if the folder can be written to.
    dtype : torch.dtype
        What is computed in, whatever the files store; float16 and bfloat16 are for accelerators. The
        autoencoder is kept in float32 rather than float16 where its configuration says that it overflows.
    unconditional_grey : float
        As of `load_unconditional_contexts`.

    Returns
    -------
    pipeline : DualContextImg2ImgPipeline
        On the CPU.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, a tensor missing, unexpected or misshapen, the parts do not fit each other, or the
        folder was saved by a pipeline that keeps one flow only or exchanges their transformers.
    """
    folder = Path(folder)
    written_by = read_json_object(folder / "model_index.json", "pipeline").get("_class_name")
    if written_by not in PIPELINES:
        raise CheckpointError(
            f"{folder / 'model_index.json'} describes a {written_by}, but a {' or a '.join(PIPELINES)} was expected: "
            "only they keep both flows in their places; give the folder of shi-labs/versatile-diffusion."
        )
    # Before the UNet: the encoders are large and gone again by then.
    contexts = load_unconditional_contexts(folder, unconditional_grey)
    unet = load_versatile_diffusion_unet(folder, contexts.config.image_tokens, contexts.config.text_tokens, dtype)
    if contexts.config.width != unet.config.cross_attention_dim:
        raise CheckpointError(
            f"The unconditional contexts of {folder} have tokens of {contexts.config.width} values, but its UNet reads "
            f"{unet.config.cross_attention_dim}; remove {contexts_folder(unconditional_grey)}/ to have them computed again."
        )
    return DualContextImg2ImgPipeline(
        vae=load_autoencoder(folder, dtype),
        unet=unet,
        scheduler=ddim_scheduler(folder / "scheduler" / "scheduler_config.json"),
        # torch's own `to`, as in `load_strictly`.
        unconditional_contexts=torch.nn.Module.to(contexts, dtype),
        guidance_scale=GUIDANCE_SCALE,
    )


def ddim_scheduler(path):
    """Build the sampler from the configuration of a published scheduler of any class.

    Parameters
    ----------
    path : path
        Its ``scheduler_config.json``; ``num_train_timesteps``, the betas and the type of prediction are taken over.

    Returns
    -------
    scheduler : DDIMScheduler
        50 steps are at timesteps 1, 21, … 981 of 1000; latents are not clipped; the last step ends at the first alpha.

    Raises
    ------
    CheckpointError
        The file is absent or names no betas.
    """
    config = read_json_object(path, "scheduler")
    trained = config.get("trained_betas")
    missing = [name for name in BETAS if config.get(name) is None]
    if missing and trained is None:
        raise CheckpointError(
            f"{path} does not say {', '.join(missing)}, so the noise that the UNet was trained with is not known; "
            "fetch the checkpoint again."
        )
    return DDIMScheduler(
        num_train_timesteps=config.get("num_train_timesteps", 1000),
        trained_betas=trained,
        prediction_type=config.get("prediction_type", "epsilon"),
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        **{name: config[name] for name in BETAS if name not in missing},
    )


def contexts_folder(grey=GREY):
    """Name of the folder in which contexts that mean nothing are stored, of a picture of this grey.

    >>> contexts_folder(), contexts_folder(127.5)
    ('unconditional_contexts_127', 'unconditional_contexts')
    """
    # The second is how those of 0.5 of white were stored when there were no others.
    return FOLDER if grey == 127.5 else f"{FOLDER}_{grey:g}"


def load_unconditional_contexts(folder, grey=GREY):
    """Read the contexts that mean nothing, or compute them once.

    Parameters
    ----------
    folder : path
        Its `contexts_folder` is read if it is there. Otherwise they are computed and written there whole, or kept in memory
        alone if the folder is read-only.
    grey : float
        Grey level of the picture that means nothing: 127 as published, or 127.5, 0.5 of white, or 0.

    Returns
    -------
    contexts : UnconditionalContexts
        In float32.

    Raises
    ------
    CheckpointError
        They are damaged or not finite, or one of the encoders is.
    """
    folder, name = Path(folder), contexts_folder(grey)
    stored = folder / name
    if stored.is_dir():
        contexts = load_strictly(UnconditionalContexts, stored)
    else:
        contexts = encode_unconditional_contexts(folder, grey)
        keep_where_possible(contexts, stored)
    if not all(parameter.isfinite().all() for parameter in contexts.parameters()):
        raise CheckpointError(
            f"The unconditional contexts of {folder} are not finite; remove {name}/ from it, and fetch the "
            "encoders again if that does not help."
        )
    return contexts


@torch.no_grad()
def encode_unconditional_contexts(folder, grey=GREY):
    """Encode a grey picture and the empty caption with the folder's own CLIP.

    Tokens after the last layer norm are projected and divided by the norm of the projected pooled token: of the image
    tokens the first, of the text tokens the first end token. As in the published recipe, end tokens fill the caption
    up to the encoder's length.

    Parameters
    ----------
    folder : path
        Holds ``image_encoder/``, ``image_feature_extractor/``, ``text_encoder/`` and ``tokenizer/``.
    grey : float
        Grey level of the picture, 0 to 255.

    Returns
    -------
    contexts : UnconditionalContexts
        In float32.

    Raises
    ------
    CheckpointError
        A part is absent or damaged, or its tensors do not fit its configuration.
    """
    folder = Path(folder)
    # One encoder after the other, each gone before the next.
    image = _encode_grey(folder, grey)
    text = _encode_nothing(folder)
    if image.shape[1] != text.shape[1]:
        raise CheckpointError(
            f"The image encoder of {folder} projects to {image.shape[1]} values and its text encoder to "
            f"{text.shape[1]}; both must share a space, so fetch the checkpoint again."
        )
    return UnconditionalContexts.from_contexts(image, text)


def _encode_grey(folder, level):
    from transformers import CLIPVisionModelWithProjection

    path = folder / "image_feature_extractor" / "preprocessor_config.json"
    config = read_json_object(path, "image processor")
    encoder = _load_encoder(CLIPVisionModelWithProjection, folder / "image_encoder")
    size = encoder.config.image_size
    grey = torch.full((1, 3, size, size), level / 255)
    # A picture of one colour is the same whatever the resizing and cropping, so none is done. Releases of the image
    # processor also differ in whether they divide floats by 255, which would make it black.
    if config.get("do_normalize", True):
        try:
            mean, std = (torch.tensor(config[name]).reshape(1, 3, 1, 1) for name in ("image_mean", "image_std"))
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise CheckpointError(
                f"{path} does not say image_mean and image_std, three numbers each; fetch the checkpoint again."
            ) from None
        grey = (grey - mean) / std
    tokens = encoder.visual_projection(
        encoder.vision_model.post_layernorm(encoder(pixel_values=grey).last_hidden_state)
    )[0]
    return tokens / tokens[0].norm()


def _encode_nothing(folder):
    from transformers import CLIPTextModelWithProjection

    encoder = _load_encoder(CLIPTextModelWithProjection, folder / "text_encoder")
    start, end = _start_and_end(folder / "tokenizer", encoder.config.vocab_size)
    ids = torch.full((1, encoder.config.max_position_embeddings), end)
    ids[0, 0] = start
    tokens = encoder.text_projection(encoder(input_ids=ids).last_hidden_state)[0]
    # The first end token, by its place: configurations differ in what they call the end token's number.
    return tokens / tokens[1].norm()


def _start_and_end(folder, vocabulary):
    """Numbers of the two tokens that the empty caption consists of."""
    tokenizer = load_clip_tokenizer(folder)
    ids, known = list(tokenizer("").input_ids), len(tokenizer)
    if known != vocabulary or ids != [tokenizer.bos_token_id, tokenizer.eos_token_id]:
        raise CheckpointError(
            f"{folder} knows {known} tokens and makes {ids} of the empty caption; expected the text encoder's "
            f"{vocabulary} tokens, and a start and an end token; fetch the checkpoint again."
        )
    return ids


def _load_encoder(model_class, folder):
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder / 'config.json'} is absent, and no unconditional contexts are stored beside it to do without the encoder; "
            "fetch the checkpoint again."
        )
    return load_transformers_strictly(model_class, folder)
