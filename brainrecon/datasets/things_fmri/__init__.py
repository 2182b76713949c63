"""THINGS-data, fMRI: pictures of 720 kinds of objects that three people saw (Hebart et al. 2023)."""
