"""Kernel that cuts lines of UTF-8 text into items at a separator."""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel

LF, SPACE = 10, 32


@kernel
def split_items(text, separator, start, end, sentence):
    """Items between separators, without white space around them; items of nothing but that are left out.

    Args:
      text: uint8 [n], valid UTF-8; a sentence ends with LF. separator: uint8 [m], without LF.
      start, end: int64 [separators + lines]; sentence: int64 [lines + 1]; written. The last line may lack its LF.

    Returns:
      (items, sentences)
    """
    size, width = text.shape[0], separator.shape[0]
    items, sentences, begin, stop = 0, 0, -1, -1
    sentence[0] = 0
    i = 0
    while i <= size:
        closes = i == size or text[i] == LF
        step = 1
        if not closes and i + width <= size and text[i] == separator[0]:
            closes = True
            for j in range(1, width):
                if text[i + j] != separator[j]:
                    closes = False
                    break
            if closes:
                step = width
        if closes:
            if begin >= 0:
                start[items], end[items] = begin, stop
                items += 1
                begin = -1
            if (i == size or (step == 1 and text[i] == LF)) and items > sentence[sentences]:
                sentences += 1
                sentence[sentences] = items
        else:
            step, is_white = _character(text, i)
            if not is_white:
                begin = i if begin < 0 else begin
                stop = i + step
        i += step
    return items, sentences


@kernel(inline="always")
def _character(text, i):
    """(bytes of the character at text[i], whether it is white space, see `tokenizers.whitespace.WHITE_SPACE`)."""
    byte = text[i]
    if byte < 0x80:
        return 1, byte == SPACE or (byte >= 9 and byte <= 13)
    if byte < 0xE0:
        return 2, byte == 0xC2 and (text[i + 1] == 0x85 or text[i + 1] == 0xA0)
    if byte >= 0xF0:
        return 4, False
    point = (np.int32(byte) & 0x0F) << 12 | (np.int32(text[i + 1]) & 0x3F) << 6 | (np.int32(text[i + 2]) & 0x3F)
    is_white = (
        (point >= 0x2000 and point <= 0x200A)
        or (point == 0x1680 or point == 0x2028 or point == 0x2029 or point == 0x202F)
        or (point == 0x205F or point == 0x3000 or point == 0xFEFF)
    )
    return 3, is_white
