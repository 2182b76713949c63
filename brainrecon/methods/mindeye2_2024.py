"""MindEye2 (Scotti et al., ICML 2024): a layer of each subject's own, a backbone that all share, and pictures behind captions.

The shared backbone makes rough tokens of OpenCLIP ViT-bigG/14, from which a projector makes tokens for retrieval, a prior likely
ones, and a small decoder the latent of a blurry picture. Likely tokens are drawn by an unCLIP of Stable Diffusion XL, and said
in a caption. Under that the drawn picture is redrawn in part, and a quarter of the blurry one is laid over it. What was learned
of some subjects is gone on with for a new one, of whom there may be an hour alone.

docs/systems/mindeye2-2024.md says what the scripts do, which of their slips are mended here, and what is done otherwise.
"""

from __future__ import annotations

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.released_shared_network import released_network
from brainrecon.assembly.shared_system import SharedSystem


@system
class MindEye22024(SharedSystem):
    """The method of one subject or of several, at its published settings."""

    name = "mindeye2-2024"
    explanation = (
        "the full method: shared tokens of several subjects, drawn by unCLIP, redrawn under a caption, blended with a blurry "
        "picture"
    )
    citation = "Scotti, P. S. et al. (2024). MindEye2: shared-subject models enable fMRI-to-image with 1 hour of data. ICML 2024."
    evidence = Evidence(
        "network, losses, schedule and prior equal the published formulas on random weights, with the published numbers of "
        "parameters; released files not read",
        ("simulated NSD",),
        ("MindEye2",),
    )
    protocol = "mindeye2-2024"

    def released(self):
        return released_network()
