"""What is scored: reconstructed pictures, predicted embeddings, differences between conditions."""
