"""What was asked, what came, and what it means: pure, without locks, threads or clocks."""
