"""How a system is put together: its settings, its decoder, and the reconstructor of notebooks."""
