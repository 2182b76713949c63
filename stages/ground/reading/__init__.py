"""How files from elsewhere are read: sizes before memory, one sentence for whatever is damaged, nothing that reaches further."""
