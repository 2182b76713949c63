"""What every room stands on: errors, checks, the seeds of items, media, progress. It imports nothing of ours but weights."""
