"""Visual image reconstruction (Miyawaki et al. 2008), in the three formats in which it is published."""
