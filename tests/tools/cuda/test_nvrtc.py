"""NVRTC without CuPy: its errors are shown, and its figures give the occupancy that NVIDIA says."""

import numpy as np
import pytest

from tools.cuda import kernels, nvrtc


def test_occupancy_is_what_nvidia_says():
    """Two points of NVIDIA's occupancy calculator: 128 registers, and 40 registers with 9 KiB shared, 256 threads."""
    many, few = nvrtc.Kernel("a", 128, 0, 0, 0), nvrtc.Kernel("b", 40, 0, 0, 9216)
    found = [kernels.occupancy(kernel, kernels.GPUS[80]) for kernel in (many, few)]
    np.testing.assert_allclose(found, [0.25, 0.75])


@pytest.mark.skipif(
    nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 (90 MB)"
)
def test_an_error_of_the_compiler_is_shown():
    with pytest.raises(RuntimeError, match=r'(?s)NVRTC refuses the source:.*plan\.cu\(3\): error: .*"nonsense"'):
        nvrtc.build('#line 1 "plan.cu"\nextern "C" __global__ void k() {\n\nnonsense(); }', {}, 80)
