"""Lines that the help of each verb ends with. They work as they stand, in this order, if the data are there."""

EXAMPLES = {
    "": (
        "brainrecon demo",
        "brainrecon data template my-study",
        "brainrecon run ridge-to-pixels arrays:my-study --out runs/first",
    ),
    "demo": (
        "brainrecon demo",
        "brainrecon demo --out small --sessions 2 --shared 20 --voxels 300",
    ),
    "simulate": (
        "brainrecon simulate nsd --sessions 2 --voxels 300",
        "brainrecon simulate checkers --study miyawaki",
    ),
    "data": (
        "brainrecon data template my-study",
        "brainrecon data info arrays:my-study",
    ),
    "data info": (
        "brainrecon data info arrays:my-study",
        "brainrecon data info nsd:/data/nsd --subject subj01 --roi 'V1 + V2'",
    ),
    "data files": (
        "brainrecon data files nsd --subject subj01",
        "brainrecon data files nsd:/data/nsd --subject subj01 --betas b2",
    ),
    "data download": (
        "brainrecon data download nsd:/data/nsd --subject subj01",
        "brainrecon data download nsd:/data/nsd --subject subj01 --agree",
    ),
    "data prepare": ("brainrecon data prepare nsd:/data/nsd --subject subj01 --out subj01",),
    "data pictures": (
        "brainrecon data pictures nsd:/data/nsd --out shown",
        "brainrecon data pictures arrays:my-study --out shown.npy",
    ),
    "data template": ("brainrecon data template my-study",),
    "features": (
        "brainrecon features nsd:/data/nsd --targets clip_image",
        "brainrecon features nsd:/data/nsd --weights tiny --targets vdvae --export latents.npz",
    ),
    "pretrain": (
        "brainrecon pretrain nsd:/data/nsd --subjects subj02,subj05 --out encoder --plan",
        "brainrecon pretrain responses --set epochs=100 --set warmup_epochs=8 --out encoder",
    ),
    "fit": (
        "brainrecon fit ridge-to-pixels arrays:my-study --out runs/first",
        "brainrecon fit brain-diffuser nsd:/data/nsd --weights tiny --out runs/subj01 --subject subj01",
    ),
    "predict": (
        "brainrecon predict runs/subj01 --out predicted.npz",
        "brainrecon predict runs/subj01 --betas patterns.npy --out predicted.safetensors",
    ),
    "reconstruct": (
        "brainrecon reconstruct runs/subj01",
        "brainrecon reconstruct runs/subj01 --betas patterns.npy --out drawn",
    ),
    "evaluate": (
        "brainrecon evaluate runs/subj01 --controls essential",
        "brainrecon evaluate --images drawn-elsewhere --truth nsd:/data/nsd --out elsewhere",
        "brainrecon evaluate --captions said.json --truth nsd:/data/nsd --out elsewhere",
    ),
    "report": ("brainrecon report runs/subj01 --all-pictures",),
    "run": (
        "brainrecon run ridge-to-pixels arrays:my-study --out runs/first",
        "brainrecon run brain-diffuser nsd:/data/nsd --weights tiny --out runs/subj01 --plan",
    ),
    "benchmark": (
        "brainrecon benchmark arrays:my-study --methods ridge-to-pixels,mean-image --out bench",
        "brainrecon benchmark --out bench",
    ),
    "trace": ("brainrecon trace runs/subj01 nsd00042",),
    "map": ("brainrecon map runs/subj01 --columns vdvae:0",),
    "methods": (
        "brainrecon methods",
        "brainrecon methods brain-diffuser --weights tiny",
    ),
    "weights": (
        "brainrecon weights list",
        "brainrecon weights pull --for brain-diffuser",
    ),
    "weights list": ("brainrecon weights list --for brain-diffuser",),
    "weights pull": (
        "brainrecon weights pull --for brain-diffuser",
        "brainrecon weights pull clip-vit-l-14-quickgelu --from copied",
    ),
    "weights verify": ("brainrecon weights verify",),
    "weights path": ("brainrecon weights path tiny-vdvae",),
    "doctor": ("brainrecon doctor",),
}
"""Verb, or verb and its verb -> the lines; under "" those of the command itself."""
