"""How it is done: hand out, serve, gather, keep time, end; the map is in `engine`."""
