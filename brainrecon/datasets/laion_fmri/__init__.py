"""LAION-fMRI: five people and 25,052 photographs and pictures in 7 T fMRI."""
