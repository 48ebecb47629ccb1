"""The step written to be read: slow, and what the fast backends are held against."""
