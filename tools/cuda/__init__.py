"""The CUDA kernels without a GPU: compilers, an emulator that runs them, and a cost model that counts what they do."""
