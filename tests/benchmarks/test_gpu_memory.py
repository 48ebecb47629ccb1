"""The table of memory is the documentation's."""

from benchmarks import gpu_memory
from tests.helpers.commands import ROOT


def test_memory_of_the_documentation_is_what_is_allocated():
    document = (ROOT / "docs" / "gpu.md").read_text()
    for row in gpu_memory.memory_table():
        if row["rows a step"] == "16,384":
            line = f"| {row['dims']} | {row['negatives']} | {row['window']} | "
            assert row["steps take"] in document.partition(line)[2].partition("\n")[0]
