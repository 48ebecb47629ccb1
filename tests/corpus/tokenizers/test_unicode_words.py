"""Words and characters by Unicode's rules."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.commands import TINY, train  # isort: skip
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.corpus.tokenizers.tokenizer import RULES
from pipeline.corpus.tokenizers.unicode_words import CHARACTER_RULES, MARKS, cluster_table, property_table
from pipeline.kernels import clusters, word_break
from tests.helpers.tokenizing import flat, words

TRICKY = "aé בא'’\".,:;_1٣ アー한語ひ\u0300\u200d\u00ad👩🇰🇷\r\u2028\u0903\u3000\u0085"
"""A character or more of every class of Unicode's word boundaries."""


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
        read = text.translate(dict.fromkeys(MARKS)).replace("\ufeff", " ")
        assert flat(words("unicode_words", text)) == [word for word in wordbreak.words(read) if is_word(word)]


@pytest.mark.parametrize("mark", MARKS)
def test_no_word_and_no_character_has_an_invisible_mark(mark):
    mark = chr(mark)
    text = f"{mark}Ge{mark}bir{mark * 2}ge und{mark} {mark}\n" + "x" * 61 + mark + "y\n" + "é" * 40 + mark + "!"
    plain = text.replace(mark, "")
    for name in ("unicode_words", "characters"):
        for options in ({}, {"lowercase": True, "normal_form": "nfkc"}):
            assert words(name, text, **options) == words(name, plain, **options)
    assert words("whitespace", f"Ge{mark}birge") == [[f"Ge{mark}birge"]]  # which takes text as it is


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
def test_joiners_stay_in_words(joiner):
    for name in ("whitespace", "unicode_words"):
        assert words(name, f"می{joiner}خواهم") == [[f"می{joiner}خواهم"]]


@pytest.mark.parametrize("name", ["whitespace", "unicode_words", "characters", "tests.helpers.tokenizing:of_blanks"])
def test_the_mark_between_two_joined_files_is_white_space(name):
    for text in ("ab\ufeffcd\ufeff\n\ufeffe", "x" * 62 + "\ufeffcd\n" + "é" * 30 + "\ufeff"):
        assert words(name, text) == words(name, text.replace("\ufeff", " "))


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
    visible = "".join(c for c in text if not table[ord(c)] & word_break.WHITE and ord(c) not in MARKS)
    assert "".join(flat(found)) == visible
    assert all(found)


CLUSTERS = "a\u0300\u200d👩👧🏽🇰🇷🇩#\ufe0f\u20e3\u0915\u094d\u0924\u0903\u0600각\u1100\u1161\u11a8가\r\u0085\0"
"""Code points of every class of Unicode's grapheme clusters."""


@given(st.text(st.sampled_from(CLUSTERS), max_size=12) | st.text(st.sampled_from(CLUSTERS) | ANY, max_size=30))
@settings(deadline=None, max_examples=600)
def test_characters_are_the_grapheme_clusters_of_unicode(text):
    theirs = pytest.importorskip("uniseg.graphemecluster")
    table = cluster_table()

    def is_known(character):
        """Whether both libraries' versions of Unicode agree."""
        name = clusters.CLASSES[table[ord(character)] & 15].replace("_", "").lower()
        return theirs.grapheme_cluster_break(character).name.replace("_", "").lower() == name

    text = "".join(c for c in text if not table[ord(c)] & clusters.WHITE and ord(c) not in MARKS and is_known(c))
    assert flat(words("characters", text)) == list(theirs.grapheme_clusters(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("🇰🇷🇩🇪🇫", ["🇰🇷", "🇩🇪", "🇫"]),
        ("👍🏽👩‍👩‍👧‍👦!", ["👍🏽", "👩‍👩‍👧‍👦", "!"]),
        ("1\ufe0f\u20e3#\ufe0f\u20e3", ["1\ufe0f\u20e3", "#\ufe0f\u20e3"]),
        ("क्षत्रिय", ["क्ष", "त्रि", "य"]),
        ("\u1112\u1161\u11ab글", ["\u1112\u1161\u11ab", "글"]),
        ("กำน้ำ", ["กำ", "น้ำ"]),
        ("🇰 🇷", ["🇰", "🇷"]),
        ("👩\u200d\u0301👧", ["👩\u200d\u0301", "👧"]),
    ],
    ids=["flags", "skin and family", "keycaps", "conjuncts", "Hangul", "Thai", "halves apart", "no joiner"],
)
def test_flags_families_and_conjuncts_are_characters(text, expected):
    assert words("characters", text) == [expected]


def test_decomposed_hangul_is_composed_by_a_normal_form():
    text = "\u1112\u1161\u11ab글"
    assert words("characters", text) != words("characters", "한글")
    assert words("characters", text, normal_form="nfc") == words("characters", "한글")


def test_characters_keep_their_marks():
    found = words("characters", "e\u0301한 a\n👩\u200d👧!\n\u0301b")
    assert found == [["e\u0301", "한", "a"], ["👩\u200d👧", "!"], ["\u0301", "b"]]


def test_identity_of_unicode_words():
    identity = open_tokenizer("unicode_words").identity()
    assert set(identity) == {"name", "rules", "table"}
    characters = open_tokenizer("characters").identity()
    assert (identity["rules"], characters["rules"]) == (RULES, CHARACTER_RULES)
    assert identity["table"] != characters["table"]
    assert open_tokenizer("characters", normal_form="nfc").identity()["unicode"] == unicodedata.unidata_version


THAI = "ภาษาไทยเป็นภาษาที่มีคนพูดมาก"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (THAI, "Thai"),
        ("ພາສາລາວເປັນພາສາທາງການ", "Lao"),
        ("ភាសាខ្មែរជាភាសាផ្លូវការ", "Khmer"),
        ("မြန်မာဘာသာစကားသည်တရားဝင်", "Burmese"),
        ("some English words about it " * 9 + THAI, "Thai"),
    ],
)
def test_scripts_without_blanks_are_told(text, name, tmp_path):
    tokenizer = open_tokenizer("unicode_words")
    hint = tokenizer.hint(lambda: words("unicode_words", text))
    assert hint.startswith(f"has {name} text, which puts no blanks between words")
    assert "--tokenizer=icu finds the words (pip install 'beam2vec[icu]')" in hint
    assert open_tokenizer("characters").hint(lambda: [[THAI]]) == ""


@pytest.mark.parametrize("text", ["", "한국어 문장 日本 テスト 1 2", "some English words, " * 60 + THAI, "🇰🇷 !"])
def test_other_text_is_not_told(text):
    assert open_tokenizer("unicode_words").hint(lambda: words("unicode_words", text)) == ""


def test_a_run_in_words_of_unicode(tmp_path):
    rng = np.random.default_rng(0)
    text = "".join(f"단어{a}, слово{b}!\n" for a, b in rng.integers(0, 20, (400, 2)))
    (tmp_path / "text").write_text(text)
    (tmp_path / "stop").write_text("단어3\n")
    arguments = [f"--input={tmp_path / 'text'}", "--tokenizer=unicode_words", "--normalize=nfc", "--lowercase"]
    outcome = train(*arguments, f"--output={tmp_path / 'run'}", f"--stopwords={tmp_path / 'stop'}", *TINY)
    assert outcome.status == 0, outcome.stderr
    assert "39 words" in outcome.stdout
    assert "blanks between words" not in outcome.stderr
    (tmp_path / "thai").write_text(THAI + "\n")
    told = train(f"--input={tmp_path / 'thai'}", *arguments[1:], f"--output={tmp_path / 'plan'}", "--dry_run", *TINY)
    assert f"note: {tmp_path / 'thai'} has Thai text, which puts no blanks between words" in told.stdout
    again = train(*arguments, f"--output={tmp_path / 'run'}", *TINY)
    assert "--stopwords is not set, the run has" in again.error
