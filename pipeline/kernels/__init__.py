"""Numba kernels: serial functions over NumPy arrays that release the GIL.

Import `kernel` from `pipeline.kernels.compile`; it caches machine code on disk.
"""
