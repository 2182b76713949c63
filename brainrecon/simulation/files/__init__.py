"""The simulated cohort in the files of the study that it stands for."""
