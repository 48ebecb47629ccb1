"""Words of Korean, Japanese and Chinese."""

from __future__ import annotations

import importlib.util
import marshal
import os
import pickle
import subprocess
import sys
import unicodedata

import pytest

from tests.helpers.commands import ROOT, TINY, train  # isort: skip
from pipeline.corpus.tokenizers import dictionaries as languages
from pipeline.corpus.tokenizers.open_tokenizer import open_tokenizer
from pipeline.errors import InputError
from tests.helpers.tokenizing import flat


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
