"""Real mail servers, both doors, and whose books say what."""
