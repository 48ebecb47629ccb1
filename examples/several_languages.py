r"""Writes one text in English, German and Korean, with a planted structure, and shows that one model keeps them apart.

    python -m examples.several_languages languages.txt
    beam2vec train --input=languages.txt --tokenizer=unicode_words --normalize=nfc --lowercase --min_count=3 \
        --output=runs/languages --dims=24 --epochs=15 --batch_size=256 --learning_rate=0.05
    python -m examples.several_languages languages.txt runs/languages

`--tokenizer=unicode_words` takes words of all three; a language with no blanks between words wants a tokeniser of its
own. Words of two languages share no sentence, so the nearest of a word are of its own language. Vectors of one model do
not translate: only what all languages write alike (here: years) stands between them.
"""

from __future__ import annotations

import pathlib
import random
import sys

from beam2vec import Run

SCENES = {
    "english": (
        (("apple", "pear", "plum"), ("eats", "washes", "peels"), ("market", "kitchen", "garden")),
        (("book", "letter", "novel"), ("reads", "writes", "borrows"), ("library", "school", "office")),
        (("train", "bus", "plane"), ("takes", "misses", "awaits"), ("station", "airport", "city")),
    ),
    "german": (
        (("apfel", "birne", "pflaume"), ("isst", "wäscht", "schält"), ("markt", "küche", "garten")),
        (("buch", "brief", "roman"), ("liest", "schreibt", "leiht"), ("bücherei", "schule", "büro")),
        (("zug", "bus", "flieger"), ("nimmt", "verpasst", "erwartet"), ("bahnhof", "flughafen", "stadt")),
    ),
    "korean": (
        (("사과를", "포도를", "수박을"), ("먹는다", "씻는다", "깎는다"), ("시장에서", "부엌에서", "마당에서")),
        (("책을", "편지를", "소설을"), ("읽는다", "쓴다", "빌린다"), ("도서관에서", "학교에서", "교실에서")),
        (("기차를", "버스를", "택시를"), ("탄다", "놓친다", "기다린다"), ("서울에서", "부산에서", "공항에서")),
    ),
}
"""Language -> things, what is done with them, and where; a scene for each subject."""
PATTERNS = {
    "english": "in {year} somebody {deed} the {thing} and the {other} at the {place}",
    "german": "im jahr {year} {deed} jemand {thing} und {other} dort am ort {place}",
    "korean": "{year} 년에 누군가 {place} {thing} {other} {deed}",
}


def lines(count: int = 6000, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    sentences = []
    for _ in range(count):
        language = draw.choice(tuple(SCENES))
        things, deeds, places = draw.choice(SCENES[language])
        thing, other = draw.sample(things, 2)
        filled = {"year": draw.randrange(1990, 2000), "thing": thing, "other": other, "deed": draw.choice(deeds)}
        sentences.append(PATTERNS[language].format(**filled, place=draw.choice(places)))
    return sentences


def language_of(word: str) -> str:
    """The language that a word of a scene belongs to, "several" for one of two, "" for others."""
    found = [name for name, scenes in SCENES.items() if any(word in words for scene in scenes for words in scene)]
    return found[0] if len(found) == 1 else "several" if found else ""


def show(run: str) -> None:
    """Nearest words of the first thing of each language."""
    trained = Run(run)
    for scenes in SCENES.values():
        word = scenes[0][0][0]
        print(f"{word}: " + ", ".join(near for near, _ in trained.nearest(word, top=5)))


def main(arguments: list[str]) -> None:
    if len(arguments) not in (1, 2):
        sys.exit("usage: python -m examples.several_languages FILE [RUN]")
    if len(arguments) == 1:
        pathlib.Path(arguments[0]).write_text("\n".join(lines()) + "\n", encoding="utf-8")
    else:
        show(arguments[1])


if __name__ == "__main__":
    if sys.argv[1:2] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    main(sys.argv[1:])
