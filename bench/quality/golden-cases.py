#!/usr/bin/env python3
"""Writes texts, what each publisher's rules say of them and what they measure: the oracle of pipeline/src/filter/golden.rs.

    python golden-cases.py > pipeline/src/filter/golden.jsonl     (with what run.py installs under target/bench/venv/quality)

Verdicts of datatrove, Dolma and C4 are those of their own programs (publishers.py), those of DCLM a transcription's
(transcriptions.py). A verdict is the reason, or what is left of the text if that is another text, or null. Statistics that
are 0 are left out.
"""

import json
import random

import publishers
import transcriptions


def letters(numbers):
    """Words of five letters, told apart by their last two."""
    return ["wor" + chr(97 + n // 26) + chr(97 + n % 26) for n in numbers]


def lines(numbers):
    return [" ".join(letters(range(4 * n, 4 * n + 4))) for n in numbers]


a, b = " ".join(letters(range(8))), " ".join(letters(range(8, 16)))
LINE = "This line has enough words to stay. It has two sentences."
BODY = "The horse runs over the hill with a cart, and it does not have to be told so."
written = [
    # Published vectors.
    " ".join(letters([*range(31), *range(5)])),
    " ".join(letters([*range(26), *range(10)])),
    " ".join("abcdefghijklmnopqrstuvwxyzabcdefghij"),
    "\n".join(lines([0, 1, 2, 3, 4, 5, 6, 7, 8, 0])),
    " ".join(["ab"] * 12),
    " ".join(letters(range(6))),
    f"{a}\n\n{b}\n\n{a}",
    f"{a}\n{a}\n{a}",
    "", "   ", "\n\n", "one", "\n", "\r\n", "\0", "#", "...", "\u200b", "\n\n\n x \n\n x \n\n", "\n\n a\n\n\n a",
    # Each rule of C4 on a line of its own, and lines of Python's kinds.
    *("\n".join([LINE] * 3 + [line]) for line in (
        "no mark stands at its end", "an ellipsis is no end mark...", "an ellipsis is no end mark…", "a comma is none either,",
        'a quotation mark ends a "line"', "and so may be said of 'this'", "Only four words here.", "Two words.", "Two words [12] [edit].",
        "It was so[1] then[] and is[edit] so now[citation needed] too[a].", "[[1]] [12[3]] [٣] [edit now and then.",
        "This line has { in the middle of it.", "this line has { and no end mark", "This line has Lorem Ipsum in the middle of it.",
        "You need to turn JavaScript on for this.", "Here are our Terms of Use for you all.", "We make use of cookies, as sites do.",
        "We use coo\u212aies on this site as others do.", "We use coo[1]kies on this site as others do.",
        f"This line has a word of {'é' * 1001} letters.", f"This line has a word of {'é' * 1000} letters.",
    )),
    "One sentence stands here. A second one follows. A third ends it.", "This page has only one sentence on its line.",
    f"  {LINE}\u2028\t{LINE}\r\n\x0b{LINE} \n", f"{LINE}\x1c{LINE}\x1d{LINE}\x1e{LINE}\x85{LINE}\u2029{LINE}\x0c{LINE}",
    # Gopher's quality: number of words at both sides of fifty, symbols, bullets, ellipses, letters, stop words.
    *(" ".join([f"horse{chr(97 + n % 26)}" + ("." if n % 10 == 9 else "") for n in range(count)] + ["the", "with", *rest])
      for count, rest in ((47, []), (48, []), (48, [",", ".", "!"]), (60, ["#"] * 6), (60, ["#"] * 8), (60, ["..."] * 7), (60, ["…"] * 8), (60, ["1"] * 20), (60, ["9,9"] * 12))),
    "\n".join(f"- {BODY} {n}" for n in range(9)), "\n".join(f"  \u2022 {BODY} {n}" for n in range(9)) + "\nend", "\n".join(f"* {BODY} {n}" for n in range(9)),
    "\n".join(f"{BODY} {n}" + ("... " if n < 3 else "") for n in range(10)), "\n".join(f"{BODY} {n}" + ("…" if n < 4 else "") for n in range(10)),
    BODY.replace("The", "THE").replace("with", "WITH").replace(" be ", " BE ").replace("and", "AND").replace(" to ", " TO ").replace("have", "HAVE").replace("the ", "a ") * 4,
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u2167 \u24b6 " * 30 + "the with", "x" * 200, "ab " * 60 + "the of with and",
    # FineWeb: one of eight and of nine lines with a mark, hidden marks, short lines, a line again, a list.
    *("\n".join(f"and so some words stand in line number {n:02}" + (mark if n == 0 else ",") for n in range(count))
      for count in (8, 9) for mark in (".", ". ", '."', ".\r", "\u0964", "…")),
    *("\n".join(f"{n}" + "é" * size + "." for n in range(short)) + "\n" + "\n".join(f"{BODY} {n}." for n in range(3))
      for short, size in ((7, 28), (6, 28), (7, 29), (7, 30))),
    "\n".join([*(f"{BODY} {n}." for n in range(20)), f"{BODY} 0."]), "".join(f"{n}a.\n" for n in range(9)), "".join(f"{n} a word here.\n" for n in range(9)), BODY + ".\n" * 6, BODY + "\n" * 5 + ".",
    # RefinedWeb: capitals, digits, counters, one word, menus, empty lines.
    *("\n".join([f"{BODY} {n}." for n in range(12)] + [line]) for line in (
        "ALL OF IT", "HALF of", "12345", "٣٤", "½", "3,400 likes", "1.5K views!", "12 likes and more", "word", "", "\n\n\n", "4 items in cart now", "items in cart", "read more...", "Please read more now", "Sign-in here",
        "a long line of more than ten words which has items in cart in it and stays")),
]
few = BODY.lower().rstrip(".").split() + "It's don't U.S. e.g. (see) 3.5% # ... … « » Étude 北京 мир http://x.yz/a?b a/b -- 10km".split()
choose = random.Random(2)
plain = ["".join(choose.choice("aeioulnrst") for _ in range(choose.randint(3, 8))) for _ in range(400)]
for number in range(60):
    # Half of the pages of few words, which come again and again, and half of many.
    words = few if number % 2 else plain + few * 3
    sentences = [" ".join(choose.choice(words) for _ in range(choose.randint(3, 14))).capitalize() + choose.choice([".", ".", "!", "?", "...", "…", "", ",", '."'])
                 for _ in range(choose.randint(4, 20))]
    again = choose.random() * 0.3
    parts = []
    for _ in range(choose.randint(3, 14)):
        parts.append(choose.choice(parts) if parts and choose.random() < again else " ".join(choose.sample(sentences, choose.randint(1, 2))))
        parts.append(choose.choice(["\n", "\n", "\n\n", "\n\n\n", " ", "\n- ", "\r\n", " \n", "\n* ", "\n\u2022 "]))
    written.append("".join(parts))

transcribed = {
    "gopher-quality@dclm": lambda text: (text, transcriptions.dclm_quality(text)),
    "gopher-repetition@dclm": lambda text: (text, transcriptions.dclm_repetition(text)),
    "refinedweb-lines": transcriptions.refinedweb_lines,
}
for text in written:
    said = {}
    for name, run in (publishers.RULES | transcribed).items():
        left, reason = run(text)
        said[name] = {"reason": reason} if reason else None if left == text else {"text": left}
    measured = {name: float(f"{value:.9g}") for name, value in publishers.signals(text).items() if value}
    print(json.dumps({"text": text, "rules": said, "signals": measured}, ensure_ascii=False))
