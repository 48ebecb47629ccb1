"""A GPU on a CPU: CUDA kernels on top of g++, and a stand-in for CuPy that launches them.

For tests, which hold the results against the CPU backend, and for the cost model,
which counts what the kernels do. Slow: for a step or two, never for training.
"""
