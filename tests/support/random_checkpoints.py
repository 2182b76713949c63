"""Tiny random checkpoints in the layouts that the networks are published in.

The parts are diffusers', transformers' and open_clip's own classes, so that what loads these folders is held against the
libraries that write the published ones.
"""

import json

import torch
from diffusers import AutoencoderKL, DDPMScheduler, PNDMScheduler, UNet2DConditionModel, VQModel
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from safetensors.torch import load_file, save_file

from weights import store
from weights.conversion import convert

# Side of the pictures; values of a pooled CLIP embedding; tokens of a text.
SIZE, EMBED_DIM, TEXT_TOKENS = 16, 12, 7
VERSATILE_WIDTH = 16
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN, STD = [0.48, 0.45, 0.40], [0.26, 0.25, 0.27]
# Contexts of the network that reads two.
IMAGE_SHAPE, TEXT_SHAPE = (5, 16), (3, 16)
# What a control net's configuration shares with its UNet's.
CONTROL_NET = (
    "in_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "cross_attention_dim", "attention_head_dim",
    "down_block_types", "class_embed_type",
)  # fmt: skip
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}


def save_tokenizer(folder):
    folder.mkdir()
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_TOKENS, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save_text_encoder(folder, width, projected=False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=4,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=TEXT_TOKENS,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).save_pretrained(folder)


def save_unet(folder, **changes):
    torch.manual_seed(1)
    UNet2DConditionModel(
        **{
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
        }
        | changes
    ).save_pretrained(folder)


def vae(**changes):
    return AutoencoderKL(
        **{
            "block_out_channels": (8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "norm_num_groups": 4,
            "latent_channels": 4,
            "sample_size": SIZE,
        }
        | changes
    )


def save_vae(folder, **changes):
    torch.manual_seed(2)
    vae(scaling_factor=0.7, **changes).save_pretrained(folder)


def save_control_net(folder, unet_folder, seed=0, without_hints=False, **changes):
    """Write a control net of a UNet whose zero convolutions are random, as after a training."""
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(unet_folder)
    config = {name: value for name, value in unet.config.items() if name in CONTROL_NET}
    hints = {"conditioning_embedding_out_channels": (4, 8), "conditioning_channels": 3}
    network = ControlNetModel(**config | hints | changes)
    for name, each in network.named_parameters():
        if not each.any() and name.endswith("weight"):
            torch.nn.init.normal_(each, std=0.3)
    if without_hints:
        network.controlnet_cond_embedding = torch.nn.Identity()
    network.save_pretrained(folder)
    return folder


def save_t2i_adapter(folder, seed=0, channels=(16, 32)):
    """Write a light T2I-adapter for the tiny UNets."""
    from diffusers import T2IAdapter

    torch.manual_seed(seed)
    T2IAdapter(3, list(channels), num_res_blocks=1, downscale_factor=2, adapter_type="light_adapter").save_pretrained(
        folder
    )
    return folder


def save_generator(kind, folder):
    """Write a tiny generator in diffusers' layout: "sd", "depth", "sdxl", "unclip", "variations" or "kandinsky"."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    index = {}
    PNDMScheduler(**BETAS, skip_prk_steps=True).save_pretrained(folder / "scheduler")
    if kind != "kandinsky":
        save_vae(folder / "vae", force_upcast=kind == "sdxl")
    if kind in ("sd", "depth", "sdxl", "unclip"):
        save_tokenizer(folder / "tokenizer")
        save_text_encoder(folder / "text_encoder", 6 if kind == "sdxl" else 16)
    if kind == "sd":
        save_unet(folder / "unet")
    elif kind == "depth":
        save_unet(folder / "unet", in_channels=5)
        index = {"_class_name": "StableDiffusionDepth2ImgPipeline"}
    elif kind == "variations":
        save_unet(folder / "unet", cross_attention_dim=EMBED_DIM)
        save_vision_model(folder / "image_encoder")
        index = {"_class_name": "StableDiffusionImageVariationPipeline"}
    elif kind == "sdxl":
        save_tokenizer(folder / "tokenizer_2")
        save_text_encoder(folder / "text_encoder_2", 10, projected=True)
        save_unet(
            folder / "unet",
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 10,
        )
        index = {"force_zeros_for_empty_prompt": True}
    elif kind == "unclip":
        save_unet(folder / "unet", class_embed_type="projection", projection_class_embeddings_input_dim=2 * EMBED_DIM)
        normalizer = StableUnCLIPImageNormalizer(EMBED_DIM)
        normalizer.mean.data.normal_()
        normalizer.std.data.uniform_(0.5, 2)
        normalizer.save_pretrained(folder / "image_normalizer")
        DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "image_noising_scheduler")
    else:
        save_unet(
            folder / "unet",
            out_channels=8,
            addition_embed_type="image",
            encoder_hid_dim_type="image_proj",
            encoder_hid_dim=EMBED_DIM,
        )
        VQModel(
            block_out_channels=(32, 32),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            norm_type="spatial",
            latent_channels=4,
            vq_embed_dim=4,
            num_vq_embeddings=12,
        ).save_pretrained(folder / "movq")
        DDPMScheduler(
            beta_schedule="linear", beta_start=0.00085, beta_end=0.012, variance_type="learned_range",
            clip_sample=False,
        ).save_pretrained(folder / "scheduler")  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def save_dual_context(folder):
    """Write a tiny generator under two contexts in the toolkit's own layout."""
    from diffusers import DDIMScheduler

    from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
    from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
    from stages.networks.dual_context_unet import DualContextUNet2DConditionModel

    torch.manual_seed(0)
    DualContextImg2ImgPipeline(
        vae=vae(scaling_factor=0.7),
        unet=DualContextUNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=16,
            attention_head_dim=2,
            image_context_tokens=IMAGE_SHAPE[0],
            text_context_tokens=TEXT_SHAPE[0],
        ),
        scheduler=DDIMScheduler(**BETAS, set_alpha_to_one=False, clip_sample=False),
        unconditional_contexts=UnconditionalContexts.from_contexts(torch.randn(IMAGE_SHAPE), torch.randn(TEXT_SHAPE)),
        guidance_scale=3.0,
    ).save_pretrained(folder)
    return folder


def adapter_state():
    """An IP-Adapter for the tiny UNets, name -> tensor."""
    random = torch.Generator().manual_seed(3)
    shapes = {"proj.weight": (4 * 16, EMBED_DIM), "proj.bias": (4 * 16,), "norm.weight": (16,), "norm.bias": (16,)}
    shapes = {f"image_proj.{name}": shape for name, shape in shapes.items()}
    # Down, up, middle: the layers in the UNet's order; of each pair the second is cross-attention.
    for number, width in ((1, 16), (3, 16), (5, 16), (7, 32)):
        shapes |= {f"ip_adapter.{number}.to_{matrix}_ip.weight": (width, 16) for matrix in "kv"}
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


def adapter_plus_state(embed_dim=16, n_tokens=3, hidden=8, n_heads=2):
    """An IP-Adapter-Plus for the tiny UNets by the names of the published files, name -> tensor."""
    from stages.networks.ip_resampler import resampler_tensors

    random = torch.Generator().manual_seed(4)
    shapes = {
        f"image_proj.{name}": each.shape
        for name, each in resampler_tensors(n_tokens, 16, hidden, embed_dim, n_heads).items()
    }
    shapes |= {name: each.shape for name, each in adapter_state().items() if name.startswith("ip_adapter.")}
    return {name: 0.5 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def save_adapter_plus(folder, **changes):
    """Write that adapter into a folder."""
    folder.mkdir(parents=True)
    save_file(adapter_plus_state(**changes), folder / "ip-adapter-plus.safetensors")
    return folder


def versatile_diffusion_parts(folder):
    """Parts of the classes it was published with; the tokenizer's files are written into `folder`."""
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(0)
    letters = [*"abc", *(letter + "</w>" for letter in "abc"), START, END]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END, "model_max_length": 7})
    )
    shared = dict(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=VERSATILE_WIDTH,
    )
    return dict(
        tokenizer=CLIPTokenizer.from_pretrained(folder),
        # Floats in 0..1 are what diffusers' pipeline gives it, and no release may divide them by 255 here.
        image_feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": 8}, crop_size=8, image_mean=MEAN, image_std=STD, do_rescale=False
        ),
        # As published, the configuration has a number of the end token that is not the tokenizer's.
        text_encoder=CLIPTextModelWithProjection(
            CLIPTextConfig(
                **dict(vocab_size=len(letters), hidden_size=12, intermediate_size=20, num_attention_heads=2),
                **dict(num_hidden_layers=2, max_position_embeddings=TEXT_TOKENS, projection_dim=VERSATILE_WIDTH),
                **dict(bos_token_id=0, eos_token_id=2, pad_token_id=1),
            )
        ),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                **dict(hidden_size=12, intermediate_size=20, num_attention_heads=2, num_hidden_layers=2),
                **dict(image_size=8, patch_size=4, projection_dim=VERSATILE_WIDTH),
            )
        ),
        image_unet=UNet2DConditionModel(
            **shared,
            attention_head_dim=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        text_unet=UNetFlatConditionModel(
            **shared,
            attention_head_dim=2,
            in_channels=(VERSATILE_WIDTH, 1, 1),
            out_channels=(VERSATILE_WIDTH, 1, 1),
            down_block_types=("CrossAttnDownBlockFlat", "DownBlockFlat"),
            up_block_types=("UpBlockFlat", "CrossAttnUpBlockFlat"),
        ),
        vae=vae(),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
    )


def save_versatile_diffusion(folder, parts=None):
    """Write the folder as diffusers' own deprecated pipeline writes it."""
    from diffusers.pipelines.deprecated.versatile_diffusion import VersatileDiffusionPipeline

    parts = parts or versatile_diffusion_parts(folder.with_name(f"{folder.name}-tokenizer"))
    VersatileDiffusionPipeline(**parts).save_pretrained(folder)
    return folder


def save_prior(folder):
    """Write as much of Kandinsky's prior as guidance needs: its vision model."""
    save_vision_model(folder / "image_encoder")
    return folder


def save_vision_model(folder):
    """Write a vision model of transformers, whose pooled embeddings have `EMBED_DIM` values."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        projection_dim=EMBED_DIM,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)


def save_open_clip(folder, embed_dim=EMBED_DIM, layers=1):
    """Write a model of two patches by two, with the tokenizer that open_clip has built in."""
    import open_clip

    torch.manual_seed(0)
    vision = {"image_size": 8, "patch_size": 4, "layers": layers, "width": 16, "head_width": 8}
    text = {"context_length": TEXT_TOKENS, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
    model = open_clip.CLIP(embed_dim, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**text))
    folder.mkdir(parents=True)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    config = {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text}
    config = {"model_cfg": config, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def save_resnet(folder):
    """Write a small network of ResNet-50's kind under torchvision's names, with ImageNet's classes."""
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(6)
    folder.mkdir(parents=True)
    save_file(
        ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=4).state_dict(), folder / "resnet50-0676ba61.safetensors"
    )
    return folder


def save_dpt(folder, whole=False):
    """Write a tiny network of depth as Intel/dpt-large is published; `whole` writes what nothing reads, too."""
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(5)
    config = DPTConfig(
        **dict(hidden_size=8, num_hidden_layers=6, num_attention_heads=2, intermediate_size=12, image_size=32),
        **dict(patch_size=8, backbone_out_indices=[0, 2, 3, 5], neck_hidden_sizes=[4, 4, 6, 6], fusion_hidden_size=4),
    )
    network = DPTForDepthEstimation(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    # Above 0 for any picture, so that the last rectifier does not make all depths equal.
    torch.nn.init.constant_(network.head.head[4].bias, 5.0)
    network.save_pretrained(folder)
    if not whole:
        tensors = load_file(folder / "model.safetensors")
        kept = {name: one for name, one in tensors.items() if "fusion_stage.layers.0.residual_layer1" not in name}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    preparation = {
        "image_processor_type": "DPTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.4, 0.5, 0.6], "do_resize": True, "do_rescale": True,
        "do_normalize": True, "ensure_multiple_of": 1, "keep_aspect_ratio": False, "rescale_factor": 1 / 255,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    return folder


def save_place_teacher(folder):
    """Write a tiny network of places as it is published: the whole state of a training; returns its network's state."""
    from stages.networks.convnext_maps import ConvNeXtMaps

    torch.manual_seed(4)
    depths, widths, projected = (1, 1, 2, 1), (8, 8, 12, 16), (16, 16, 512)
    network = ConvNeXtMaps(depths, widths, projected)
    stored = {f"module.{published_place_name(name)}": value for name, value in network.state_dict().items()}
    more = {"module.projector.0.weight": torch.ones(2), "module.classifier.bias": torch.ones(3)}
    folder.mkdir(parents=True, exist_ok=True)
    training = {"epoch": 7, "model": stored | more, "optimizer": {"state": {0: {"step": 5}}}}
    (file,) = store.checkpoints()["vicregl-convnext-xl"].files
    torch.save(training, folder / file.path)
    return network


def convert_place_teacher(folder):
    """Write a tiny network of places into `folder` as it lies there once it is pulled; returns the network."""
    (file,) = store.checkpoints()["vicregl-convnext-xl"].files
    network = save_place_teacher(folder.with_name("origin of places"))
    folder.mkdir()
    published = folder.with_name("origin of places") / file.path
    convert(published, folder / file.converted, keeps=file.keeps, entry=file.entry)
    config = {"depths": [1, 1, 2, 1], "widths": [8, 8, 12, 16], "projected": [16, 16, 512]}
    (folder / "config.json").write_text(json.dumps(config))
    return network


def published_place_name(name):
    """The published name of a tensor of a network of places."""
    part, _, rest = name.partition(".")
    if part != "features":
        return name if part == "maps_projector" else f"backbone.{name}"
    place, _, rest = rest.partition(".")
    if int(place) % 2 == 0:
        return f"backbone.downsample_layers.{int(place) // 2}.{rest}"
    block, _, number, kind = rest.split(".")
    layer = {"0": "dwconv", "2": "norm", "3": "pwconv1", "5": "pwconv2"}[number]
    return f"backbone.stages.{int(place) // 2}.{block}.{layer}.{kind}"


def save_deeplab(folder, numbers=(1, 1, 1, 1), n_classes=3):
    """Write a DeepLabV3 of few blocks, as torchvision's file has it."""
    from stages.networks.deeplab import built

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    network = built(numbers, n_classes)
    # The first class, background, would be as likely everywhere.
    torch.nn.init.normal_(network.classifier[4].weight, std=1.0)
    torch.save(network.state_dict(), folder / "deeplab.pth")
    return folder
