"""Words of any script: Unicode's boundaries, characters, normal forms, stop words, dictionaries."""

from __future__ import annotations

import importlib.util
import marshal
import os
import pickle
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commands import ROOT, TINY, train  # isort: skip
from pipeline.corpus.spans import as_array
from pipeline.corpus.tokenizers import dictionaries as languages
from pipeline.corpus.tokenizers.normalization import normalize
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.tokenizers.unicode_words import property_table
from pipeline.errors import InputError
from pipeline.kernels import word_break

TRICKY = "aé בא'’\".,:;_1٣ アー한語ひ\u0300\u200d\u00ad👩🇰🇷\r\u2028\u0903\u3000\u0085"
"""A character or more of every class of Unicode's word boundaries."""


def words(name, text, **options):
    return open_tokenizer(name, **options).sentences(text.encode())


def flat(sentences):
    return [word for sentence in sentences for word in sentence]


ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\n")


@given(st.text(st.sampled_from(TRICKY) | ANY, max_size=30))
@settings(deadline=None, max_examples=400)
def test_words_lie_between_the_boundaries_of_unicode(text):
    wordbreak = pytest.importorskip("uniseg.wordbreak")
    table = property_table()

    def is_known(character):
        """Whether both libraries' versions of Unicode agree."""
        name = word_break.CLASSES[table[ord(character)] & 31].replace("_", "").lower()
        theirs = wordbreak.word_break(character).name.replace("_", "").lower()
        return {"other": "other", "wsegspace": "other"}.get(theirs, theirs) == name

    def is_word(segment):
        kinds = [(table[ord(c)] & 31, table[ord(c)] & word_break.ALPHANUMERIC) for c in segment]
        return any(flag and word_break.CLASSES[kind] not in ("Extend", "ZWJ", "Format") for kind, flag in kinds)

    if all(map(is_known, text)):
        assert flat(words("unicode_words", text)) == [word for word in wordbreak.words(text) if is_word(word)]


def test_words_of_many_scripts():
    text = "Hello, world's  3.14 can’t e-mail a_b 1,000 x\n\n!?\nпривет мир 한국어 문장 テスト 日本 नमस्ते ãe\u0301 "
    text += "‏\u05d0\u05f4\u05d1\u05f3\n"
    assert words("unicode_words", text) == [
        ["Hello", "world's", "3.14", "can’t", "e", "mail", "a_b", "1,000", "x"],
        ["привет", "мир", "한국어", "문장", "テスト", "日", "本", "नमस्ते", "ãe\u0301", "\u05d0\u05f4\u05d1\u05f3"],
    ]
    assert words("unicode_words", "") == words("unicode_words", "\n \n") == []
    assert words("unicode_words", "a b c d e", max_sentence=2) == [["a", "b"], ["c", "d"], ["e"]]


def test_a_line_with_more_words_than_there_is_room_for():
    text = "語" * 100_000 + "\nlast"
    for name in ("unicode_words", "characters"):
        assert [len(s) for s in words(name, text, max_sentence=60_000)] == [60_000, 40_000, 4 if name[0] == "c" else 1]


@given(st.text(st.sampled_from(TRICKY + "ab\n"), max_size=40))
@settings(deadline=None)
def test_characters_are_all_that_is_not_white_space(text):
    found = words("characters", text)
    table = property_table()
    visible = "".join(c for c in text if not table[ord(c)] & word_break.WHITE)
    assert "".join(flat(found)) == visible
    assert all(found)


def test_characters_keep_their_marks():
    found = words("characters", "e\u0301한 a\n👩\u200d👧!\n\u0301b")
    assert found == [["e\u0301", "한", "a"], ["👩\u200d👧", "!"], ["\u0301", "b"]]


@pytest.mark.parametrize("name", ["whitespace", "unicode_words", "characters"])
@pytest.mark.parametrize("form", ["nfc", "nfkc"])
def test_normal_forms(name, form):
    plain = words(name, "café ﬁn Ｗｏｒｄ\nn", normal_form=form, lowercase=True)
    split_up = words(name, "cafe\u0301 ﬁn Ｗｏｒｄ\nN", normal_form=form, lowercase=True)
    assert plain == split_up
    assert ("word" in "".join(flat(plain))) == (form == "nfkc")
    assert plain[-1] == ["n"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(deadline=None)
def test_a_normal_form_keeps_the_lines(text):
    for form in ("nfc", "nfkc"):
        found = bytes(normalize(as_array(text.encode()), form)).decode()
        assert found.split("\n") == [unicodedata.normalize(form.upper(), line) for line in text.split("\n")]


def test_stop_words(tmp_path):
    (tmp_path / "stop").write_text("\ufeffthe\nOF\n\nCafe\u0301\nthe\n a \n", encoding="utf-8")
    options = {"stopwords": str(tmp_path / "stop"), "lowercase": True, "normal_form": "nfc"}
    text = "The end of the café\nof the a\nTHEN a long enough word, the\n"
    expected = [["end"], ["then", "long", "enough", "word,"]]
    assert words("whitespace", text, **options) == expected
    tokenizer = pickle.loads(pickle.dumps(open_tokenizer("whitespace", **options)))
    assert tokenizer.sentences(text.encode()) == expected
    first = open_tokenizer("whitespace", True, normal_form="nfc", stopwords=options["stopwords"]).identity()
    (tmp_path / "stop").write_text("other")
    assert (
        open_tokenizer("whitespace", True, normal_form="nfc", stopwords=options["stopwords"]).identity()["stopwords"]
        != first["stopwords"]
    )
    for content, message in ((b"\n \n", "holds no word"), (b"\xff", "is not UTF-8 text at byte 0")):
        (tmp_path / "stop").write_bytes(content)
        with pytest.raises(InputError, match=f"--stopwords=.*stop {message}"):
            open_tokenizer("whitespace", **options)
    with pytest.raises(InputError, match=r"--stopwords=.*none cannot be read"):
        open_tokenizer("whitespace", stopwords=str(tmp_path / "none"))


def test_identity_of_unicode_words():
    identity = open_tokenizer("unicode_words").identity()
    assert set(identity) == {"name", "table"}
    assert open_tokenizer("characters", normal_form="nfc").identity()["unicode"] == unicodedata.unidata_version


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("korean", "나는 학교에 간다.\n\n!\n책\n", [["나", "는", "학교", "에", "가", "ᆫ다"], ["책"]]),
        ("japanese", "私は本を読む。\n\n東京!\n", [["私", "は", "本", "を", "読む"], ["東京"]]),
        ("chinese", "我来到北京清华大学。\n\n你好,世界\n", [["我", "来到", "北京", "清华大学"], ["你好", "世界"]]),
    ],
)
def test_dictionaries(name, text, expected):
    for package in languages.PACKAGES[name]:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            pytest.skip(f"{package} is not installed")
    tokenizer = pickle.loads(pickle.dumps(open_tokenizer(name)))
    found = tokenizer.sentences(text.encode())
    assert [[unicodedata.normalize("NFC", word) for word in s] for s in found] == expected
    assert all(open_tokenizer(name).identity()["versions"].values())
    nul = tokenizer.sentences("가\0나 东\0京\n".encode())
    assert "".join(flat(nul)).replace("\0", "")


@pytest.mark.parametrize("name", languages.PACKAGES)
def test_a_missing_library_names_the_extra(name, monkeypatch, tmp_path):
    languages._load_korean.cache_clear()
    languages._load_chinese.cache_clear()
    for package in languages.PACKAGES[name]:
        monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(InputError, match=rf"--tokenizer={name} needs {languages.PACKAGES[name][0]}.*\[{name}\]"):
        open_tokenizer(name)
    (tmp_path / "text").write_text("text")
    outcome = train(f"--input={tmp_path / 'text'}", f"--output={tmp_path / 'run'}", f"--tokenizer={name}", *TINY)
    assert outcome.status == 2
    assert f"pip install 'beam2vec[{name}]'" in outcome.error


def test_a_run_in_words_of_unicode(tmp_path):
    rng = np.random.default_rng(0)
    text = "".join(f"단어{a}, слово{b}!\n" for a, b in rng.integers(0, 20, (400, 2)))
    (tmp_path / "text").write_text(text)
    (tmp_path / "stop").write_text("단어3\n")
    arguments = [f"--input={tmp_path / 'text'}", "--tokenizer=unicode_words", "--normalize=nfc", "--lowercase"]
    outcome = train(*arguments, f"--output={tmp_path / 'run'}", f"--stopwords={tmp_path / 'stop'}", *TINY)
    assert outcome.status == 0, outcome.stderr
    assert "39 words" in outcome.stdout
    again = train(*arguments, f"--output={tmp_path / 'run'}", *TINY)
    assert "--stopwords is not set, the run has" in again.error


def test_no_dictionary_is_taken_from_the_folder_for_temporary_files(tmp_path):
    """Where jieba looks for one, and anybody may have put it."""
    pytest.importorskip("jieba", reason="an extra")
    (tmp_path / "jieba.cache").write_bytes(marshal.dumps(({"来到北京": 10**9, "来": 0, "来到": 0, "来到北": 0}, 10**9)))
    load = "from pipeline.corpus.tokenizers.dictionaries import _load_chinese"
    script = f"{load}; print(*next(_load_chinese()(['我来到北京'])))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.stdout.split() == ["我", "来到", "北京"]
    assert [file.name for file in tmp_path.iterdir()] == ["jieba.cache"]
