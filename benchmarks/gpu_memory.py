"""What training steps take of a GPU's memory, by arithmetic alone: the table of docs/gpu.md.

python -m benchmarks.gpu_memory [--json=runs/reports/gpu_memory.json]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipeline.backends.cuda.buffers import Room, Shape, shown
from pipeline.backends.cuda.generation import bytes_of_blocks
from tools.measuring.reports import format_table, report_parser, write_report


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


def main(arguments: Sequence[str] | None = None) -> int:
    chosen, table = report_parser("benchmarks.gpu_memory", __doc__).parse_args(arguments), memory_table()
    print(format_table(table))
    write_report(chosen.json, vars(chosen), table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
