"""The training step on an NVIDIA GPU: CUDA kernels (`*.cu`) and the host code that feeds them.

The bits are those of the other backends. Without a GPU everything here can still be
run: `tests/backends/cuda` compiles the same kernels for the CPU.
"""
