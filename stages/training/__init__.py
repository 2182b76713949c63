"""Training by gradient descent."""
