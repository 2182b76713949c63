"""Many runs: benchmarks, and presets of published comparisons."""
