"""Files -> sentences of words: cut into ranges, unpacked, read by format, split by a tokeniser."""
