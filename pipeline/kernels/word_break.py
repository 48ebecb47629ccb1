"""Kernels that cut UTF-8 text into words (Unicode's word boundaries, UAX #29).

A property table (uint8 [0x110000], see `pipeline.corpus.tokenizers.unicode_words`) gives each code
point its Word_Break class in the low 5 bits, and three flags.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel

CLASSES = (
    "Other",
    "CR",
    "LF",
    "Newline",
    "Extend",
    "ZWJ",
    "Format",
    "Regional_Indicator",
    "Katakana",
    "Hebrew_Letter",
    "ALetter",
    "Single_Quote",
    "Double_Quote",
    "MidNumLet",
    "MidLetter",
    "MidNum",
    "Numeric",
    "ExtendNumLet",
)
"""Word_Break's values; a code point's class is its value's place here. WSegSpace is Other: no word holds it."""
PICTOGRAPH, ALPHANUMERIC, WHITE = 32, 64, 128
"""Flags: Extended_Pictographic; Alphabetic or a number; white space."""
FULL = -1

_CR, _LF, _NEWLINE, _EXTEND, _ZWJ, _FORMAT, _RI, _KATAKANA, _HEBREW = 1, 2, 3, 4, 5, 6, 7, 8, 9
_LETTER, _SINGLE, _DOUBLE, _MID_NUM_LET, _MID_LETTER, _MID_NUM, _NUMERIC, _EXTEND_NUM = 10, 11, 12, 13, 14, 15, 16, 17
_CLASS = 31


@kernel(inline="always")
def character_length(byte):
    """Bytes of the character that begins with `byte`."""
    return 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)


@kernel(inline="always")
def character_property(text, i, table):
    byte = text[i]
    if byte < 0x80:
        return table[byte]
    if byte < 0xE0:
        return table[(np.int32(byte) & 0x1F) << 6 | (np.int32(text[i + 1]) & 0x3F)]
    if byte < 0xF0:
        return table[
            (np.int32(byte) & 0x0F) << 12 | (np.int32(text[i + 1]) & 0x3F) << 6 | (np.int32(text[i + 2]) & 0x3F)
        ]
    return table[
        (np.int32(byte) & 0x07) << 18
        | (np.int32(text[i + 1]) & 0x3F) << 12
        | (np.int32(text[i + 2]) & 0x3F) << 6
        | (np.int32(text[i + 3]) & 0x3F)
    ]


@kernel(inline="always")
def _is_attached(kind):
    """WB4: characters that belong to the one before them."""
    return kind == _EXTEND or kind == _FORMAT or kind == _ZWJ


@kernel(inline="always")
def _is_letter(kind):
    return kind == _LETTER or kind == _HEBREW


@kernel
def _following(text, i, table):
    """Class of the next character at or after i that is not attached to the one before it (WB4); LF at the end."""
    while i < text.shape[0]:
        kind = character_property(text, i, table) & _CLASS
        if not _is_attached(kind):
            return kind
        i += character_length(text[i])
    return np.uint8(_LF)


@kernel
def _joined(before, last, kind, text, after, table):
    """Whether there is no boundary between the classes `last` and `kind`.

    `before` is the class before `last`; the text behind `kind` begins at `after`. Rules are named as in UAX #29.
    """
    if _is_letter(last):
        if _is_letter(kind) or kind == _NUMERIC or kind == _EXTEND_NUM:  # WB5, WB9, WB13a
            return True
        if kind == _MID_LETTER or kind == _MID_NUM_LET or kind == _SINGLE:  # WB6, WB7a
            if last == _HEBREW and kind == _SINGLE:
                return True
            return _is_letter(_following(text, after, table))
        return last == _HEBREW and kind == _DOUBLE and _following(text, after, table) == _HEBREW  # WB7b
    if last == _NUMERIC:
        if kind == _NUMERIC or _is_letter(kind) or kind == _EXTEND_NUM:  # WB8, WB10, WB13a
            return True
        if kind == _MID_NUM or kind == _MID_NUM_LET or kind == _SINGLE:  # WB12
            return _following(text, after, table) == _NUMERIC
        return False
    if _is_letter(kind):
        if last == _EXTEND_NUM:  # WB13b
            return True
        if last == _MID_LETTER or last == _MID_NUM_LET or last == _SINGLE:  # WB7
            return _is_letter(before)
        return last == _DOUBLE and kind == _HEBREW and before == _HEBREW  # WB7c
    if kind == _NUMERIC:
        if last == _EXTEND_NUM:  # WB13b
            return True
        return before == _NUMERIC and (last == _MID_NUM or last == _MID_NUM_LET or last == _SINGLE)  # WB11
    if kind == _KATAKANA:
        return last == _KATAKANA or last == _EXTEND_NUM  # WB13, WB13b
    return kind == _EXTEND_NUM and (last == _KATAKANA or last == _EXTEND_NUM)  # WB13a


@kernel
def split_words(text, table, start, end, sentence):
    """Words: text between two boundaries that has a letter or a number in it.

    Args:
      text: uint8 [n], valid UTF-8; a sentence ends with a newline.
      start, end: int64 [room]; sentence: int64 [room + 1]; written.

    Returns:
      (tokens, sentences); (FULL, 0) where there is no room for all.
    """
    size, room = text.shape[0], start.shape[0]
    tokens, sentences = 0, 0
    sentence[0] = 0
    begin, has_word = 0, False
    before, last, previous = np.uint8(_LF), np.uint8(_LF), np.uint8(_LF)
    flags = 0  # consecutive regional indicators
    i = 0
    while i < size:
        properties = character_property(text, i, table)
        kind = properties & _CLASS
        if kind == _LETTER and last == _LETTER and previous == _LETTER:  # WB5: a shortcut for most of all text
            before = last
            i += character_length(text[i])
            continue
        after = i + character_length(text[i])
        hard = last == _CR or last == _LF or last == _NEWLINE
        if _is_attached(kind) and not hard:
            previous = kind
            i = after
            continue
        if kind == _CR or kind == _LF or kind == _NEWLINE or hard:
            joined = False  # WB3a, WB3b
        elif previous == _ZWJ and properties & PICTOGRAPH:
            joined = True  # WB3c
        elif kind == _RI and last == _RI:
            joined = flags % 2 == 1  # WB15, WB16: flags are pairs of regional indicators
        else:
            joined = _joined(before, last, kind, text, after, table)
        flags = flags + 1 if kind == _RI else 0
        if not joined:
            if has_word:
                if tokens == room:
                    return FULL, 0
                start[tokens], end[tokens] = begin, i
                tokens += 1
            begin, has_word = i, False
            if kind == _LF and tokens > sentence[sentences]:
                sentences += 1
                sentence[sentences] = tokens
        has_word = has_word or (properties & ALPHANUMERIC != 0 and not _is_attached(kind))
        before, last, previous = last, kind, kind
        i = after
    if has_word:
        if tokens == room:
            return FULL, 0
        start[tokens], end[tokens] = begin, size
        tokens += 1
    if tokens > sentence[sentences]:
        sentences += 1
        sentence[sentences] = tokens
    return tokens, sentences
