"""Commands under what hinders them: a full disk, missing rights, no locks, little memory, a wrong clock, other versions."""
