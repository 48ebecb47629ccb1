"""Kernel that cuts UTF-8 text into characters as people see them: Unicode's extended grapheme clusters (UAX #29).

A property table (uint8 [0x110000], see `pipeline.corpus.tokenizers.unicode_words`) gives each code point its
Grapheme_Cluster_Break class in the low 4 bits, and flags.
"""

from __future__ import annotations

import numpy as np

from pipeline.kernels.compile import kernel
from pipeline.kernels.word_break import FULL, character_length, character_property

CLASSES = (
    "Other",
    "CR",
    "LF",
    "Control",
    "Extend",
    "ZWJ",
    "Regional_Indicator",
    "Prepend",
    "SpacingMark",
    "L",
    "V",
    "T",
    "LV",
    "LVT",
)
"""Grapheme_Cluster_Break's values; a code point's class is its value's place here."""
PICTOGRAPH, CONSONANT, LINKER, WHITE = 16, 32, 64, 128
"""Flags: Extended_Pictographic; Indic_Conjunct_Break is Consonant, Linker, or with both flags Extend; white space."""

_CR, _LF, _CONTROL, _EXTEND, _ZWJ, _RI, _PREPEND, _SPACING = 1, 2, 3, 4, 5, 6, 7, 8
_L, _V, _T, _LV, _LVT = 9, 10, 11, 12, 13
_CLASS, _CONJUNCT = 15, 96


@kernel(inline="always")
def _joined(last, kind, joins_pictographs, flags, joins_consonants, properties):
    """Whether there is no boundary between the classes `last` and `kind`. Rules are named as in UAX #29.

    `joins_pictographs` and `joins_consonants` say whether what stands before lets a pictograph or a consonant follow;
    `flags` is the number of regional indicators before.
    """
    if last == _CR or last == _LF or last == _CONTROL:  # GB3, GB4
        return last == _CR and kind == _LF
    if kind == _CR or kind == _LF or kind == _CONTROL:  # GB5
        return False
    if kind == _EXTEND or kind == _ZWJ or kind == _SPACING or last == _PREPEND:  # GB9, GB9a, GB9b
        return True
    if last == _L:  # GB6
        return kind == _L or kind == _V or kind == _LV or kind == _LVT
    if last == _LV or last == _V:  # GB7
        return kind == _V or kind == _T
    if last == _LVT or last == _T:  # GB8
        return kind == _T
    if kind == _RI:  # GB12, GB13: flags are pairs of regional indicators
        return last == _RI and flags % 2 == 1
    if properties & PICTOGRAPH:  # GB11
        return joins_pictographs
    return joins_consonants and properties & _CONJUNCT == CONSONANT  # GB9c


@kernel
def split_characters(text, table, start, end, sentence):
    """Clusters that are not white space. White space ends a cluster, and so do marks behind it begin one.

    Args:
      text: uint8 [n], valid UTF-8; a sentence ends with a newline.
      start, end: int64 [room]; sentence: int64 [room + 1]; written.

    Returns:
      (tokens, sentences); (FULL, 0) where there is no room for all.
    """
    size, room = text.shape[0], start.shape[0]
    tokens, sentences = 0, 0
    sentence[0] = 0
    opened = False
    last, flags = np.uint8(_LF), 0
    pictograph, conjunct = 0, 0  # how much of the left side of GB11 and of GB9c stands before: 0 nothing, 2 all of it
    i = 0
    while i < size:
        properties = character_property(text, i, table)
        kind = properties & _CLASS
        after = i + character_length(text[i])
        if properties & WHITE:
            if text[i] == 10 and tokens > sentence[sentences]:
                sentences += 1
                sentence[sentences] = tokens
            opened = False
            pictograph, conjunct = 0, 0
        elif opened and _joined(last, kind, pictograph == 2, flags, conjunct == 2, properties):
            end[tokens - 1] = after
        else:
            if tokens == room:
                return FULL, 0
            start[tokens], end[tokens] = i, after
            tokens += 1
            opened = True
        if properties != 0:
            flags = flags + 1 if kind == _RI else 0
            if properties & PICTOGRAPH:
                pictograph = 1
            elif kind == _ZWJ and pictograph == 1:
                pictograph = 2
            elif kind != _EXTEND or pictograph == 2:
                pictograph = 0
            in_conjunct = properties & _CONJUNCT
            if in_conjunct == CONSONANT:
                conjunct = 1
            elif in_conjunct == 0:
                conjunct = 0
            elif in_conjunct == LINKER and conjunct == 1:
                conjunct = 2
        else:
            flags, pictograph, conjunct = 0, 0, 0
        last = kind
        i = after
    if tokens > sentence[sentences]:
        sentences += 1
        sentence[sentences] = tokens
    return tokens, sentences
