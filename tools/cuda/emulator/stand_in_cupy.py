"""A stand-in for CuPy: the part of it that the cuda backend uses, with kernels that run on the CPU.

As on a device, nothing that is put on a stream is done at once. Each stream keeps the
order of its own work; between streams, only events do. When work is done is up to the
policy, so that an order which the host code does not ask for is not there by luck:

  late         when somebody waits for it, and no more than that
  early        at once
  eager-K      work of stream K (in order of creation) as soon as its events allow, the others late
  newest       at once, that of streams that were created later first
  random       some of it now and then

Arrays of the device begin as NaN, and are fenced: a write beside them is noticed.

To try a kernel of one's own: name its file in a `Launcher`, made of the module that
`installed(Device())` puts in CuPy's place, and call it. What CuPy has and the
stand-in lacks is added here, as CuPy has it.

    with installed(Device(schedule=2, watched=True)):
        import cupy
        launcher = Launcher(cupy, ["common.cu", "mine.cu"], {"DIMS": 16, ...})
        array = cupy.empty(100, "int32")
        launcher("my_kernel", 1, 32, array, 100)
        array.get(out=host)  # waits for the stream
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tools.cuda.emulator import emulation

Observer = Callable[[emulation.Library, str, Callable[[], None]], None]
"""Called with a kernel's library and name in place of its launch, which it does by calling the last argument."""
FENCE = 256
POLICIES = ("late", "early", "eager-1", "eager-2", "random")


class Device:
    """One emulated device: streams, memory, and how it runs kernels."""

    def __init__(
        self,
        *,
        schedule: int = 0,
        seed: int = 1,
        policy: str = "late",
        watched: bool = False,
        memory: int = 1 << 40,
        edit: Callable[[str], str] = lambda code: code,
        architecture: int = 0,
        observer: Observer | None = None,
        multiprocessors: int = 2,
    ):
        """A device that behaves as the arguments say.

        Args:
          schedule: of the emulator, 0 to 3.
          watched: notice races and accesses outside of arrays.
          memory: bytes there are.
          edit: changes the source before it is compiled, to plant defects.
          architecture: run what NVIDIA's compiler makes of the source for it, if not 0.
          observer: is told of launches that are traced, for which the schedule is 0.
        """
        self.schedule, self.policy, self.watched, self.memory, self.edit = schedule, policy, watched, memory, edit
        self.architecture, self.observer, self.multiprocessors = architecture, observer, multiprocessors
        assert not observer or (architecture and not schedule)
        self.random = random.Random(seed)
        self.streams: list[Stream] = []
        self.null = Stream(self)
        self.current = [self.null]
        self.pinned: list[tuple[int, int]] = []
        self.allocated = self.launches = self.allocations = 0
        self.live: list[_Guard] = []

    def modules(self) -> dict[str, types.ModuleType]:
        """To be put into sys.modules: cupy and cupyx."""
        cupy: Any = types.ModuleType("cupy")
        cupyx: Any = types.ModuleType("cupyx")
        cupy.empty = lambda shape, dtype: DeviceArray.new(self, shape, dtype)
        cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
        cupy.cuda = types.SimpleNamespace(
            Stream=lambda non_blocking: Stream(self),
            Event=lambda disable_timing: Event(self),
            Device=lambda: types.SimpleNamespace(
                id=0,
                attributes={"MultiProcessorCount": self.multiprocessors},
                compute_capability="86",
                synchronize=self.synchronize,
            ),
            Module=lambda: Module(self),
            nvrtc=Nvrtc(),
            driver=types.SimpleNamespace(CUDADriverError=CUDAError),
            runtime=types.SimpleNamespace(
                CUDARuntimeError=CUDAError,
                memGetInfo=lambda: self.free_memory(),
                getDeviceCount=lambda: 1,
                driverGetVersion=lambda: 12080,
                getDeviceProperties=lambda device: {"name": b"Emulated GPU", "totalGlobalMem": self.memory},
            ),
        )
        cupyx.empty_pinned = self.empty_pinned
        return {"cupy": cupy, "cupyx": cupyx}

    def free_memory(self) -> tuple[int, int]:
        return self.memory - self.allocated, self.memory

    def empty_pinned(self, shape: Any, dtype: Any) -> np.ndarray:
        array = np.full(np.prod(shape) * np.dtype(dtype).itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)
        self.pinned.append((array.ctypes.data, array.ctypes.data + array.nbytes))
        return array

    def is_pinned(self, array: np.ndarray) -> bool:
        return any(begin <= array.ctypes.data and array.ctypes.data + array.nbytes <= end for begin, end in self.pinned)

    def put(self, stream: Stream, work: Callable[[], None]) -> None:
        if stream.captured is not None:
            stream.captured.add(stream, work)
            return
        stream.queue.append(work)
        self.work_a_little()

    def work_a_little(self) -> None:
        """What the policy wants to be done now."""
        if self.policy == "early":
            while any(stream.advance() for stream in self.streams):
                pass
        elif self.policy == "newest":
            while any(stream.advance() for stream in reversed(self.streams)):
                pass
        elif self.policy.startswith("eager"):
            chosen = int(self.policy.partition("-")[2])
            while chosen < len(self.streams) and self.streams[chosen].advance():
                pass
        elif self.policy == "random":
            for _ in range(self.random.randrange(8)):
                self.random.choice(self.streams).advance()

    def synchronize(self) -> None:
        for stream in self.streams:
            stream.synchronize()

    def check_fences(self) -> None:
        for array in self.live:
            array.check_fences()


class Stream:
    """Work in order. An item is a function, or an (event, mark) to wait for."""

    def __init__(self, device: Device):
        self.device, self.done = device, 0
        self.queue: deque[Any] = deque()
        self.captured: Capture | None = None
        device.streams.append(self)

    def __enter__(self) -> Stream:
        self.device.current.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.device.current.pop()

    def begin_capture(self) -> None:
        assert self.captured is None
        self.captured = Capture(self)

    def end_capture(self) -> Graph:
        assert self.captured is not None
        return self.captured.ended(self)

    def advance(self) -> bool:
        """Do the next piece of work, if it need not wait."""
        if not self.queue:
            return False
        work = self.queue[0]
        if isinstance(work, tuple):
            stream, mark = work
            if stream.done < mark:
                return False
        self.queue.popleft()
        self.done += 1
        if not isinstance(work, tuple):
            work()
        return True

    @property
    def mark(self) -> int:
        """How much will have been done when all that is queued now is."""
        return self.done + len(self.queue)

    def finish(self, mark: int) -> None:
        """Work up to a mark, and on other streams as far as that needs it."""
        while self.done < mark:
            if not self.advance():
                stream, needed = self.queue[0]
                stream.finish(needed)
            self.device.work_a_little()

    def synchronize(self) -> None:
        assert self.captured is None, "a stream that is captured does no work"
        self.finish(self.mark)
        self.device.check_fences()

    def wait_event(self, event: Event) -> None:
        if event.captured or self.captured:
            assert event.captured, "in a capture, a stream waits for what is captured too"
            capture, stream, mark = event.captured
            assert self.captured in (None, capture)
            self.captured = capture
            capture.add(self, (stream, mark))
        elif event.recorded:
            self.queue.append(event.recorded)
            self.device.work_a_little()


class Capture:
    """Work that is captured on a stream, and on those that wait for events of it."""

    def __init__(self, origin: Stream):
        self.origin = origin
        self.work: dict[Stream, list[Any]] = {origin: []}
        """of each stream, in order: functions, and (stream, how much of its work has to be done)"""

    def add(self, stream: Stream, work: Any) -> None:
        self.work.setdefault(stream, []).append(work)

    def ended(self, stream: Stream) -> Graph:
        assert stream is self.origin, "a capture ends on the stream that it began on"
        waited = {work[0]: work[1] for work in self.work[stream] if isinstance(work, tuple)}
        for other, work in self.work.items():
            assert other is stream or waited.get(other) == len(work), (
                "a stream has not been joined to the capture again"
            )
            other.captured = None
        return Graph(stream, self.work)


class Graph:
    """Launches as they were captured, with the same arrays. What was on other streams runs on streams of its own."""

    def __init__(self, origin: Stream, work: dict[Stream, list[Any]]):
        self.origin, self.work = origin, work
        self.others = {stream: Stream(origin.device) for stream in work if stream is not origin}

    def launch(self, stream: Stream) -> None:
        real = {self.origin: stream, **self.others}
        base = {captured: target.mark for captured, target in real.items()}
        for captured, work in self.work.items():
            for item in work:
                if isinstance(item, tuple):
                    waited, mark = item
                    real[captured].queue.append((real[waited], base[waited] + mark))
                else:
                    real[captured].queue.append(item)
        stream.device.work_a_little()


class Event:
    def __init__(self, device: Device):
        self.device = device
        self.recorded: tuple[Stream, int] | None = None
        self.captured: tuple[Capture, Stream, int] | None = None

    def record(self, stream: Stream) -> None:
        self.captured = None
        if stream.captured is not None:
            self.captured = (stream.captured, stream, len(stream.captured.work.get(stream, ())))
            return
        self.recorded = (stream, stream.mark)
        self.device.work_a_little()

    def synchronize(self) -> None:
        if self.recorded:
            self.recorded[0].finish(self.recorded[1])


class DeviceArray:
    """A contiguous array of the device. Its numbers are in `memory`, which host code has no business with."""

    def __init__(self, device: Device, memory: np.ndarray, owner: DeviceArray | None = None):
        self.device, self.memory, self.owner = device, memory, owner
        self.flags, self.data = memory.flags, types.SimpleNamespace(ptr=memory.ctypes.data)
        self.size_in_bytes = memory.nbytes

    @classmethod
    def new(cls, device: Device, shape: Any, dtype: Any) -> DeviceArray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        assert all(stream.captured is None for stream in device.streams), "an allocation cannot be captured"
        if device.allocated + size > device.memory:
            raise MemoryError("the emulated device is full")
        raw = np.full(size + 3 * FENCE, 0xA5, np.uint8)
        start = FENCE + -raw.ctypes.data % FENCE
        payload = raw[start : start + size]
        payload[:] = 0xFF
        array = cls(device, payload.view(dtype).reshape(shape))
        device.allocated += size
        device.allocations += 1
        device.live.append(_Guard(raw, start, size))
        emulation.note_memory(array.data.ptr, size, True)
        return array

    def __del__(self) -> None:
        if self.owner is None:
            self.device.allocated -= self.size_in_bytes
            emulation.note_memory(self.data.ptr, self.size_in_bytes, False)

    dtype = property(lambda self: self.memory.dtype)
    shape = property(lambda self: self.memory.shape)
    size = property(lambda self: self.memory.size)
    nbytes = property(lambda self: self.memory.nbytes)

    def __getitem__(self, key: slice) -> DeviceArray:
        return DeviceArray(self.device, self.memory[key], self.owner or self)

    def reshape(self, *shape: int) -> DeviceArray:
        return DeviceArray(self.device, self.memory.reshape(shape), self.owner or self)

    def set(self, array: np.ndarray, stream: Stream | None = None) -> None:
        self._check(array)
        assert (stream or self.device.current[-1]).captured is None, "the sizes of copies differ from step to step"
        assert stream is None or self.device.is_pinned(array), "a copy from memory that is not pinned is synchronous"
        target = self.memory
        self.device.put(stream or self.device.current[-1], lambda: np.copyto(target, array))

    def get(self, stream: Stream | None = None, *, out: np.ndarray, blocking: bool = True) -> np.ndarray:
        self._check(out)
        source = self.memory
        now = stream or self.device.current[-1]
        assert blocking or self.device.is_pinned(out)
        self.device.put(now, lambda: np.copyto(out, source))
        if blocking:
            now.synchronize()
        return out

    def _check(self, host: np.ndarray) -> None:
        assert type(host) is np.ndarray
        assert host.dtype == self.dtype
        assert host.shape == self.shape
        assert host.flags.c_contiguous
        assert self.flags.c_contiguous


class _Guard:
    """Looks after an array's fences without keeping the array alive."""

    def __init__(self, raw: np.ndarray, start: int, size: int):
        self.raw, self.start, self.size = raw, start, size

    def check_fences(self) -> None:
        before, after = self.raw[: self.start], self.raw[self.start + self.size :]
        assert (before == 0xA5).all(), "a kernel wrote before an array"
        assert (after == 0xA5).all(), "a kernel wrote past an array"


class CUDAError(RuntimeError):
    """In place of the runtime's and the driver's errors."""


class Nvrtc:
    """A compiler whose machine code is the source, with the options."""

    getVersion = staticmethod(lambda: (0, 0))  # of no real one: machine code is kept by version
    getSupportedArchs = staticmethod(lambda: (70, 86))
    getProgramLog = staticmethod(lambda program: "")
    getCUBIN = staticmethod(lambda program: json.dumps(program).encode())
    destroyProgram = staticmethod(lambda program: None)

    def createProgram(self, code: str, name: str, headers: tuple, include_names: tuple) -> dict[str, Any]:
        assert not headers
        assert not include_names
        return {"code": code}

    def compileProgram(self, program: dict[str, Any], options: tuple[str, ...]) -> None:
        program["options"] = list(options)


class Module:
    def __init__(self, device: Device):
        self.device = device
        self.library: Any = None

    def load(self, cubin: bytes) -> None:
        device, program = self.device, json.loads(cubin)
        defines = [option for option in program["options"] if option.startswith("-D")]
        self.library = emulation.compiled(
            device.edit(program["code"]), defines, device.watched, device.architecture, device.observer is not None
        )

    def get_function(self, name: str) -> Callable:
        launch = self.library.kernels[name]
        device = self.device

        def function(grid: tuple[int], block: tuple[int], arguments: tuple) -> None:
            assert len(grid) == len(block) == 1
            for value in arguments:
                assert isinstance(value, (DeviceArray, np.generic)), "CuPy would guess the type of a Python number"
            device.launches += 1
            seed = device.launches

            def run() -> None:
                launch(grid[0], block[0], device.schedule, seed, arguments)

            observe = functools.partial(device.observer, self.library, name, run) if device.observer else run
            device.put(device.current[-1], observe)

        return function


@contextlib.contextmanager
def installed(device: Device) -> Iterator[Device]:
    """CuPy is this device."""
    import sys

    made = device.modules()
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield device
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
