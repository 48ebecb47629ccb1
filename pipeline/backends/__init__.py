"""Backends: one training step, several ways to compute it.

`oracles/reference` is readable, `oracles/definition` is the definition written down, `cpu` is fast, `cuda` runs on an
NVIDIA GPU; all but the first agree in every bit.
"""
