"""What time it is, and how a thread waits for it."""
