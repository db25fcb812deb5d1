"""What can be seen, and telling it so that it cannot hurt."""
