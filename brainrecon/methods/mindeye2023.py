"""MindEye (Scotti et al., NeurIPS 2023): a residual MLP to CLIP tokens, a contrastive head, a diffusion prior, a blurry start.

A wide residual network makes rough CLIP tokens of a response. A projector makes of these the tokens for retrieval, trained by
contrast: mixed samples first, soft labels after. A prior that is trained with them turns rough tokens into likely ones, under
which Versatile Diffusion redraws a blurry picture, that a second network decodes through Stable Diffusion's autoencoder. Of
several such pictures the one is kept whose tokens are nearest to the retrieval tokens.

docs/systems/mindeye2023.md says what the scripts do, which of their slips are the defaults here, and what is done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.blurry_latent import LatentSettings, blurry_latent
from brainrecon.assembly.candidates import Candidates
from brainrecon.assembly.embedding_network import TokenSettings, embedding_network, prior_of
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.image_drawing import DRAWINGS, EMBEDDINGS
from brainrecon.assembly.likely_tokens import LikelyTokensSettings, likely_tokens, names_of_tokens
from brainrecon.assembly.nearest_pictures import NearestPictures
from brainrecon.assembly.registry import system
from brainrecon.assembly.settings import filled_in
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import System
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

ROUGH, RETRIEVAL, REFINED, LATENT = "clip_rough", "clip_retrieval", "clip_image", "sd_latent"
# Of a second network, by whose vector pictures of a folder are looked for.
QUERY_ROUGH, QUERY = "query_rough", "query_retrieval"
# Of the published training: 8,859 stimuli in batches of 32, and of 8.
_STEPS_PER_EPOCH, _LATENT_STEPS_PER_EPOCH = 276, 1107

NOTHING, PICTURES = "nothing", "nearest pictures"
DRAWS_WITH = (*DRAWINGS, PICTURES, NOTHING)
# What the scripts have of tokens, and of one vector.
_OF_THE_PRIOR = {
    "tokens": {"prior_depth": 6, "prior_weight": 30.0},
    "vector": {"prior_depth": 12, "prior_weight": 0.03},
}
_GUIDANCE = {"versatile-diffusion": 3.5, "image-variations": 7.5, "ip-adapter": 7.5}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; those that are not given are the ones that go with `draws_with`.

    Attributes
    ----------
    clip, generator : str, optional
    adapter : str, optional
        Of a generator that has one.
    autoencoder : str, optional
        Of the blurry picture.
    teacher : str, optional
        Of the blurry picture's training.
    prior : str, optional
        Weights that the prior's training begins from, if `decoder.prior_begins` is "published".
    """

    clip: str | None = None
    generator: str | None = None
    adapter: str | None = None
    autoencoder: str | None = None
    teacher: str | None = None
    prior: str | None = None


@dataclass(frozen=True)
class MindEye2023Settings(LikelyTokensSettings):
    """All settings of the method. Those that follow from others, if they are not given, are filled in.

    What makes an embedding likely is set as `brainrecon.assembly.likely_tokens.LikelyTokensSettings` says.

    Attributes
    ----------
    draws_with : {"versatile-diffusion", "image-variations", "ip-adapter", "nearest pictures", "nothing"}
        A generator; or pictures of a folder in place of drawn ones; or retrieval alone.
    embedding : {"tokens", "vector"}, optional
        What is decoded: that which the generator takes; tokens if there is none.
    prior : {"diffusion", "nearest", "none"}, optional
        With none, the rough embedding is held to the true one. Without a generator there is none, if it is not given; a folder's
        pictures are looked for with networks that were trained with a prior.
    bank : str
        May hold pictures and their embeddings.
    decoder : TokenSettings
    latent : LatentSettings
    blurry : bool
        Whether drawing starts from a decoded blurry picture; else from noise.
    latent_size : int, optional
        Side in pixels of the pictures whose latents are decoded; that of the autoencoder's configuration, if it is not given.
    prior_evaluations : int, optional
        Every step is 100 of tokens, 1,000 of a vector.
    candidates : int
        Pictures of which the best is kept. The scripts draw one unless they are told otherwise, the tables are of 16.
    start_pixels : {"for CLIP", "as they are"}
        The scripts encode the blurry picture after CLIP's normalisation.
    unconditional : {"zeros", "stored"}
        What guidance's unconditional half of Versatile Diffusion reads: zeros, as published, or what is stored with it.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    draws_with: str = "versatile-diffusion"
    embedding: str | None = None
    prior: str | None = None
    decoder: TokenSettings = field(default_factory=TokenSettings)
    latent: LatentSettings = field(default_factory=LatentSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=0.85,
            num_inference_steps=20,
            image_weight=1.0,
            text_weight=0.0,
            scheduler="unipc",
        )
    )
    blurry: bool = True
    latent_size: int | None = None
    candidates: int = 16
    start_pixels: str = "for CLIP"
    unconditional: str = "zeros"

    def __post_init__(self):
        rules = {
            "draws_with": OneOf(*DRAWS_WITH),
            "candidates": Number(1, whole=True),
            "start_pixels": OneOf("for CLIP", "as they are"),
            "unconditional": OneOf("zeros", "stored"),
        }
        check_all(self, rules)
        self._fill_in()
        check_all(self, {"embedding": OneOf(*EMBEDDINGS)})
        self._check_together()
        self.check_prior()

    @property
    def drawing(self):
        """How a generator draws, `brainrecon.assembly.image_drawing.ImageDrawing`; None if there is no generator."""
        return DRAWINGS.get(self.draws_with)

    @property
    def starts_blurry(self):
        """Whether a blurry picture is decoded."""
        return self.blurry and self.drawing is not None

    @property
    def reads_bank(self):
        """Whether anything reads the bank: the nearest embeddings, or pictures of a folder."""
        return super().reads_bank or self.draws_with == PICTURES

    @property
    def trains_vector_prior(self):
        """Whether the prior over one vector is trained; the pictures of a folder are looked for by a second network's vector."""
        return self.prior == "diffusion" and (self.embedding == "vector" or self.draws_with == PICTURES)

    def _fill_in(self):
        """Settle what follows from other settings."""
        way, settle = self.drawing, object.__setattr__
        if self.embedding is None:
            settle(self, "embedding", way.embedding if way else "tokens")
        if self.prior is None:
            settle(self, "prior", "none" if self.draws_with == NOTHING else "diffusion")
        begins = "published" if self.trains_vector_prior and self.draws_with != "ip-adapter" else "random"
        own = {"prior_begins": begins} | _OF_THE_PRIOR.get(self.embedding, {})
        settle(self, "decoder", filled_in(self.decoder, own))
        settle(self, "generator", filled_in(self.generator, {"guidance_scale": _GUIDANCE.get(self.draws_with)}))
        named = {"clip": way.clip if way else DRAWINGS["versatile-diffusion"].clip}
        if way:
            named |= {"generator": way.checkpoint, "adapter": way.adapter}
        if self.starts_blurry:
            named["autoencoder"] = "sd-image-variations-autoencoder"
            # What nothing is held against is not fetched.
            named |= {"teacher": "vicregl-convnext-xl"} if self.latent.teacher else {}
        if self.decoder.prior_begins == "published":
            named["prior"] = "conditioned-prior"
        settle(self, "checkpoints", filled_in(self.checkpoints, named))

    def _check_together(self):
        """Refuse settings that do not go together."""
        if self.drawing and self.embedding != self.drawing.embedding:
            raise InputError(
                f"embedding is {self.embedding!r} but {self.draws_with} draws from {self.drawing.embedding!r}; leave embedding "
                "out, or choose another generator with --set draws_with=NAME."
            )
        if self.prior == "nearest" and not self.drawing:
            raise InputError(
                f"prior is 'nearest' but draws_with is {self.draws_with!r}, which draws from no embedding; leave prior out, or "
                "name a generator with --set draws_with=NAME."
            )
        if self.draws_with == PICTURES and (self.embedding != "tokens" or not self.bank):
            raise InputError(
                f"draws_with is {PICTURES!r} with embedding {self.embedding!r} and bank {self.bank!r}; expected tokens and a "
                "folder of pictures: pass --set bank=FOLDER."
            )
        if self.decoder.prior_begins == "published" and not self.trains_vector_prior:
            raise InputError(
                f"decoder.prior_begins is 'published' but no prior of a vector is trained with prior {self.prior!r} and "
                f"{self.draws_with}; pass --set decoder.prior_begins=random."
            )


@system
class MindEye2023(System):
    """The method of one subject at its published settings."""

    name = "mindeye2023"
    explanation = (
        "the full method: a decoded blurry picture, redrawn under refined CLIP tokens, the best of the candidates"
    )
    citation = (
        "Scotti, P. S. et al. (2023). Reconstructing the mind's eye: fMRI-to-image with contrastive learning and diffusion "
        "priors. NeurIPS 36."
    )
    settings_class = MindEye2023Settings
    evidence = Evidence(
        "networks, losses, priors and training equal the published formulas and packages on random "
        "weights; released files not read",
        ("simulated NSD",),
        ("MindEye",),
    )
    protocol = "mindeye-2023"
    image_embedding = RETRIEVAL
    # Published scores of retrieval are the projector's, not those of the prior's samples.
    compared_by = {REFINED: RETRIEVAL}
    of_drawing = (*System.of_drawing, "candidates", "prior_evaluations", "start_pixels", "unconditional")
    tiny = {
        "checkpoints": {"clip": "tiny-clip", "generator": "tiny-generator", "autoencoder": "tiny-generator"},
        "candidates": 2,
        "prior_evaluations": 20,
        "start_pixels": "as they are",
        "unconditional": "stored",
        "decoder": {
            "prior_begins": "random",
            "epochs": 60,
            "hidden": 1024,
            "n_blocks": 2,
            "projected": 256,
            "prior_depth": 2,
            "prior_heads": 4,
            "prior_head_width": 32,
            "learning_rate": 1e-3,
            # Where a thing is and what colour it has is much of what a drawn picture means, and its captions say both: tokens
            # of mirrored or recoloured pictures would teach other things than were seen.
            "changes": "none",
        },
        "latent": {
            "epochs": 40,
            "batch_size": 32,
            "hidden": 256,
            "n_blocks": 2,
            "map_channels": 32,
            "channels": [32, 32, 64],
            "learning_rate": 1e-3,
            # It has no embedded twin.
            "teacher": False,
        },
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        if self.settings.draws_with == NOTHING:
            self.output, self.explanation = RETRIEVAL, "retrieval alone: an embedding that is trained by contrast"
        elif self.settings.draws_with == PICTURES:
            self.explanation = "a picture of a folder: near by a decoded vector, and the best by decoded tokens"

    @property
    def notes(self):
        settings = self.settings
        own = [] if settings.prior == "diffusion" or not settings.drawing else [f"prior {settings.prior}"]
        own += ["Stable Diffusion and an IP-Adapter"] if settings.draws_with == "ip-adapter" else []
        return (f"A variant that nobody published: {' and '.join(own)}.",) if own else ()

    def settled(self, train):
        settings = self.settings
        latent = settings.latent.settled(train) if settings.starts_blurry else settings.latent
        return replace(settings, decoder=settings.decoder.settled(train), latent=latent)

    def steps(self, machine):
        settings, way = self.settings, self.settings.drawing
        own, source = settings.decoder, self.target(EMBEDDINGS[settings.embedding], "clip", machine)
        begin = self._begin if own.prior_begins == "published" else None

        def network(names, source, kind, own, part, released=None):
            prior = kind if settings.prior == "diffusion" else "none"
            began = begin if prior == "vector" else None
            named = names_of_tokens(settings, names, read=way is not None)
            return embedding_network(
                named, source, own, prior, _STEPS_PER_EPOCH, machine, part, began, self._changes(named), released
            )

        # What the authors released is of tokens with a prior.
        published = settings.embedding == "tokens" and settings.prior == "diffusion"
        released = _released(_with_checked_noise, "voxel2clip.lin0.0.weight") if published else None
        learned = network((ROUGH, RETRIEVAL), source, settings.embedding, own, "tokens", released)
        if settings.draws_with == NOTHING:
            return [learned]
        if settings.draws_with == PICTURES:
            vector = self.target(EMBEDDINGS["vector"], "clip", machine)
            # As published, of which the vector's prior is twice as deep.
            own = replace(own, prior_depth=2 * own.prior_depth, prior_weight=_OF_THE_PRIOR["vector"]["prior_weight"])
            query = network((QUERY_ROUGH, QUERY), vector, "vector", own, "vector")
            found = NearestPictures(QUERY, RETRIEVAL, source, settings.bank, settings.candidates)
            return [learned, query, found]
        start, unit_token = "first_picture" if settings.starts_blurry else None, settings.embedding == "tokens"
        likely = likely_tokens(settings, learned, prior_of, (ROUGH, RETRIEVAL), REFINED, source, unit_token)
        draw = way.step(REFINED, source, self.folder, settings.generator, machine, start, self._arguments)
        # What candidates differ by lies behind what is the same for all of them.
        before, inside = ([likely], [draw]) if likely.is_learned else ([], [likely, draw])
        before = [learned, *(self._blurry(machine) if start else ()), *before]
        if settings.candidates == 1:
            return [*before, *inside]
        return [*before, Candidates(inside, settings.candidates, source, RETRIEVAL)]

    def _begin(self, network):
        from stages.networks.vector_prior import begin_from_texts
        from weights import store

        begin_from_texts(network.net, self.folder("prior"))
        return store.fingerprint(self.settings.checkpoints.prior)

    def _changes(self, names):
        """How pictures are changed before CLIP sees them in training, by value."""
        from stages.training.picture_changes import PictureChanges

        own = self.settings.decoder
        # The values of a network are held to one target: to the same pictures, which are encoded once.
        return {} if own.changes == "none" else dict.fromkeys(names, PictureChanges(seed=own.seed))

    def _blurry(self, machine):
        """The steps from patterns to a blurry picture."""
        from stages.checkpoints.attention_names import with_todays_attention_names

        own, size = self.settings.latent, self.settings.latent_size
        latent = self.target(
            "stages.targets.autoencoder_latents:AutoencoderLatents",
            "autoencoder",
            machine,
            size=size,
            interpolation="bilinear",
        )
        places = None
        if own.teacher:
            place, sees = (
                "stages.targets.place_features:PlaceFeatures",
                {"size": own.teacher_size, "std": own.teacher_std},
            )
            places = replace(self.target(place, "teacher", machine, **sees), dtype=own.features)
        released = _released(with_todays_attention_names, "lin0.0.weight")
        learned = blurry_latent(LATENT, latent, own, _LATENT_STEPS_PER_EPOCH, machine, "latent", places, released)
        return [learned, Show(LATENT, latent)]

    def _arguments(self):
        from stages.generators.diffusion.start_rule import StartRule

        settings = self.settings
        start = {"start": StartRule(posterior="sample", pixels=settings.start_pixels)}
        own = {"unconditional": settings.unconditional} if settings.draws_with == "versatile-diffusion" else {}
        return start | own


def _released(tensors, voxels):
    """How a file of the authors is read; `tensors` gives those of the network."""
    from stages.decoders.released import Released

    return Released(voxels, tensors)


def _with_checked_noise(tensors):
    """Tensors of the authors' first file without the tables of its noise process, which have to be ours."""
    from stages.priors.noise_process import NoiseProcess
    from stages.priors.published_noise import without_noise_tables

    return without_noise_tables(tensors, NoiseProcess())
