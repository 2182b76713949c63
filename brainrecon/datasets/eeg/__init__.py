"""EEG: responses of channels over time, in the own files of two studies."""
