"""What makes decoded values likely: from what the brain gives to what a picture could have."""
