"""Words of languages that do not put blanks between them, by libraries with dictionaries.

Each library is an extra of this package. Words without a letter or number are left out.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.corpus.tokenizers.tokenizer import LineTokenizer
from pipeline.errors import InputError

PACKAGES = {
    "korean": ("kiwipiepy", "kiwipiepy_model"),
    "japanese": ("fugashi", "unidic-lite"),
    "chinese": ("jieba",),
    "icu": ("icu4py",),
}
"""Tokeniser -> the packages that decide its words."""
ICU_RULES = 3
"""Version of the rules of `icu`."""
_WITHOUT_BLANKS = (
    r"\u0e01-\u0e3a\u0e40-\u0e4e",
    r"\u0e81-\u0ece\u0edc-\u0edf",
    r"\u1780-\u17d3\u17d7\u17dc\u17dd",
    r"\u1000-\u103f\u1050-\u108f\u109a-\u109f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f",
)
"""Letters and marks of Thai, Lao, Khmer and Burmese, as sets of a regular expression; without their digits."""
_JOINTS = [
    (re.compile(pattern), with_space)
    for own in _WITHOUT_BLANKS
    for pattern, with_space in (
        (rf"[{own}](?=[^\W_{own}])", "\\g<0>\u200b"),
        (rf"[{own}](?<=[^\W_{own}].)", "\u200b\\g<0>"),
    )
]
"""(a letter where one of these scripts meets a letter or digit of another, the same with a zero-width space between the
two): ICU takes both sides as one word. Each begins with a set, which makes the search fast."""

_local = threading.local()
_loading = threading.Lock()

Split = Callable[[list[str]], Iterable[list[str]]]


@dataclass(frozen=True)
class DictionaryTokenizer(LineTokenizer):
    """Words by a library.

    `korean`: kiwipiepy, morphemes. `japanese`: fugashi with UniDic, short units. `chinese`: jieba, words. `icu`: ICU's
    word boundaries, which know Thai, Lao, Khmer and Burmese by dictionaries, and other scripts by Unicode's rules.
    """

    @classmethod
    def checked(cls, *fields: Any) -> DictionaryTokenizer:
        """The tokeniser; InputError if its library is missing, with the extra to install."""
        tokenizer = cls(*fields)
        _LOADERS[tokenizer.name]()
        return tokenizer

    @property
    def rules(self) -> int:
        return ICU_RULES if self.name == "icu" else super().rules

    def own_identity(self) -> dict[str, Any]:
        own = versions(self.name)
        python = {"unicode": unicodedata.unidata_version}  # which characters are letters
        return {"name": self.name, "versions": own | _versions_within(self.name), **python}

    def tokens_of(self, lines: list[str]) -> Iterator[Any]:
        for words in _LOADERS[self.name]()(lines):
            yield [word for word in words if any(map(str.isalnum, word))]


def versions(name: str) -> dict[str, str]:
    """Package -> version."""
    return {package: importlib.metadata.version(package) for package in PACKAGES[name]}


def _versions_within(name: str) -> dict[str, str]:
    """Versions of what a package brings along, and what its words depend on."""
    if name != "icu":
        return {}
    import icu4py

    return {"ICU": icu4py.icu_version}


def _missing(name: str, error: Exception) -> InputError:
    return InputError(
        f"--tokenizer={name} needs {' and '.join(PACKAGES[name])} ({error}): pip install 'beam2vec[{name}]'"
    )


@functools.cache
def _load_korean() -> Split:
    try:
        from kiwipiepy import Kiwi
    except ImportError as error:
        raise _missing("korean", error) from error
    kiwi = Kiwi(num_workers=1)

    def split(lines: list[str]) -> Iterator[list[str]]:
        for line in lines:
            yield [token.form for token in kiwi.tokenize(line)]

    return split


def _load_japanese() -> Split:
    """Each thread gets its own tagger, because a tagger holds the current sentence."""
    try:
        import fugashi
        import unidic_lite  # noqa: F401  fugashi takes its dictionary from there
    except ImportError as error:
        raise _missing("japanese", error) from error
    tagger = getattr(_local, "tagger", None)
    if tagger is None:
        tagger = _local.tagger = fugashi.Tagger()

    def split(lines: list[str]) -> Iterator[list[str]]:
        for line in lines:
            yield [word.surface for word in tagger(line.replace("\0", " "))]

    return split


@functools.cache
def _load_chinese() -> Split:
    try:
        import jieba
    except ImportError as error:
        raise _missing("chinese", error) from error
    jieba.setLogLevel("WARNING")
    words = jieba.dt
    with _loading:
        # Not by initialize(): it would load jieba.cache from the folder for temporary files, where any user may have
        # put it. Reading the dictionary itself takes no longer.
        words.FREQ, words.total = words.gen_pfdict(words.get_dict_file())
        words.initialized = True
    return lambda lines: map(words.lcut, lines)


@functools.cache
def _load_icu() -> Split:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise _missing("icu", error) from error

    def split(lines: list[str]) -> Iterator[list[str]]:
        """All lines in one call, which costs as much as half a line: a line end is a boundary."""
        words: list[str] = []
        text = "\n".join(lines).replace("\r", " ")
        for joint, with_space in _JOINTS:
            text = joint.sub(with_space, text)
        for word in WordBreaker(text, ""):
            if word == "\n":
                yield words
                words = []
            else:
                words.append(word)
        yield words

    return split


_LOADERS: dict[str, Callable[[], Split]] = {
    "korean": _load_korean,
    "japanese": _load_japanese,
    "chinese": _load_chinese,
    "icu": _load_icu,
}
