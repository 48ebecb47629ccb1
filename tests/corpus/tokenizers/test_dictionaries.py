"""Words of languages without blanks between them."""

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
        ("icu", "ภาษาไทยดี, don't\n\n!\nພາສາລາວ 3.5\r\n", [["ภาษา", "ไทย", "ดี", "don't"], ["ພາສາ", "ລາວ", "3.5"]]),
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


DECLARATION = {
    "Thai": "มนุษย์ ทั้งหลาย เกิด มา มี อิสระ และ เสมอภาค กัน ใน เกียรติศักดิ์ และ สิทธิ ต่าง มี เหตุผล และ มโนธรรม และ ควร ปฏิบัติ ต่อ กัน"
    " ด้วย เจตนารมณ์ แห่ง ภราดรภาพ",
    "Lao": "ມະນຸດ ເກີດ ມາ ມີ ສິດ ເສລີພາບ ແລະ ສະເໝີໜ້າ ກັນ ໃນ ທາງ ກຽດສັກສີ ແລະ ທາງ ສິດ ດ້ວຍ ມະນຸດ ມີ ສະຕິ ແລະ ມີ ມະໂນທຳ ຈຶ່ງ ຕ້ອງ"
    " ປະພຶດ ຕົນ ຕໍ່ ກັນ ໃນ ທາງ ພີ່ນ້ອງ",
    "Khmer": "មនុស្ស ទាំងអស់ កើត មក មាន សេរីភាព និង សមភាព ក្នុង ផ្នែក សេចក្ដីថ្លៃថ្នូរ និង សិទ្ធិ ។ មនុស្ស មាន វិចារណញ្ញាណ និង សតិសម្បជញ្ញៈ ជាប់ ពី"
    " កំណើត ហើយ គប្បី ប្រព្រឹត្ត ចំពោះ គ្នា ក្នុង ស្មារតី ភាតរភាព ជា បងប្អូន ។",
    "Burmese": "လူ တိုင်း သည် တူညီ လွတ်လပ် သော ဂုဏ်သိက္ခာ ဖြင့် လည်းကောင်း ၊ တူညီ လွတ်လပ် သော အခွင့်အရေး များ ဖြင့် လည်းကောင်း ၊"
    " မွေးဖွား လာ သူ များ ဖြစ် သည် ။",
}
"""Article 1 of the Universal Declaration of Human Rights, cut into words by hand."""


@pytest.mark.parametrize("language", DECLARATION)
def test_icu_finds_most_words_of_scripts_without_blanks(language):
    pytest.importorskip("icu4py", reason="an extra")
    expected = DECLARATION[language].split()
    text = "".join(expected)
    (found,) = open_tokenizer("icu").sentences(text.encode())
    wanted, places, place = {0}, {0}, 0
    for word in expected:
        wanted.add(max(wanted) + len(word))
    for word in found:
        place = text.index(word, place) + len(word)
        places.add(place)
    assert len(wanted & places) / len(wanted | places) > 0.7
    (alone,) = open_tokenizer("unicode_words").sentences(text.encode())
    assert len(alone) > 1.5 * len(found)


def test_icu_splits_other_scripts_as_unicode_words_does():
    pytest.importorskip("icu4py", reason="an extra")
    text = "Hello, world's  3.14 can’t e-mail a_b 1,000 x\nпривет мир 한국어 문장 नमस्ते ãe\u0301 👩🇰🇷\n\n".encode()
    assert open_tokenizer("icu").sentences(text) == open_tokenizer("unicode_words").sentences(text)
    assert open_tokenizer("icu").identity()["versions"].keys() == {"icu4py", "ICU"}
    spaced = "ខ្មែរ\u200bជា".encode()  # Khmer is often written with zero-width spaces between words
    assert open_tokenizer("icu").sentences(spaced) == [["ខ្មែរ", "ជា"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ผมใช้Googleทุกวันครับ", "ผม ใช้ Google ทุก วัน ครับ"),
        ("ราคา100บาท ปี๒๕๖๖มี", "ราคา 100 บาท ปี ๒๕๖๖ มี"),
        ("ພາສາEnglishລາວ", "ພາສາ English ລາວ"),
        ("ភាសាEnglishខ្មែរ5", "ភាសា English ខ្មែរ 5"),
        ("မြန်မာEnglishစကား", "မြန်မာ English စကား"),
        ("ไทยລາວខ្មែរမြန်မာ한", "ไทย ລາວ ខ្មែរ မြန်မာ 한"),
        ("พ.ศ.2566 1.5ล้าน a_ก", "พ.ศ 2566 1.5 ล้าน a_ก"),
    ],
)
def test_icu_ends_a_word_where_scripts_meet(text, expected):
    pytest.importorskip("icu4py", reason="an extra")
    assert open_tokenizer("icu").sentences(text.encode()) == [expected.split()]


@pytest.mark.parametrize("name", languages.PACKAGES)
def test_unicode_of_python_is_in_the_identity(name, monkeypatch):
    """It decides which words have a letter."""
    for package in languages.PACKAGES[name]:
        pytest.importorskip(package.replace("-", "_"), reason="an extra")
    before = open_tokenizer(name).identity()
    monkeypatch.setattr(unicodedata, "unidata_version", "99.0.0")
    assert open_tokenizer(name).identity() != before


@pytest.mark.parametrize("name", languages.PACKAGES)
def test_a_missing_library_names_the_extra(name, monkeypatch, tmp_path):
    languages._load_korean.cache_clear()
    languages._load_chinese.cache_clear()
    languages._load_icu.cache_clear()
    for package in languages.PACKAGES[name]:
        name_of_module = package.replace("-", "_")
        for module in [name_of_module, *(module for module in sys.modules if module.startswith(f"{name_of_module}."))]:
            monkeypatch.setitem(sys.modules, module, None)
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
