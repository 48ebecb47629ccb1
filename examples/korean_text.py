r"""Writes a small Korean text of everyday sentences, made from patterns.

    python -m examples.korean_text korean.txt
    beam2vec train --input=korean.txt --tokenizer=korean --normalize=nfc --output=runs/korean \
        --dims=20 --batch_size=256 --learning_rate=0.05

`--tokenizer=korean` cuts words into morphemes, so that 사과를, 사과가 and 사과는 are all
seen as 사과 with a particle (pip install 'beam2vec[korean]'); without the library,
`--tokenizer=unicode_words` takes what stands between spaces.
"""

from __future__ import annotations

import pathlib
import random
import sys

PEOPLE = ("민수", "지영", "선생님", "학생", "어머니", "아버지", "친구", "의사")
SCENES = (
    (("사과", "포도", "수박", "딸기", "복숭아"), ("먹는다", "씻는다", "깎는다"), ("시장", "부엌", "과일 가게")),
    (("책", "신문", "소설", "편지", "잡지"), ("읽는다", "쓴다", "빌린다"), ("도서관", "학교", "교실")),
    (("기차", "버스", "택시", "비행기", "지하철"), ("탄다", "기다린다", "놓친다"), ("서울", "부산", "공항")),
    (("노래", "피아노", "기타", "바이올린", "음악"), ("듣는다", "연습한다", "배운다"), ("극장", "교회", "방송국")),
)
"""Things, what is done with them, and where."""


def lines(count: int = 4000, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    sentences = []
    for _ in range(count):
        things, deeds, places = draw.choice(SCENES)
        thing, other = draw.sample(things, 2)
        person, place, deed = draw.choice(PEOPLE), draw.choice(places), draw.choice(deeds)
        sentences.append(f"{_with(person, '은', '는')} {place}에서 {thing}하고 {_with(other, '을', '를')} {deed}.")
    return sentences


def _with(word: str, after_consonant: str, after_vowel: str) -> str:
    """The word with the particle that its last syllable asks for."""
    return word + (after_consonant if (ord(word[-1]) - 0xAC00) % 28 else after_vowel)


def main(path: str) -> None:
    pathlib.Path(path).write_text("\n".join(lines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.korean_text FILE")
    main(sys.argv[1])
