"""From fMRI responses to the pictures that were seen."""
