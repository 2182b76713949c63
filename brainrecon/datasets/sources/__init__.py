"""Public places that datasets are kept at: what each lists, as files to fetch."""
