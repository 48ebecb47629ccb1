"""Rows -> a model: the loop over steps, its checks, its measurements."""
