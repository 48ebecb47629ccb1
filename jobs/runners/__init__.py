"""What a graph runs on: Beam's runners, their worker processes, their signals, and what becomes of their errors."""
