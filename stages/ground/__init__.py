"""What every room stands on: errors and the seeds of items."""
