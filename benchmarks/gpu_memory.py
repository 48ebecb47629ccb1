"""What training steps take of a GPU's memory, by arithmetic alone: the table of docs/gpu.md.

python -m benchmarks.gpu_memory
"""

from __future__ import annotations

from pipeline.backends.cuda.buffers import Room, Shape, shown
from pipeline.backends.cuda.generation import bytes_of_blocks
from tools.measuring.reports import format_table


def memory_table() -> list[dict[str, str]]:
    """Bytes on the device, for steps whose rows have the average number of contexts."""
    table = []
    for dims, negatives, window in ((100, 5, 5), (300, 5, 5), (300, 15, 10)):
        for rows in (2048, 16_384, 65_536):
            shape = Shape(-(-dims // 16) * 16, negatives, False)
            room = Room(rows, rows * (window + 1))
            row = {"dims": str(dims), "negatives": str(negatives), "window": str(window), "rows a step": f"{rows:,}"}
            making = bytes_of_blocks(rows, window, negatives)
            table.append(row | {"steps take": shown(shape.bytes(room)), "making rows takes": shown(making)})
    return table


if __name__ == "__main__":
    print(format_table(memory_table()))
