"""Files of word pairs and analogies as they are published and as people save them: the right columns, or a refusal."""

from __future__ import annotations

import gzip

import pytest

from pipeline.analysis.judgements import read_analogies, read_pairs
from pipeline.errors import InputError


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "file.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


LOVE = [("love", "sex", 6.77), ("tiger", "cat", 7.35), ("tiger", "tiger", 10.0)]
OLD = [("old", "new", 1.58), ("smart", "intelligent", 9.2), ("plane", "jet", 8.1)]
GEM = [("gem", "jewel", 3.94), ("cord", "smile", 0.02), ("midday", "noon", 3.94)]
FORMS = {
    "WordSim-353, combined.csv": (
        "Word 1,Word 2,Human (mean)\nlove,sex,6.77\ntiger,cat,7.35\ntiger,tiger,10.00\n",
        LOVE,
    ),
    "combined.tab": (
        "Word 1\tWord 2\tHuman (mean)\r\nlove\tsex\t6.77\r\ntiger\tcat\t7.35\r\ntiger\ttiger\t10.00\r\n",
        LOVE,
    ),
    "set1.csv": (
        "Word 1,Word 2,Human (mean),1,2,3\nlove,sex,6.77,9,6,8\ntiger,cat,7.35,9,7,8\ntiger,tiger,10.00,10,10,10\n",
        LOVE,
    ),
    "wordsim_similarity_goldstandard.txt": ("love\tsex\t6.77\ntiger\tcat\t7.35\ntiger\ttiger\t10.00\n", LOVE),
    "pandas, with an index": (
        ",word1,word2,similarity\n0,love,sex,6.77\n1,tiger,cat,7.35\n2,tiger,tiger,10.0\n",
        LOVE,
    ),
    "pandas, tab-separated": (
        "\tWord 1\tWord 2\tHuman (Mean)\n0\tlove\tsex\t6.77\n1\ttiger\tcat\t7.35\n2\ttiger\ttiger\t10.0\n",
        LOVE,
    ),
    "an index with a name": (
        "id;word_1;word_2;mean_score\n1;love;sex;6.77\n2;tiger;cat;7.35\n3;tiger;tiger;10\n",
        LOVE,
    ),
    "the score comes first": ("Score,Word1,Word2\n6.77,love,sex\n7.35,tiger,cat\n10,tiger,tiger\n", LOVE),
    "the header is a comment": (
        "# s: synonyms\n#Relation\tWord 1\tWord 2\tScore\n"
        "t\tlove\tsex\t6.77\nh\ttiger\tcat\t7.35\ni\ttiger\ttiger\t10\n",
        LOVE,
    ),
    "a count behind the score, with a comma": ("love;sex;6.77;1,300\ntiger;cat;7.35;2,9\ntiger;tiger;10;1,1\n", LOVE),
    "in quotes": ('"word1","word2","score"\n"love","sex","6.77"\n"tiger", "cat", 7.35\ntiger,"tiger",10\n', LOVE),
    "in quotes, with blanks": ('"love" "sex" 6.77\n"tiger"  "cat" 7.35\ntiger "tiger" 10\n', LOVE),
    "the same header twice": ("word,word,score\nlove,sex,6.77\ntiger,cat,7.35\ntiger,tiger,10\n", LOVE),
    "Korean": (
        "단어1,단어2,유사도\n사랑,섹스,6.77\n호랑이,고양이,7.35\n",
        [("사랑", "섹스", 6.77), ("호랑이", "고양이", 7.35)],
    ),
    "SimLex-999.txt": (
        "word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)\tSimAssoc333\tSD(SimLex)\n"
        "old\tnew\tA\t1.58\t2.72\t2.81\t2\t7.25\t1\t0.41\n"
        "smart\tintelligent\tA\t9.2\t1.75\t2.46\t1\t7.11\t1\t0.67\n"
        "plane\tjet\tN\t8.1\t4.98\t4.94\t4\t6.62\t1\t1.12\n",
        OLD,
    ),
    "SimLex-999 without its header": (
        "old\tnew\tA\t1.58\t2.72\nsmart\tintelligent\tA\t9.2\t1.75\nplane\tjet\tN\t8.1\t4.98\n",
        OLD,
    ),
    "a part of speech of another alphabet": ("old,new,Adj.,1.58\nsmart,intelligent,ADJ,9.2\nplane,jet,NOUN,8.1\n", OLD),
    "SimVerb-3500.txt": (
        "take\tremove\tV\t6.81\tSYNONYMS\nwalk\ttrail\tV\t4.81\tCOHYPONYMS\nfeed\tstarve\tV\t1.49\tANTONYMS\n",
        [("take", "remove", 6.81), ("walk", "trail", 4.81), ("feed", "starve", 1.49)],
    ),
    "rw.txt": (
        "squishing\tsquirt\t5.88\t7\t7\t6\t1\t4\t6\t6\t7\t5\t9\nundated\tundatable\t5.83\t10\t9\t6\t5\t1\t2\t5\t7\t6\t7\n",
        [("squishing", "squirt", 5.88), ("undated", "undatable", 5.83)],
    ),
    "MEN_dataset_natural_form_full": (
        "sun sunlight 50.000000\nautomobile car 50.000000\nriver water 49.000000\n",
        [("sun", "sunlight", 50), ("automobile", "car", 50), ("river", "water", 49)],
    ),
    "MEN_dataset_lemma_form_full": ("sun-n sunlight-n 50.000000\n", [("sun-n", "sunlight-n", 50)]),
    "MTURK-771.csv": (
        "access,gateway,3.79166666666667\naccount,explanation,2.0\n",
        [("access", "gateway", 3.79166666666667), ("account", "explanation", 2)],
    ),
    "RG-65 with semicolons": ("gem;jewel;3.94\ncord;smile;0.02\nmidday;noon;3.94\n", GEM),
    "RG-65 with tabs": ("gem\tjewel\t3.94\r\ncord\tsmile\t0.02\r\nmidday\tnoon\t3.94", GEM),
    "RG-65 with bars": ("gem | jewel | 3.94\ncord|smile|0.02\nmidday|noon|3.94\n", GEM),
    "MC-30, lines of an old Mac, with a mark": (
        b"\xef\xbb\xbfgem jewel 3.94\rcord smile 0.02\rmidday noon 3.94\r",
        GEM,
    ),
    "empty columns at the end": ("gem,jewel,3.94,,\ncord,smile,0.02,,\nmidday,noon,3.94,,\n", GEM),
    "an unknown header over one number": (
        "alpha\tbeta\tgamma\ngem\tjewel\t3.94\ncord\tsmile\t.02\nmidday\tnoon\t394e-2\n",
        GEM,
    ),
    "packed": (gzip.compress(b"gem;jewel;3.94\ncord;smile;0.02\nmidday;noon;3.94\n"), GEM),
}


@pytest.mark.parametrize("form", FORMS)
def test_published_forms_are_read_by_their_shape(write, form):
    text, wanted = FORMS[form]
    judged = read_pairs(write(text))
    assert [(*pair, score) for pair, score in zip(judged.pairs, judged.similarity)] == wanted
    assert judged.invalid == (form == "an unknown header over one number")


REFUSED = {
    "wordsim353_agreed.txt": (
        "# relations: t is topical\nt\tlove\tsex\t6.77\nh\ttiger\tcat\t7.35\ni\ttiger\ttiger\t10.00\n",
        r"line 2 is 't\\tlove\\tsex\\t6.77': this is not two words and a number; .*--pairs_columns=2,3,4",
    ),
    "an index without a header": ("1,gem,jewel,3.94\n2,cord,smile,0.02\n", r"line 1 .*--pairs_columns=2,3,4"),
    "an index between": (
        "gem,jewel,1,3.94\ncord,smile,2,0.02\n",
        r"line 1 .* column 3 counts the lines.*--pairs_columns=1,2,4",
    ),
    "an index for a score": ("gem jewel 1\ncord smile 2\nmidday noon 3\n", "column 3 counts the lines"),
    "an index from 0": ("gem jewel 0 3.94\ncord smile 1 0.02\nmidday noon 2 3.94\n", "column 3 counts the lines"),
    "an index for a score, as pandas has it": ("gem jewel 1.0\ncord smile 2.0\nmidday noon 3.0\n", "column 3 counts"),
    "an index for a word": ("1 jewel 3.94\n2 smile 0.02\n3 noon 3.94\n", "column 1 counts the lines"),
    "an index under the name of the score": ("w1,w2,score\na,b,1\nc,d,2\ne,f,3\n", "column 3 counts the lines"),
    "a header that names two scores": (
        "word1,word2,similarity,relatedness\ngem,jewel,3.9,1.5\ncord,smile,0.02,2.5\n",
        r"line 1 .*does not name the score",
    ),
    "a header that names none": (
        "left,right,foo,bar\ngem,jewel,3.9,1.5\ncord,smile,0.02,2.5\n",
        r"line 1 .*--pairs_columns=1,2,3",
    ),
    "a header of R, which leaves the index out": (
        "word1\tword2\tscore\n1\tgem\tjewel\t3.94\n2\tcord\tsmile\t0.02\n",
        r"line 2 .*it has 4 columns, and the header has 3",
    ),
    "an index from the middle of a data set, behind the words": (
        "gem\tjewel\t100\t3.94\ncord\tsmile\t101\t0.02\nnoon\tstring\t102\t0.08\n",
        "line 1 .*column 3 counts the lines.*--pairs_columns=1,2,4",
    ),
    "commas between thousands": ("gem\tjewel\t3,940.5\ncord\tsmile\t20\n", "3,940.5 has commas between its digits"),
    "commas between millions": ("gem\tjewel\t3,940,100\ncord\tsmile\t20\n", "leave them out"),
    "a decimal comma": ("gem;jewel;3,94\ncord;smile;0,02\n", r"line 1 .*3,94 has a decimal comma"),
    "a decimal comma with blanks": ("gem jewel 4\ncord smile 0,02\n", r"line 2 .*0,02 has a decimal comma"),
    "a decimal comma behind a part of speech": ("gem\tjewel\tN\t3,94\n", "3,94 has a decimal comma"),
    "a decimal comma in quotes": ('gem,jewel,"3,94"\n', "3,94 has a decimal comma"),
    "a decimal comma among commas": (
        "gem,jewel,3,94\ncord,smile,0,02\nmidday,noon,4\n",
        r"line 1 .*if this is a decimal comma, write a point",
    ),
    "a decimal comma under a header": (
        "word1,word2,score\ngem,jewel,3,94\n",
        r"line 2 .*a decimal comma must be a point",
    ),
    "words of two words, with blanks": ("gem jewel 3.94\nnew york city 3\n", r"line 2 is 'new york city 3'"),
    "a number behind a text": ("gem jewel 1 x 3.94\ncord smile 2 x 0.02\n", "line 1"),
    "commas and blanks": ("gem, jewel 3.94\ncord, smile 0.02\n", "line 1"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_does_not_show_its_columns_is_refused_with_the_line(write, form):
    text, why = REFUSED[form]
    uri = write(text)
    with pytest.raises(InputError, match=why) as error:
        read_pairs(uri)
    assert str(error.value).startswith(f"{uri}: line ")


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("q1\tgem\tjewel\t3.94", "2,3,4"),
        ("noun\tgem\tjewel\t3.94", "2,3,4"),
        ("3.94\tgem\tjewel", "2,3,1"),
        ("gem\t3.94\tjewel", "1,3,2"),
        ("gem\tjewel\tsimilar\t3.94", "2,3,4"),
        ("1\tgem\t3\tjewel\t3.94", "2,4,5"),
        ("a\tb\tc\t1", "2,3,4"),
    ],
)
def test_the_columns_that_look_like_it_are_suggested(write, line, columns):
    with pytest.raises(InputError, match=f"like --pairs_columns={columns}$"):
        read_pairs(write(f"{line}\n{line}"))


def test_columns_that_are_named_count(write):
    uri = write(REFUSED["wordsim353_agreed.txt"][0])
    judged = read_pairs(uri, (1, 2, 3))
    assert [(*pair, score) for pair, score in zip(judged.pairs, judged.similarity)] == LOVE
    assert judged.columns == (1, 2, 3)
    assert read_pairs(write("gem,jewel,1\ncord,smile,2\nmidday,noon,3\n"), (0, 1, 2)).similarity.tolist() == [1, 2, 3]
    with pytest.raises(InputError, match=r"two words and a number in the columns 5, 6, 7 of --pairs"):
        read_pairs(uri, (4, 5, 6))


@pytest.mark.parametrize("above", ["sep=;", "WordSim-353", "WordSim-353;agreed"])
def test_a_header_may_stand_below_a_title(write, above):
    judged = read_pairs(write(f"{above}\n;word1;word2;score\n7;gem;jewel;3.94\n8;cord;smile;0.02\n"))
    assert judged.similarity.tolist() == [3.94, 0.02]
    assert (judged.invalid, judged.columns) == (1, (1, 2, 3))


def test_a_header_is_none_of_the_lines_left_out(write):
    text = "word1,word2,old,new\ngem,jewel,1,3.94\ncord,smile,1,0.02\n"
    judged = read_pairs(write(text.replace("old", "similarity").replace("new", "score")), (0, 1, 3))
    assert (judged.similarity.tolist(), judged.invalid) == ([3.94, 0.02], 1)
    judged = read_pairs(write(text.replace("old", "similarity")), (0, 1, 3))
    assert (judged.similarity.tolist(), judged.invalid) == ([3.94, 0.02], 0)


def test_lines_that_are_no_pair_are_counted(write):
    judged = read_pairs(write("gem jewel 3.94\n\nnobody\n# told\n  stairs   railing  41\ncord smile NA\ncat dog nan\n"))
    assert judged.pairs == [("gem", "jewel"), ("stairs", "railing")]
    assert (judged.invalid, judged.first_invalid) == (3, "line 3, 'nobody'")


def test_a_score_that_is_missing_does_not_hide_an_index(write):
    with pytest.raises(InputError, match="column 3 counts the lines"):
        read_pairs(write("w1,w2,score\na,b,1\nc,d,2\ne,f,\ng,h,3\n"))


def test_a_long_line_with_a_quote_is_read(write):
    judged = read_pairs(write('gem,jewel,3.94\n"' + "x" * 200_000 + '",noon,1\n'))
    assert len(judged.pairs[1][0]) >= 200_000
    assert judged.similarity.tolist() == [3.94, 1]


@pytest.mark.parametrize(
    "text",
    [
        "love\tsex\t6.77\nnew york\tcity\t3\n",
        "Word 1,Word 2,Human (mean)\r\nlove,sex,6.77\r\nnew york,city,3\r\n",
        b"\xef\xbb\xbflove\tsex\t6.77\r\n\r\n# told\r\nnew york\tcity\t3.0",
        "word1\tword2\tPOS\tscore\tsd\nlove\tsex\tN\t6.77\t1\nnew york\tcity\tN\t3\t2",
    ],
)
def test_pairs_are_read_from_files_as_they_come(write, text):
    judged = read_pairs(write(text))
    assert judged.pairs == [("love", "sex"), ("new york", "city")]
    assert judged.similarity.tolist() == [6.77, 3]


def test_analogies_need_no_section(write):
    analogies = read_analogies(write(b"\xef\xbb\xbfa b c d\n: next one\ne f g h\r\n"))
    assert analogies.sections == [("", [("a", "b", "c", "d")]), ("next one", [("e", "f", "g", "h")])]


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "cat\ndog\n", "cat\tdog\n", "cat,dog,nan"])
def test_a_file_without_pairs_is_named(write, text):
    uri = write(text)
    with pytest.raises(InputError, match="holds no word pairs") as error:
        read_pairs(uri)
    assert uri in str(error.value)


def test_a_file_without_analogies_is_named_with_its_first_line(write):
    with pytest.raises(InputError, match=r"holds no analogies.* the first line is 'love\\tsex"):
        read_analogies(write("love\tsex\t6.77"))


def test_other_than_utf8_is_refused(write):
    with pytest.raises(InputError, match="not UTF-8 text at byte 1"):
        read_pairs(write("lé\tsex\t6.77".encode("latin-1")))


def test_lines_that_are_no_analogy_are_counted(write):
    text = b": first \r\na b c d\r\n\r\nonly three words\r\nA B C D\r\nnow there are five words\r\n:second\r\ne f g h"
    analogies = read_analogies(write(text))
    assert analogies.sections == [
        ("first", [("a", "b", "c", "d"), ("A", "B", "C", "D")]),
        ("second", [("e", "f", "g", "h")]),
    ]
    assert (analogies.invalid, analogies.first_invalid) == (2, "line 4, 'only three words'")


def test_an_index_is_no_word_of_an_analogy(write):
    with pytest.raises(InputError, match="the first of the four words of a line counts the lines"):
        read_analogies(write("1 a b c\n2 d e f\n3 g h i\n"))
