"""Every system, small: settings, embedded weights, and checkpoints to be made at random in their published layouts."""

from brainrecon.cli.main import run_command
from brainrecon.runs.config import assign

FEW_STEPS = ("generator.num_inference_steps=4",)
RANDOM = (*FEW_STEPS, "checkpoints.vdvae=tiny-vdvae")


class Small:
    """How a system is made small.

    Attributes
    ----------
    settings : tuple of str
        As ``--set`` takes them.
    weights : str or None
        As ``--weights`` takes it.
    checkpoints : tuple of str
        Those that are made at random.
    embed_dim : int, optional
        Values of the random CLIP's embeddings, if they are not as many as elsewhere.
    """

    def __init__(self, *settings, weights=None, checkpoints=(), embed_dim=None):
        self.settings, self.weights, self.checkpoints, self.embed_dim = settings, weights, checkpoints, embed_dim

    def nested(self):
        """The settings as a nested dictionary."""
        values = {}
        for text in self.settings:
            assign(values, text)
        return values


SMALL = {
    "brain-diffuser": Small(*FEW_STEPS, weights="tiny"),
    "brain-diffuser-sd": Small(
        *RANDOM, checkpoints=("stable-diffusion-1-5", "ip-adapter-sd15", "clip-vit-h-14-laion2b")
    ),
    "brain-diffuser-sdxl": Small(
        *RANDOM, checkpoints=("stable-diffusion-xl-base", "ip-adapter-sdxl-vit-h", "clip-vit-h-14-laion2b")
    ),
    "brain-diffuser-unclip": Small(
        *RANDOM,
        "checkpoints.clip=clip-vit-l-14-openclip",
        checkpoints=("stable-unclip-small", "clip-vit-l-14-openclip"),
    ),
    "brain-diffuser-kandinsky": Small(
        *RANDOM, checkpoints=("kandinsky-2-2-decoder", "kandinsky-2-2-prior", "clip-vit-bigg-14-laion2b")
    ),
    "dbdm2023": Small(*FEW_STEPS, weights="tiny"),
    "takagi2023": Small(*FEW_STEPS, weights="tiny"),
    "takagi2023-text": Small(
        *FEW_STEPS,
        "latent_size=12",
        "caption_roi=early + ventral",
        "caption.size=32",
        "checkpoints.captioner=blip-image-captioning-base",
        "checkpoints.tokenizer=blip-image-captioning-base",
        checkpoints=("stable-diffusion-1-4", "blip-image-captioning-base"),
    ),
    "takagi2023-gan": Small(
        *FEW_STEPS,
        "search.steps=3",
        *("layers_roi=early + ventral", "caption_roi=early + ventral", "caption.size=32"),
        *(f"checkpoints.{role}=blip-image-captioning-base" for role in ("captioner", "tokenizer")),
        checkpoints=("stable-diffusion-1-4", "blip-image-captioning-base", "vgg19-caffe", "deepsim-fc7"),
    ),
    "takagi2023-depth": Small(
        *FEW_STEPS,
        "search.steps=3",
        *(f"{which}_roi=early + ventral" for which in ("layers", "caption", "levels")),
        "caption.size=32",
        *(f"checkpoints.{role}=blip-image-captioning-base" for role in ("captioner", "tokenizer")),
        checkpoints=(
            *("stable-diffusion-2-depth", "blip-image-captioning-base"),
            *("vgg19-caffe", "deepsim-fc7", "dpt-large"),
        ),
    ),
    "minddiffuser2023": Small(
        *FEW_STEPS, "search.iterations=3", "blocks=[1, 2]", "search.multipliers=[1.5, 1.2]", weights="tiny"
    ),
    "ferrante2022": Small(*FEW_STEPS, weights="tiny"),
    "ferrante2023-alignment": Small(*FEW_STEPS, weights="tiny"),
    "unibrain2023": Small(
        *FEW_STEPS,
        *("latent_size=16", "clip_pictures=direct", "caption.num_inference_steps=4"),
        "checkpoints.clip=clip-vit-l-14-openclip",
        checkpoints=("versatile-diffusion", "clip-vit-l-14-openclip"),
        # Of the random Versatile Diffusion's contexts.
        embed_dim=16,
    ),
    "mindvis2023": Small(
        *("pretraining.epochs=1", "pretraining.warmup_epochs=0", "pretraining.width=32", "pretraining.depth=1"),
        *("decoder.epochs=1", "decoder.steps_per_epoch=1", "decoder.n_tokens=4", "decoder.cropped=0.5"),
        "generator.num_inference_steps=2",
        weights="tiny",
    ),
    "cmvdm2024": Small(
        *("pretraining.epochs=1", "pretraining.warmup_epochs=0", "pretraining.width=32", "pretraining.depth=1"),
        *(f"{table}.epochs=1" for table in ("decoder", "alignment", "structure", "control")),
        *(f"{table}.steps_per_epoch=1" for table in ("decoder", "alignment", "structure", "control")),
        *("decoder.n_tokens=4", "alignment.n_tokens=4", "generator.num_inference_steps=2"),
        weights="tiny",
    ),
    "mindldm2024": Small(
        *FEW_STEPS,
        *("pretraining.epochs=2", "pretraining.warmup_epochs=1", "pretraining.width=32", "pretraining.depth=1"),
        *("alignment.epochs=2", "alignment.batch_size=8"),
        weights="tiny",
    ),
    "neurovis2024": Small(*FEW_STEPS, "semantic_roi=ventral", "perceptual_roi=early", weights="tiny"),
    "mindart2024": Small(
        *FEW_STEPS,
        *("latent_size=12", 'regions=["early", "ventral"]', "voxels=standardised", "writing.max_length=6"),
        *("matching.epochs=2", "matching.batch_size=8", "matching.depth=1", "matching.n_heads=2"),
        *("matching.hidden=8", "matching.graph_heads=2", "matching.n_rounds=1", "matching.n_iterations=10"),
        *("captions.epochs=2", "captions.batch_size=4", "captions.depth=1", "captions.n_heads=2", "captions.factor=4"),
        checkpoints=("stable-diffusion-1-4", "clip-vit-b-16-openai", "clip-vit-b-32-openai", "gpt2"),
    ),
    "mindeye2023": Small(
        *FEW_STEPS,
        "prior_evaluations=3",
        *("decoder.epochs=2", "decoder.batch_size=4", "decoder.hidden=64", "decoder.changes=published"),
        *("latent.epochs=2", "latent.batch_size=4"),
        weights="tiny",
    ),
    "mindbridge2024": Small(
        "generator.num_inference_steps=2",
        *("decoder.epochs=1", "decoder.batch_size=8", "decoder.batch_size_each=4", "decoder.compared_each=4"),
        *("decoder.length=24", "decoder.hidden=16", "decoder.n_blocks=1", "decoder.bottleneck=4"),
        # A pattern that is given by itself is one trial.
        "averages=responses",
        weights="tiny",
    ),
    "sttm2024": Small(
        *FEW_STEPS,
        *("prior_evaluations=2", "decoder.epochs=2", "decoder.batch_size=8", "decoder.batch_size_each=4"),
        *("decoder.hidden=32", "decoder.narrow=8", "decoder.between=32", "decoder.projected=32"),
        *(
            "decoder.prior_depth=1",
            "decoder.prior_heads=2",
            "decoder.prior_feed_forward=32",
            "decoder.channels=[32, 32]",
        ),
        weights="tiny",
    ),
    "mindtuner2024": Small(
        *("generator.num_inference_steps=4", "redrawing.num_inference_steps=4", "prior_evaluations=2"),
        *("decoder.epochs=1", "decoder.batch_size=4", "decoder.hidden=32", "decoder.batch_size_each=2"),
        *("decoder.prior_depth=1", "decoder.prior_heads=2", "decoder.rank=2"),
        # A pattern that is given by itself is one trial.
        "averages=responses",
        weights="tiny",
    ),
    "mindformer2024": Small(
        "generator.num_inference_steps=2",
        *("decoder.epochs=1", "decoder.batch_size=4", "decoder.batch_size_each=4"),
        *("decoder.depth=1", "decoder.n_heads=2", "decoder.feed_forward=16"),
        weights="tiny",
    ),
    "psychometry2024": Small(
        *("generator.num_inference_steps=2", "candidates=1"),
        *('regions=["early", "ventral"]', "memory.neighbours=2"),
        *("decoder.epochs=2", "decoder.batch_size=4", "decoder.batch_size_each=2"),
        *("decoder.width=16", "decoder.depth=1", "decoder.n_heads=2", "decoder.n_experts=2"),
        weights="tiny",
    ),
    "mindshot2024": Small(
        *FEW_STEPS,
        *("decoder.epochs=2", "decoder.pretraining_epochs=2", "decoder.batch_size=4", "decoder.batch_size_each=2"),
        *("decoder.hidden=16", "decoder.n_blocks=1", "distillation.n_clusters=4"),
        weights="tiny",
    ),
    "neuraldiffuser2024": Small(
        *("generator.num_inference_steps=6", "prior_evaluations=2", "blocks=[2]", "guidance.multipliers=[1.0]"),
        *(f"{table}.{name}" for table in ("decoder", "latent") for name in ("epochs=1", "batch_size=4", "hidden=16")),
        *("decoder.prior_depth=1", "decoder.prior_heads=2", "decoder.prior_head_width=4"),
        *("latent.batch_size_each=4", "latent.n_blocks=1", "latent.map_channels=8"),
        weights="tiny",
    ),
    "brainstreams2024": Small(
        *FEW_STEPS,
        "estimator=network",
        *(f"{table}.{size}" for table in ("decoder", "layout") for size in ("epochs=2", "hidden=16", "n_blocks=1")),
        *("decoder.batch_size=8", "decoder.projected=8", "decoder.validation=0.1", "layout.batch_size=8"),
        *("layout.validation=0.1", "layout.channels=[32, 32]"),
        weights="tiny",
    ),
    "mindeye2-2024": Small(
        *("generator.num_inference_steps=4", "redrawing.num_inference_steps=4", "prior_evaluations=2"),
        *("decoder.epochs=2", "decoder.batch_size=4", "decoder.hidden=32"),
        *("decoder.prior_depth=1", "decoder.prior_heads=2", "caption.max_length=8"),
        # A pattern that is given by itself is one trial.
        "averages=responses",
        weights="tiny",
    ),
    "neuropictor2024": Small(
        *FEW_STEPS,
        *("decoder.epochs=1", "decoder.pretraining_epochs=1", "decoder.emptied_epochs=1"),
        *("decoder.pretraining_emptied_epochs=1", "decoder.batch_size=4", "decoder.batch_size_each=4"),
        # Before a new subject, what is learned from several is what a run of several is.
        "decoder.pretraining_text_weight=1.0",
        *("decoder.size=16", "decoder.patch_size=8", "decoder.width=16", "decoder.depth=1", "decoder.n_heads=2"),
        weights="tiny",
    ),
    "lea2024": Small(
        *FEW_STEPS,
        *("decoder.steps=6", "decoder.warmup=2", "decoder.batch_size=4", "decoder.latent_weight=0"),
        *("decoder.latent=24", "decoder.width=16", "decoder.n_heads=2", "decoder.depth=1", "decoder.decoder_width=16"),
        weights="tiny",
    ),
    "vqfmri2023": Small(*FEW_STEPS, "decoder.epochs=3", "decoder.hidden=16", "decoder.width=8", weights="tiny"),
    "horikawa2017": Small("units=12", 'regions=["early", "ventral"]', weights="tiny"),
    "icgan2022": Small("inversion.noise_steps=2", "inversion.dense_steps=2", weights="tiny"),
    "vanrullen2019-faces": Small(weights="tiny"),
    "miyawaki2008": Small("decoder.model=omp"),
    "shen2019-dir": Small(
        *("search.steps=3", 'layers=["conv2_2", "conv4_4", "fc7"]', "decoder.voxels=20"),
        checkpoints=("vgg19-caffe", "deepsim-fc7"),
    ),
    "shen2019-gan": Small("training.iterations=12", "training.validate_every=6", weights="tiny"),
    "mean-image": Small(),
    "nearest-training-picture": Small(),
    "nearest-training-caption": Small(),
    "most-frequent-caption": Small(),
    "ridge-to-pixels": Small(),
    "noise": Small(),
}


def pull_random(name, folder, more=()):
    """Make the checkpoints of a small system, and `more`, at random below `folder`, and pull them into the store."""
    pull_checkpoints((*SMALL[name].checkpoints, *more), folder, SMALL[name].embed_dim)


def pull_checkpoints(names, folder, embed_dim=None):
    """Make published checkpoints at random below `folder`, and pull them into the store."""
    # Here and below, since who reads settings alone shall not wait for networks.
    import published_checkpoints
    import random_checkpoints

    for checkpoint in names:
        origin = folder / checkpoint
        published_checkpoints.write_published(checkpoint, origin, embed_dim or random_checkpoints.EMBED_DIM)
        if run_command(["weights", "pull", checkpoint, "--from", str(origin)]):
            raise AssertionError(f"{checkpoint} was not pulled")


def small_chain(name):
    """The chain of a small system, nothing of it fitted."""
    from chains import chain_of

    return chain_of(name, SMALL[name].nested(), SMALL[name].weights)
