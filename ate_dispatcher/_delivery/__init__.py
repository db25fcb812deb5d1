"""Who gets it, and how a message reaches a thread."""
