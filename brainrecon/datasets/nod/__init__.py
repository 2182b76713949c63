"""ImageNet and COCO pictures that thirty people saw (Gong et al. 2023), OpenNeuro ds004496."""
