"""What was observed, shown."""
