"""CuPy on machines that lack something, and what is said there."""

from __future__ import annotations

import types

from tools.cuda.emulator.stand_in_cupy import CUDAError, Device


def broken_cupy(what):
    """CuPy on a machine that lacks one thing."""
    made = Device().modules()["cupy"]

    def fail(*arguments):
        raise RuntimeError(f"{what}: not today\nand a second line")

    def fail_with(status):
        def failing(*arguments):
            error = CUDAError(f"status {status}")
            error.status = status
            raise error

        return failing

    runtime = made.cuda.runtime
    if what == "NVRTC":
        made.cuda.nvrtc.getVersion = fail
    elif what == "driver":
        runtime.getDeviceCount, runtime.driverGetVersion = fail_with(35), lambda: 0
    elif what == "old driver":
        runtime.getDeviceCount, runtime.driverGetVersion = fail_with(35), lambda: 11040
        runtime.runtimeGetVersion = lambda: 12090
    elif what == "no device":
        runtime.getDeviceCount = fail_with(100)
    elif what == "dead device":
        made.empty = fail
    elif what in ("old device", "oldest device"):
        capability = "61" if what == "old device" else "70"
        made.cuda.Device = lambda: types.SimpleNamespace(id=0, compute_capability=capability, synchronize=lambda: None)
    return made


LACKING = [
    ("NVRTC", r"NVRTC, .* is not found \(RuntimeError: NVRTC: not today\)"),
    ("driver", r"no NVIDIA driver answers \(CUDAError: status 35\)"),
    ("old driver", r"the driver knows CUDA 11\.4, and this CuPy is for CUDA 12: update the driver"),
    ("no device", "the driver shows no device: is CUDA_VISIBLE_DEVICES set?"),
    ("dead device", r"the device does not answer \(RuntimeError: dead device: not today\)"),
    ("old device", r"Emulated GPU has compute capability 6\.1, 7\.0 or later is needed"),
]
"""What a machine lacks, and what is said."""
