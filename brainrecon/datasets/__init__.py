"""A module per dataset; each returns a Subject."""
