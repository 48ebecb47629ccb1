"""The examples run as their first lines say, and the planted structure is found."""

from __future__ import annotations

import importlib.util
import re
import shlex

import duckdb
import numpy as np
import pytest

from beam2vec import Run
from examples import baskets, duckdb_table, json_articles, korean_text, sessions, several_languages
from pipeline.corpus.files import match_inputs
from pipeline.model.neighbors import nearest
from tests.helpers.commands import ROOT, train
from tests.helpers.formats import counted, options


def command_of(example, tmp_path, *more):
    """The training command in an example's docstring, with its files in tmp_path."""
    text = example.__doc__.replace("\\\n", " ")
    (line,) = re.findall(r"beam2vec train (.*)", text)
    arguments = [re.sub(r"^(--(?:input|output)=)", rf"\1{tmp_path}/", argument) for argument in shlex.split(line)]
    return train(*arguments, *more)


def near(run, word, k=4):
    words = run.words()
    ids, _ = nearest(run.vectors(), np.array([words.index(word)]), k)
    return [words[i] for i in ids[0]]


def test_items_of_a_kind_are_neighbors(tmp_path, capsys):
    baskets.main([str(tmp_path / "baskets.parquet")])
    outcome = command_of(baskets, tmp_path)
    assert outcome.status == 0, outcome.stderr
    run = Run.open(str(tmp_path / "runs" / "baskets"))
    items = [int(word) for word in run.words()]
    assert len(items) == len(baskets.KINDS) * baskets.ITEMS
    ids, _ = nearest(run.vectors(), np.arange(len(items)), baskets.ITEMS - 1)
    same = [[items[i] // 1000 == items[row] // 1000 for i in found] for row, found in enumerate(ids)]
    assert np.mean(same) > 0.95
    baskets.main([str(tmp_path / "baskets.parquet"), str(tmp_path / "runs" / "baskets")])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(baskets.KINDS)
    assert shown[1].count("fish") == 6


def test_a_long_table_becomes_lists_by_the_statement_of_the_page(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r'^    python -c "(import duckdb; .*COPY.*)"$', page, re.MULTILINE)
    sales = [(f"c{i % 50}", f"item {i * 7 % 11}", 1000 - i // 100 * 100) for i in range(1000)]
    lines = [f"{c},{i},{t}\n" for c, i, t in sales]
    lines[500:500] = ["c7,,3\n", ",item 3,4\n"] * 9
    (tmp_path / "sales.csv").write_text("customer,item,time\n" + "".join(lines))
    monkeypatch.chdir(tmp_path)
    exec(statement.replace('\\"', '"'), {})
    in_order = sorted(sales, key=lambda sale: (sale[2], sale[1]))
    baskets = {c: [item for customer, item, _ in in_order if customer == c] for c, _, _ in sales}
    files = match_inputs([str(tmp_path / "baskets.parquet")])
    assert counted(files, options("parquet", "items"))[0] == [baskets[customer] for customer in sorted(baskets)]
    lists = []
    for order in (1, -1):  # items of the same time: their order depended on that of the rows, and on threads
        rows = [f"{c},{i},{t // 300}\n" for c, i, t in sales[::order]]
        (tmp_path / "sales.csv").write_text("customer,item,time\n" + "".join(rows))
        exec(statement.replace('\\"', '"'), {})
        lists.append(counted(match_inputs([str(tmp_path / "baskets.parquet")]), options("parquet", "items"))[0])
    assert lists[0] == lists[1]


def test_words_of_json_lines(tmp_path):
    json_articles.main(str(tmp_path / "topics.jsonl"))
    outcome = command_of(json_articles, tmp_path, "--epochs=2")
    assert outcome.status == 0, outcome.stderr
    assert "string" in Run.open(str(tmp_path / "runs" / "json_articles")).words()


@pytest.mark.parametrize("tokenizer", ["korean", "unicode_words"])
def test_korean_words(tokenizer, tmp_path):
    if tokenizer == "korean" and importlib.util.find_spec("kiwipiepy") is None:
        pytest.skip("kiwipiepy is not installed")
    path = tmp_path / "korean.txt"
    korean_text.main(str(path))
    more = []
    if tokenizer == "korean":  # whose library takes a second for a thousand lines
        path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:800]), "utf-8")
        more = ["--epochs=25"]
    outcome = command_of(korean_text, tmp_path, f"--tokenizer={tokenizer}", *more)
    assert outcome.status == 0, outcome.stderr
    run = Run.open(str(tmp_path / "runs" / "korean"))
    if tokenizer == "korean":
        fruit = {"사과", "포도", "수박", "딸기", "복숭아", "과일", "가게", "시장", "부엌", "먹", "씻", "깎"}
        assert len(fruit & set(near(run, "사과"))) >= 3
    else:
        assert {"사과를", "사과하고"} <= set(run.words())


def test_rows_of_a_table_of_duckdb(tmp_path):
    """Words and rows that `beam2vec train` has for the same sentences, but for positions and with them draws."""
    sentences = [["a", "rose", "is", f"w{i % 40}"] for i in range(400)]
    with duckdb.connect(tmp_path / "texts.duckdb") as connection:
        connection.execute("CREATE TABLE articles (body VARCHAR[])")
        connection.executemany("INSERT INTO articles VALUES (?)", [[sentence] for sentence in [*sentences, None]])
    duckdb_table.main([str(tmp_path / "texts.duckdb"), "articles", "body", str(tmp_path / "rows")])
    (words,) = (tmp_path / "rows").glob("words-*.txt")
    listed = words.read_text().split("\n")[:-1]
    assert listed[:3] == ["a", "is", "rose"]
    assert len(listed) == 43
    rows = duckdb.sql(f"SELECT context, target, negatives FROM '{tmp_path}/rows/batches-*.parquet'").fetchall()
    assert len(rows) > 10
    for context, target, negatives in rows:
        assert {listed[word] for word in (*context, target)} & {"a", "rose", "is"}
        assert len(negatives) == 5
        assert target not in negatives


def test_pages_that_are_visited_one_after_the_other_are_neighbors(tmp_path, capsys):
    sessions.main([str(tmp_path / "sessions.jsonl")])
    outcome = command_of(sessions, tmp_path)
    assert outcome.status == 0, outcome.stderr
    run = Run.open(str(tmp_path / "runs" / "sessions"))
    assert len(run.words()) == len(sessions.DEPARTMENTS) * sessions.PAGES
    close = [sessions.are_close(page, other) for page in run.words() for other in near(run, page, 2)]
    assert np.mean(close) > 0.9
    assert not sessions.are_close("books/0", "music/0")
    sessions.main([str(tmp_path / "sessions.jsonl"), str(tmp_path / "runs" / "sessions")])
    assert capsys.readouterr().out.count("/") == 5 * len(sessions.DEPARTMENTS)


def test_words_of_three_languages_keep_to_their_own(tmp_path, capsys):
    several_languages.main([str(tmp_path / "languages.txt")])
    outcome = command_of(several_languages, tmp_path)
    assert outcome.status == 0, outcome.stderr
    run = Run.open(str(tmp_path / "runs" / "languages"))
    languages = {word: several_languages.language_of(word) for word in run.words()}
    assert languages["사과를"] == "korean"
    assert languages["bus"] == "several"
    alone = [word for word, language in languages.items() if language in several_languages.SCENES]
    assert len(alone) > 60
    same = [languages[other] == languages[word] for word in alone for other in near(run, word)]
    assert np.mean(same) > 0.9
    several_languages.main([str(tmp_path / "languages.txt"), str(tmp_path / "runs" / "languages")])
    assert len(capsys.readouterr().out.splitlines()) == 3
