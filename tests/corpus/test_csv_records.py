"""CSV records: what Python's csv and Arrow read in good files, and the same wherever a file is cut."""

from __future__ import annotations

import csv
import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus import csv_records
from pipeline.corpus.csv_records import Form, RecordEnds, read_records, record_starts
from pipeline.kernels import csv_records as kernels

GOOD = kernels.DOUBLED
CELLS = st.text(st.sampled_from('ab ",;\n\r한\\\0') | st.characters(exclude_categories=["Cs"]), max_size=6)
PARTS = (b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"bc", b"\\")
MESS = st.lists(st.sampled_from(PARTS), max_size=24).map(b"".join)


def cells(data: bytes, separator: str = ",", has_quotes: bool = True) -> list[list[str]]:
    """The good records, as lists of all their fields."""
    whole, form = [(0, data)], Form(separator, has_quotes)
    columns = [
        [text for records in read_records(whole, len(data), form, field) for text in records.texts()]
        for field in range(8)
    ]
    numbers = [int(n) for r in read_records(whole, len(data), form) for n in r.fields[r.kind <= GOOD]]
    return [[columns[field][row] for field in range(number)] for row, number in enumerate(numbers)]


def shapes(data: bytes, size: int = 1 << 20, most: int = 1 << 20, start: int = 0, end: int | None = None) -> list:
    """(start, kind, number of fields if it is good) of each record, read in chunks of `size`."""
    end = len(data) if end is None else end
    chunks = [(at, data[at : min(at + size, end)]) for at in range(start, end, size)]
    found = []
    for records in read_records(chunks, end, Form(",", most=most)):
        starts = (records.start + records.position).tolist()
        fields = np.where(records.kind <= GOOD, records.fields, -1).tolist()
        found += zip(starts, records.kind.tolist(), fields)
    return found


@given(st.lists(st.lists(CELLS, min_size=2, max_size=5), max_size=6), st.sampled_from(",;|\t"), st.booleans())
def test_good_files_are_read_as_python_reads_them(rows, separator, always):
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=separator, lineterminator="\r\n" if always else "\n", quoting=quoting).writerows(rows)
    assert cells(out.getvalue().encode(), separator) == rows
    assert cells(out.getvalue().encode().removesuffix(b"\n"), separator) == rows


@given(st.lists(st.lists(st.text('ab "\\한é', max_size=6), min_size=2, max_size=5), max_size=6))
def test_without_quotes_a_line_is_a_record(rows):
    data = "".join("\t".join(row) + "\n" for row in rows).encode()
    read = list(csv.reader(io.StringIO(data.decode(), newline="\n"), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert cells(data, "\t", has_quotes=False) == read == rows


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6))
def test_good_files_are_read_as_arrow_reads_them(rows):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    data = out.getvalue().encode()
    table = pyarrow.csv.read_csv(
        io.BytesIO(data),
        read_options=pyarrow.csv.ReadOptions(column_names=["a", "b", "c"], use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in "abc"}, strings_can_be_null=False
        ),
    )
    assert cells(data) == [list(row.values()) for row in table.to_pylist()]


@given(MESS, st.integers(1, 12), st.integers(1, 30))
def test_chunks_change_nothing(data, size, most):
    assert shapes(data, size, most) == shapes(data, most=most)


@given(MESS, st.integers(1, 30))
def test_ranges_between_records_have_the_same_records(data, most):
    whole = shapes(data, most=most)
    places = [start for start, _, _ in whole] + [len(data)]
    for cut in places:
        assert shapes(data, most=most, end=cut) + shapes(data, most=most, start=cut) == whole


@given(MESS, st.integers(1, 30))
def test_records_lie_side_by_side(data, most):
    place = 0
    for records in read_records([(0, data)], len(data), Form(",", most=most)):
        assert records.start[0] == place
        assert records.start[1:].tolist() == records.stop[:-1].tolist()
        place = int(records.stop[-1])
    assert place == len(data)


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (b'a,b\n"c,d\ne,f\n', [kernels.GOOD, kernels.UNMATCHED, kernels.GOOD]),
        (b'a,b\n"c,d\ne,"f"\n', [kernels.GOOD, kernels.UNMATCHED, kernels.GOOD]),
        (b'"a"b,c\nd,e\n', [kernels.BEHIND, kernels.GOOD]),
        (b'"a\\"b",c\nd,e\n', [kernels.BEHIND, kernels.GOOD]),
        (b'"a\nb"c\nd\n', [kernels.UNMATCHED, kernels.GOOD, kernels.GOOD]),
        (b'a 5" disk,b\n', [kernels.GOOD]),
        (b"\n\r\na\n", [kernels.BLANK, kernels.BLANK, kernels.GOOD]),
        (b'""\n"a""b"', [kernels.GOOD, kernels.DOUBLED]),
        (b'a,"b', [kernels.UNMATCHED]),
    ],
)
def test_bad_records_end_at_their_first_line_end(data, kinds):
    (records,) = read_records([(0, data)], len(data), Form(","), 0)
    assert records.kind.tolist() == kinds


@pytest.mark.parametrize("quote", [b"", b'"'])
@pytest.mark.parametrize("size", [7, 64, 1 << 20])
def test_a_record_has_at_most_so_many_bytes(quote, size):
    fits, long = (quote + b"x" * (99 + more - 2 * len(quote)) + quote for more in (1, 2))
    found = shapes(b"a\n" + fits + b"\n" + long + b"\nb\n", size, most=100)
    assert [kind for _, kind, _ in found] == [kernels.GOOD, kernels.GOOD, kernels.TOO_LONG, kernels.GOOD]


def test_a_quote_that_is_not_closed_in_time_costs_its_line():
    data = b'a,"b\n' + b"c,d\n" * 100
    found = shapes(data, 10, most=50)
    assert [kind for _, kind, _ in found] == [kernels.UNMATCHED] + [kernels.GOOD] * 100


def test_of_an_overlong_record_nothing_is_held():
    held = []

    def chunks():
        yield 0, b"a\n"
        for number in range(1000):
            yield 2 + number * 1000, b"x" * 1000
        yield 1_000_002, b"\nb\n"

    for records in read_records(chunks(), 1_000_005, Form(",", most=5000)):
        held.append(len(records.data))
    assert max(held) <= 7000


def test_cuts_are_where_records_begin(tmp_path):
    data = b"".join(b'%d,"a, ""b""\nand %s"\n' % (i, b"c" * (i % 50)) for i in range(2000))
    (tmp_path / "x.csv").write_bytes(data)
    cuts = record_starts(str(tmp_path / "x.csv"), len(data), Form(",", most=1000))
    starts = {start for start, _, _ in shapes(data)}
    assert len(cuts) > 30
    assert set(cuts) <= starts
    assert list(cuts) == sorted(set(cuts))


@given(MESS, st.integers(1, 30))
def test_pieces_end_behind_records(data, most):
    ends, places = RecordEnds(Form(",", most=most)), {start for start, _, _ in shapes(data, most=most)} | {len(data)}
    held, known = bytearray(), 0
    for at in range(0, len(data), 5):
        held += data[at : at + 5]
        known = ends.last(held, known, at)
        assert known in places
    assert csv_records.RecordEnds.piece_bytes < 64 << 20


def test_a_record_that_goes_on_and_on_is_held_little_more_than_once():
    """It was held three times, and parsed again with each chunk."""
    most = 32 << 20
    chunks = [b'a,b\n1,"', *[b"x" * (1 << 20)] * 60, b'"\n2,c\n']
    places = np.cumsum([0, *map(len, chunks)]).tolist()
    kinds: list[int] = []
    tracemalloc.start()
    for records in read_records(zip(places, chunks), places[-1], Form(",", most=most), 1):
        kinds += records.kind.tolist()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kinds == [kernels.GOOD, kernels.TOO_LONG, kernels.GOOD]
    assert peak < 1.6 * most


def test_an_unfinished_record_is_not_looked_at_with_each_chunk_of_a_stream(monkeypatch):
    looks: list[int] = []

    def read(chunks, *arguments, **options):
        looks.append(len(chunks[0][1]))
        return read_records(chunks, *arguments, **options)

    monkeypatch.setattr(csv_records, "read_records", read)
    ends, held, known = RecordEnds(Form(",", most=1 << 20)), bytearray(), 0
    for chunk in [b'a,b\n1,"', *[b"x" * 1000] * 1000, b'"\n2,c\n', b"3,d\n" * 250_000]:
        new = len(held)
        held += chunk
        known = ends.last(held, known, new)
    assert known == len(held)
    assert len(looks) < 20
    assert ends.last(bytearray(b"4,e\n"), 0, 0) == 4, "a line that is too long was removed"
