"""Gopher's rules of DCLM and Dolma and C4's released ones, written down once more in plain Python from what their
publishers compute, without a thought for speed: the oracle of agreement.py. Words of UAX #29 come from uniseg."""

import re
from collections import Counter
from statistics import median

from uniseg.wordbreak import words as uax_29

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def fasttext_words(text):
    tokens = re.split(r"[ \n\r\t\v\f\0]+", text)
    return [token for token in tokens if token and token[0].isalnum()]


def dclm_quality(text):
    tokens, words = fasttext_words(text), text.split()
    if len(tokens) < 50 or not words:
        return "gopher-too-few-words"
    if len(tokens) > 100_000:
        return "gopher-too-many-words"
    mean = sum(map(len, words)) / len(words)
    if mean < 3:
        return "gopher-short-words"
    if mean > 10:
        return "gopher-long-words"
    if sum(text.count(symbol) for symbol in ("#", "...", ". . .", "\u2026")) / len(words) > 0.1:
        return "gopher-symbols"
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    if sum(line.startswith(("\u25cf", "\u2022", "*", "-")) for line in lines) > 0.9 * len(lines):
        return "gopher-bullets"
    if sum(line.endswith(("...", ". . .", "\u2026")) for line in lines) > 0.3 * len(lines):
        return "gopher-ellipses"
    if sum(not any(c.isalpha() for c in word) for word in words) / len(words) > 0.2:
        return "gopher-non-alphabetic-words"
    if sum(word.lower() in STOP_WORDS for word in words) < 2:
        return "gopher-few-stop-words"
    return None


def dclm_repetition(text):
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    if not lines:
        return "gopher-no-lines"

    def shares(parts):
        if len(parts) < 2:
            return 0, 0
        counts = Counter(parts)
        repeated = [(part, count) for part, count in counts.items() if count > 1]
        return (
            sum(count for _, count in repeated) / len(parts),
            sum(len(part) * count for part, count in repeated) / sum(map(len, parts)),
        )

    (line, line_characters), (paragraph, paragraph_characters) = shares(lines), shares(paragraphs)
    for name, value, limit in (
        ("gopher-dup-line", line, 0.3),
        ("gopher-dup-paragraph", paragraph, 0.3),
        ("gopher-dup-line-characters", line_characters, 0.2),
        ("gopher-dup-paragraph-characters", paragraph_characters, 0.2),
    ):
        if value > limit:
            return name
    words = [word for word in uax_29(text) if word[0].isalnum()]
    total = sum(map(len, words))
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        counts = Counter(grams)
        if not counts:
            continue
        if n <= 4:
            most = max(counts.values())
            value = 0 if most == 1 else most * max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
            name, limit = f"gopher-top-{n}-gram", TOP[n]
        else:
            covered = set()
            for start, gram in enumerate(grams):
                if counts[gram] > 1:
                    covered.update(range(start, start + n))
            value = sum(len(words[i]) for i in covered)
            name, limit = f"gopher-dup-{n}-gram", DUPLICATE[n]
        if total and value / total > limit:
            return name
    return None


def dolma_attributes(text):
    words = text.split()
    characters = sum(map(len, words))
    lines = text.split("\n")
    counts = Counter(lines)
    found = {
        "words": len(words),
        "median": median(map(len, words)) if words else 0,
        "symbols": sum("#" in word or "\u2026" in word for word in words) / max(len(words), 1),
        "letters": sum(any(c.isalpha() for c in word) for word in words) / max(len(words), 1),
        "stop": sum(word in STOP_WORDS for word in words),
        "bullets": sum(line.startswith(("*", "-")) for line in lines) / len(lines),
        "ellipses": sum(line.endswith("\u2026") for line in lines) / len(lines),
        "lines": sum(count for count in counts.values() if count > 1) / len(lines),
        "characters": sum(len(line) * count for line, count in counts.items() if count > 1) / max(characters, 1),
    }
    for n in range(2, 11):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        if not grams:
            found[n] = 0
        elif n <= 4:
            gram, count = grams.most_common(1)[0]
            found[n] = count * sum(map(len, gram)) / max(characters, 1)
        else:
            weight = {gram: count * sum(map(len, gram)) for gram, count in grams.items()}
            found[n] = sum(weight[gram] for gram, count in grams.items() if count > 1) / max(sum(weight.values()), 1)
    return found


def dolma_quality(text):
    found = dolma_attributes(text)
    for name, bad in (
        ("gopher-too-few-words", found["words"] < 50),
        ("gopher-too-many-words", found["words"] > 100_000),
        ("gopher-short-words", found["median"] < 3),
        ("gopher-long-words", found["median"] > 10),
        ("gopher-symbols", found["symbols"] > 0.1),
        ("gopher-non-alphabetic-words", found["letters"] < 0.8),
        ("gopher-few-stop-words", found["stop"] < 2),
        ("gopher-bullets", found["bullets"] > 0.9),
        ("gopher-ellipses", found["ellipses"] > 0.3),
    ):
        if bad:
            return name
    return None


def dolma_repetition(text):
    found = dolma_attributes(text)
    if found["lines"] > 0.3:
        return "gopher-dup-line"
    if found["characters"] > 0.3:
        return "gopher-dup-line-characters"
    for n in range(2, 11):
        if found[n] > (TOP | DUPLICATE)[n]:
            return f"gopher-{'top' if n <= 4 else 'dup'}-{n}-gram"
    return None


CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICY = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"]


def c4(text, sentences):
    """The page that is left, or the reason; `sentences` counts those of a line."""
    if len(text) > 190_000:
        return None, "c4-too-long"
    kept, count = [], 0
    for line in text.splitlines():
        line = line.strip()
        if any(len(word) > 1000 for word in line.split()):
            continue
        line = CITATION.sub("", line)
        if not line.endswith((".", "?", "!", '"')) or line.endswith("..."):
            continue
        if len(line.split()) < 5:
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return None, "c4-lorem-ipsum"
        if "javascript" in lower:
            continue
        if "{" in line:
            return None, "c4-curly-bracket"
        if any(phrase in lower for phrase in POLICY):
            continue
        count += sentences(line)
        kept.append(line)
    if count < 3:
        return None, "c4-few-sentences"
    return "\n".join(kept).strip(), None


LINE_COUNTER = re.compile(
    r"^\W*\d(?:,|\.|\d)*(?:K|k|M|m|B|b)?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers)\W*$"
)
MENUS = [re.compile(r"\s?items in cart", re.I), re.compile(r"\s?read more...$", re.I), re.compile(r"^sign-in\s?", re.I)]


def refinedweb_lines(text):
    before = len(fasttext_words(text))
    for keep in (
        lambda line: sum(c.isupper() for c in line) / len(line) <= 0.5,
        lambda line: sum(c.isdigit() for c in line) / len(line) <= 0.999999,
        lambda line: not LINE_COUNTER.search(line.lower()),
    ):
        text = "\n".join(line for line in text.split("\n") if not line or keep(line)).strip()
        if not text:
            return None, "refinedweb-nothing-left"
    text = "\n".join(line for line in text.split("\n") if not line or len(line.split()) >= 2)
    if not text:
        return None, "refinedweb-nothing-left"
    for menu in MENUS:
        kept = []
        for line in text.split("\n"):
            if len(line.split()) <= 10:
                cut = menu.sub("", line)
                if line and (not cut or cut.isspace()):
                    continue
                line = cut
            kept.append(line)
        text = "\n".join(kept).strip()
        if not text:
            return None, "refinedweb-nothing-left"
    if before == 0:
        return None, "refinedweb-nothing-left"
    if (before - len(fasttext_words(text))) / before > 0.05:
        return None, "refinedweb-removed-words"
    return text, None


def newlines(text):
    return re.sub(r"\n{3,}", "\n\n", text)
