"""Objects of five classes that five people saw (Huang et al. 2020): responses at several times after the picture."""
