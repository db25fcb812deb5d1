"""How it is done: hand out, serve, gather, keep time, end."""
