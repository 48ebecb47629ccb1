"""Kernels over UTF-8 text: validation, bad lines, white space, lower case."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.bits import count_ones, mask_range, trailing_zeros
from pipeline.kernels.compile import kernel

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_THREE_BITS, _TWO_BITS = np.uint64(7), np.uint64(3)
NEWLINE = 10

TOO_LONG, NOT_UTF8 = 1, 2
"""Reasons of `bad_lines`."""

GROW = -1
"""The position that `split_whitespace` returns when its outputs are too small for a single sentence."""


@kernel
def count_newlines(buffer):
    """Newlines in `buffer` (uint8): ten times as fast as a comparison in NumPy, twenty times as `bytes.count`."""
    total, i = 0, 0
    while i + 64 <= buffer.shape[0]:
        total += count_ones(mask_range(buffer, i, 10, 1))
        i += 64
    while i < buffer.shape[0]:
        total += buffer[i] == NEWLINE
        i += 1
    return total


@kernel
def find_newline(buffer, start, stop):
    """Index of the first newline in buffer[start:stop], or -1."""
    i = start
    while i + 64 <= stop:
        mask = mask_range(buffer, i, 10, 1)
        if mask != _ZERO:
            return i + trailing_zeros(mask)
        i += 64
    while i < stop:
        if buffer[i] == NEWLINE:
            return i
        i += 1
    return -1


@kernel
def sequence_length(buffer, i, stop):
    """Bytes of the character at buffer[i]; 0 where it is not valid UTF-8 (Unicode 16, table 3-7)."""
    lead = buffer[i]
    if lead < 0x80:
        return 1
    if lead < 0xC2 or lead > 0xF4:
        return 0
    length = 2 + (lead >= 0xE0) + (lead >= 0xF0)
    if i + length > stop:
        return 0
    low, high = 0x80, 0xBF
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    if buffer[i + 1] < low or buffer[i + 1] > high:
        return 0
    for j in range(i + 2, i + length):
        if (buffer[j] & 0xC0) != 0x80:
            return 0
    return length


@kernel
def first_invalid(buffer, start, stop):
    """Index of the first byte of buffer[start:stop] that is not part of valid UTF-8, or `stop`."""
    i = start
    while i < stop:
        if i + 64 <= stop:
            high = mask_range(buffer, i, 0x80, 128)
            if high == _ZERO:
                i += 64
                continue
            i += trailing_zeros(high)
        length = sequence_length(buffer, i, stop)
        if length == 0:
            return i
        i += length
    return stop


@kernel
def bad_lines(buffer, max_line_bytes, first, starts, stops, reasons):
    """Lines of buffer[first:] that are too long or not UTF-8, until the three outputs are full.

    Args:
      buffer: uint8 [n], whole lines; `first` is the beginning of one.
      starts, stops, reasons: int64 [m], written; a line includes its newline.

    Returns:
      (number of bad lines, where to go on: n at the end).
    """
    size = buffer.shape[0]
    count, line = 0, first
    # Lines are looked at one by one only where one may be bad: else text of short lines would be slow.
    invalid = first_invalid(buffer, line, size)
    while line < size and count < starts.shape[0]:
        if size - line <= max_line_bytes:
            if invalid == size:
                return count, size
            while True:
                newline = find_newline(buffer, line, invalid)
                if newline < 0:
                    break
                line = newline + 1
        newline = find_newline(buffer, line, size)
        stop = size if newline < 0 else newline + 1
        length = stop - line - (newline >= 0)
        if length > max_line_bytes or invalid < stop:
            starts[count] = line
            stops[count] = stop
            reasons[count] = TOO_LONG if length > max_line_bytes else NOT_UTF8
            count += 1
        if invalid < stop:
            invalid = first_invalid(buffer, stop, size)
        line = stop
    return count, line


@kernel
def split_whitespace(buffer, position, max_sentence, start, end, sentence):
    """Tokens between Unicode White_Space characters, from `position`, until the outputs are full.

    Args:
      buffer: uint8 [n], valid UTF-8, whole lines.
      position: the start of a line, or what an earlier call on this buffer returned.
      max_sentence: where the outputs end inside a line, it is cut after a multiple of this many tokens.
      start, end: int64 [c], c >= 64; token i is buffer[start[i]:end[i]].
      sentence: int64 [c + 1]; sentence j (a line or a part of one) is tokens sentence[j]:sentence[j + 1].

    Returns:
      (tokens, sentences, position to go on from: n at the end, GROW where c is too small).
    """
    size, room = buffer.shape[0], start.shape[0] - 33
    tail = np.empty(64, dtype=np.uint8)
    opened, closed, sentences = 0, 0, 0
    sentence[0] = 0
    inside, spill = _ZERO, _ZERO
    i = position
    while i < size:
        if closed > room:
            return _cut(end, sentence, closed, sentences, max_sentence)
        if i + 64 <= size:
            space, newline = _whitespace(buffer, i, buffer, i, spill)
        else:
            tail[:] = 32
            tail[: size - i] = buffer[i:]
            space, newline = _whitespace(tail, 0, buffer, i, spill)
        white, spill = space
        # 64 bytes at a time, without a branch: bit j of `behind` says that byte j - 1 is in a token. So a token starts
        # where a byte is not white and the byte before it is, and ends the other way round.
        behind = (~white << _ONE) | inside
        starts, ends = ~white & ~behind, white & behind
        inside = ~white >> np.uint64(63)
        while newline != _ZERO:
            upto = newline ^ (newline - _ONE)  # the bits up to the lowest newline
            newline &= newline - _ONE
            tokens = closed + count_ones(ends & upto)
            if tokens > sentence[sentences]:
                sentences += 1
                sentence[sentences] = tokens
        while starts != _ZERO:
            start[opened] = i + trailing_zeros(starts)
            starts &= starts - _ONE
            opened += 1
        while ends != _ZERO:
            end[closed] = i + trailing_zeros(ends)
            ends &= ends - _ONE
            closed += 1
        i += 64
    if inside != _ZERO:
        end[closed] = size
        closed += 1
    if closed > sentence[sentences]:
        sentences += 1
        sentence[sentences] = closed
    return closed, sentences, size


@kernel
def _cut(end, sentence, closed, sentences, max_sentence):
    """Cut the outputs after the last whole sentence; if there is none, after a multiple of max_sentence tokens."""
    if sentences == 0:
        while (sentences + 1) * max_sentence <= closed:
            sentences += 1
            sentence[sentences] = sentences * max_sentence
        if sentences == 0:
            return 0, 0, GROW
    tokens = sentence[sentences]
    return tokens, sentences, end[tokens - 1]


@kernel
def _whitespace(block, at, buffer, i, spill):
    """((white space, its bits beyond the 64), newlines): masks of block[at:at + 64], which equals buffer[i:i + 64].

    A white space of several bytes may end in the next 64: `spill` carries its bits over.
    """
    white = mask_range(block, at, 9, 5) | mask_range(block, at, 32, 1) | spill
    spill = _ZERO
    if mask_range(block, at, 0x80, 128) != _ZERO:
        leads = mask_range(block, at, 0xC2, 1) | mask_range(block, at, 0xE1, 3) | mask_range(block, at, 0xEF, 1)
        while leads != _ZERO:
            j = trailing_zeros(leads)
            leads &= leads - _ONE
            length = _wide_space(buffer, i + j)
            if length:
                bits = _TWO_BITS if length == 2 else _THREE_BITS
                white |= bits << np.uint64(j)
                if j + length > 64:
                    spill = bits >> np.uint64(64 - j)
    return (white, spill), mask_range(block, at, 10, 1)


@kernel
def _wide_space(buffer, i):
    """Bytes of the white space beyond ASCII at buffer[i], 0 if none; see `tokenizers.WHITE_SPACE`."""
    lead, second = buffer[i], buffer[i + 1]
    if lead == 0xC2:  # U+0085, U+00A0
        return 2 if second == 0x85 or second == 0xA0 else 0
    third = buffer[i + 2]
    if lead == 0xE2:
        if second == 0x80:  # U+2000 to U+200A, U+2028, U+2029, U+202F
            return 3 if third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
        return 3 if second == 0x81 and third == 0x9F else 0  # U+205F
    if lead == 0xE1:  # U+1680
        return 3 if second == 0x9A and third == 0x80 else 0
    if lead == 0xEF:  # U+FEFF
        return 3 if second == 0xBB and third == 0xBF else 0
    return 3 if lead == 0xE3 and second == 0x80 and third == 0x80 else 0  # U+3000


@kernel
def next_mark(buffer, start):
    """Index of the first invisible mark in buffer[start:], or n; see `unicode_words.MARKS`.

    Args:
      buffer: uint8 [n], valid UTF-8.
    """
    size, i = buffer.shape[0], start
    while i < size:
        if i + 64 <= size:
            leads = mask_range(buffer, i, 0xC2, 1) | mask_range(buffer, i, 0xE2, 1)
            if leads == _ZERO:
                i += 64
                continue
            i += trailing_zeros(leads)
        if mark_length(buffer, i):
            return i
        i += 1
    return size


@kernel
def mark_length(buffer, i):
    """Bytes of the invisible mark at buffer[i], 0 if there is none."""
    lead = buffer[i]
    if lead == 0xC2:  # U+00AD
        return 2 if buffer[i + 1] == 0xAD else 0
    if lead != 0xE2:
        return 0
    second, third = buffer[i + 1], buffer[i + 2]
    if second == 0x80:  # U+200B, U+200E, U+200F, U+202A to U+202E
        return 3 if third == 0x8B or third == 0x8E or third == 0x8F or 0xAA <= third <= 0xAE else 0
    return 3 if second == 0x81 and (third == 0xA0 or 0xA6 <= third <= 0xA9) else 0  # U+2060, U+2066 to U+2069


@kernel
def copy_without_marks(buffer, out):
    """Copies `buffer` to `out` (uint8 [n] each) without its invisible marks; returns the bytes written."""
    position, written = 0, 0
    while position < buffer.shape[0]:
        mark = next_mark(buffer, position)
        out[written : written + mark - position] = buffer[position:mark]
        written += mark - position
        position = mark
        if mark < buffer.shape[0]:
            position += mark_length(buffer, mark)
    return written


@kernel
def split_long(sentence, max_sentence, out):
    """Cut sentences longer than `max_sentence` tokens; returns how many there are then.

    Args:
      sentence: int64 [s + 1], offsets of tokens.
      out: int64 [enough], receives the new offsets; sum of ceil(length / max_sentence), and one more.
    """
    out[0] = sentence[0]
    n = 0
    for j in range(sentence.shape[0] - 1):
        position = sentence[j]
        while position < sentence[j + 1]:
            position = min(position + max_sentence, sentence[j + 1])
            n += 1
            out[n] = position
    return n


@kernel
def lower_text(source, lower, out):
    """Lower-case UTF-8 by a table of single characters, up to the line of a character that the table does not cover.

    Args:
      source: uint8 [n], valid UTF-8.
      lower: int32 [0x110000], the character's lower case; -1 where it depends on the text around, or is longer.
      out: uint8 [n + n // 2 + 64], written. U+023A has 2 bytes and its lower case 3; no character grows more.

    Returns:
      (bytes read, bytes written): all of `source`, or the lines before that of a character whose entry is -1.
    """
    size = source.shape[0]
    i, n = 0, 0
    while i < size:
        if i + 64 <= size and mask_range(source, i, 0x80, 128) == _ZERO:
            for j in range(64):
                byte = source[i + j]
                out[n + j] = byte + 32 * (np.uint8(byte - 65) < 26)  # A..Z: one comparison, by wrapping around
            i += 64
            n += 64
            continue
        byte = source[i]
        if byte < 0x80:
            out[n] = byte + 32 * (np.uint8(byte - 65) < 26)
            i += 1
            n += 1
            continue
        length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
        point = np.int32(byte) & (0xFF >> (length + 1))
        for j in range(1, length):
            point = (point << 6) | (np.int32(source[i + j]) & 0x3F)
        small = lower[point]
        if small < 0:
            # Back to the start of the line, on both sides: a newline is one byte before and after.
            while i > 0 and source[i - 1] != NEWLINE:
                i -= 1
            while n > 0 and out[n - 1] != NEWLINE:
                n -= 1
            return i, n
        if small == point:
            for j in range(length):
                out[n + j] = source[i + j]
            n += length
        else:
            n += _encode(small, out, n)
        i += length
    return size, n


@kernel
def _encode(point, out, n):
    """Write a code point as UTF-8 at out[n:]; returns its bytes."""
    if point < 0x80:
        out[n] = point
        return 1
    if point < 0x800:
        out[n] = 0xC0 | (point >> 6)
        out[n + 1] = 0x80 | (point & 0x3F)
        return 2
    if point < 0x10000:
        out[n] = 0xE0 | (point >> 12)
        out[n + 1] = 0x80 | ((point >> 6) & 0x3F)
        out[n + 2] = 0x80 | (point & 0x3F)
        return 3
    out[n] = 0xF0 | (point >> 18)
    out[n + 1] = 0x80 | ((point >> 12) & 0x3F)
    out[n + 2] = 0x80 | ((point >> 6) & 0x3F)
    out[n + 3] = 0x80 | (point & 0x3F)
    return 4


@kernel
def copy_gaps(source, begin, end, out):
    """Copy `source` (uint8) to `out` without source[begin[i]:end[i]]; the gaps are in order and disjoint."""
    position, n = 0, 0
    for i in range(begin.shape[0] + 1):
        stop = begin[i] if i < begin.shape[0] else source.shape[0]
        out[n : n + stop - position] = source[position:stop]
        n += stop - position
        if i < begin.shape[0]:
            position = end[i]
