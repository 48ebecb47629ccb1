"""Real CuPy and real NVRTC on a device that is not there.

CuPy's copy of the CUDA runtime is patched in memory, and `libcuda.cpp` stands for the driver: both call back into
Python, where the emulator runs the kernels and its streams decide when. So loading, the passing of arguments, streams,
capture and graphs are CuPy's own, and what it gives NVRTC is seen. For tests; nothing of it touches files of CuPy.
"""
