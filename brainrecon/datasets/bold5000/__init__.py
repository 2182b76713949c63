"""Scenes, COCO and ImageNet pictures that four people saw (Chang et al. 2019): BOLD5000."""
