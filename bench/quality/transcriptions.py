"""Gopher's rules of DCLM and Dolma, C4's released ones, and those for code, for other languages and for dialogues, written
down once more in plain Python from what their publishers compute, without a thought for speed: the oracle of agreement.py.
Words of UAX #29 come from uniseg, what a reader sees of HTML from Beautiful Soup, as StarCoder has it."""

import functools
import os
import re
import warnings
from collections import Counter
from statistics import mean, median

from bs4 import BeautifulSoup
from bs4 import XMLParsedAsHTMLWarning
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from uniseg.wordbreak import words as uax_29

warnings.filterwarnings("ignore", category=XMLParsedAsHTMLWarning)

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


def code(text):
    """StarCoder's basic filters."""
    lines = [len(line) for line in text.splitlines()]
    if not lines:
        return "code-empty"
    if max(lines) > 1000:
        return "code-long-line"
    if sum(lines) / len(lines) > 100:
        return "code-long-mean-line"
    if sum(map(str.isalnum, text)) / len(text) < 0.25:
        return "code-few-alphanumeric"
    return None


HTML, JSON_OR_YAML, XSLT = (".html", ".htm", ".xht", ".xhtml"), (".json", ".geojson", ".jsonl", ".topojson", ".webmanifest", ".yml", ".yaml"), (".xsl", ".xslt")


def starcoder_files(text, path):
    """Its other filters: XML, HTML and small or large files of data."""
    name = path.lower()
    if not name.endswith(XSLT) and "<?xml version=" in text[:100]:
        return "code-xml"
    if name.endswith(HTML):
        page = BeautifulSoup(text, features="html.parser")
        for hidden in page(["script", "style"]):
            hidden.extract()
        seen = len(page.get_text())
        if not text or not (seen / len(text) > 0.2 and seen > 100):
            return "code-little-visible"
    if name.endswith(JSON_OR_YAML) and not 100 <= len(text) <= 5000:
        return "code-data"
    return None


# Section 3 of the paper on StarCoder2, which has no program. Which language a file is in GitHub's linguist says there, its extension here.
LANGUAGES = {
    "html": HTML,
    "json": JSON_OR_YAML[:5],
    "yaml": JSON_OR_YAML[5:],
    "markdown": (".md", ".markdown", ".mdown", ".mkd", ".mkdn"),
    "roff": (*(f".{section}" for section in range(1, 10)), ".man", ".mdoc", ".roff", ".troff", ".nroff", ".me", ".ms"),
    "smt": (".smt", ".smt2"),
    "tex": (".tex", ".sty", ".cls", ".bbx", ".cbx", ".dtx", ".ltx"),
    "text": (".txt", ".text"),
    "xml": (".xml", ".xsd", ".wsdl", ".rss", ".rdf", ".plist", ".csproj", ".vcxproj", ".ui", ".xaml"),
    "owl": (".owl",),
    "dot": (".dot", ".gv"),
    "68k": (".x68",),
    "wasm": (".wat", ".wast"),
}
GENERATED = ("auto-generated", "autogenerated", "automatically generated", "generated automatically", "this file is generated")
ENCODED = [re.compile(r"[a-zA-Z0-9+/\n=]{64,}"), re.compile(r"(?:(?a:\b)(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|(?a:\b)\s*)){8,}"), re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")]


def starcoder2_files(text, path):
    """Its filters for files, of go-enry's signs of generated ones the phrases that the paper has."""
    name = path.rsplit("/", 1)[-1].lower()
    language = next((language for language, ends in LANGUAGES.items() if os.path.splitext(name)[1] in ends), None)
    lines = [len(line) for line in text.splitlines()]
    if not lines:
        return "code-empty"
    if len(lines) > 100_000:
        return "code-too-many-lines"
    if language in ("html", "json", "markdown", "roff", "smt", "tex", "text", "xml"):
        if max(lines) > 100_000:
            return "code-long-line"
    elif max(lines) > 1000:
        return "code-long-line"
    elif sum(lines) / len(lines) > 100:
        return "code-long-mean-line"
    if any(phrase in line.lower() for line in text.split("\n")[:5] for phrase in GENERATED):
        return "code-generated"
    if sum(map(str.isalnum if language in ("68k", "wasm") else str.isalpha, text)) / len(text) < 0.25:
        return "code-few-letters"
    encoded = [len(match[0]) for expression in ENCODED for match in expression.finditer(text)]
    if max(encoded, default=0) > 1024 or sum(encoded) > 0.5 * len(text):
        return "code-encoded"
    if language in ("text", "json", "yaml", "owl", "dot") and len(lines) > 512:
        return "code-data"
    if language == "html":
        page = BeautifulSoup(text, features="html.parser")
        for hidden in page(["script", "style"]):
            hidden.extract()
        seen = len(page.get_text())
        return None if seen > 100 and seen > 0.2 * len(text) else "code-little-visible"
    if language == "text" and "requirement" not in name and os.path.splitext(name)[0] not in ("readme", "notes", "todo", "description", "cmakelists"):
        return "code-text"
    return None


# github_run_filter.py
REDPAJAMA = tuple(
    ".asm .bat .cmd .c .h .cs .cpp .hpp .c++ .h++ .cc .hh .C .H .cmake .css .dockerfile .f90 .f .f03 .f08 .f77 .f95 .for .fpp .go .hs .html "
    ".java .js .jl .lua .md .markdown .php .php3 .php4 .php5 .phps .phpt .pl .pm .pod .perl .ps1 .psd1 .psm1 .py .rb .rs .sql .scala .sh .bash "
    ".command .zsh .ts .tsx .tex .vb Dockerfile Makefile .xml .rst .m .smali".split()
)


def redpajama_files(text, path):
    """All but its rule of letters a token."""
    if not text:
        return "code-empty"
    return code(text) if path.endswith(REDPAJAMA) else "code-extension"


@functools.lru_cache(8)
def segments(text):
    return tuple(word for word in uax_29(text) if not word[0].isspace())


def repeated(parts):
    """Parts that were there before, and their characters."""
    seen, again = set(), []
    for part in parts:
        if part in seen:
            again.append(part)
        seen.add(part)
    return len(again), sum(map(len, again))


def fineweb_2(values):
    """The three filters of fineweb-2-pipeline.py with a language's config, a table of fineweb-2.toml."""
    top, duplicate = values["top-ngrams"], values["duplicate-ngrams"]
    shortest, longest = values["word-characters"]

    def repetition(text):
        if not text:
            return "empty"
        words = segments(text)
        lines = re.split(r"\n+", text)
        if repeated(lines)[0] / len(lines) > values["duplicate-lines"]:
            return "gopher-dup-line"
        for n, most in zip((2, 3, 4), top):
            grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
            if grams:
                gram, count = grams.most_common(1)[0]
                if len(gram) * count / len(text) > most:
                    return f"gopher-top-{n}-gram"
        for n, most in zip(range(5, 11), duplicate):
            seen, characters, at = set(), 0, 0
            while at < len(words) - n + 1:
                gram = "".join(words[at : at + n])
                if gram in seen:
                    characters += len(gram)
                    at += n
                else:
                    seen.add(gram)
                    at += 1
            if characters / len(text) > most:
                return f"gopher-dup-{n}-gram"
        return None

    def lines(text):
        kept = [line for line in text.split("\n") if line.strip()]
        if not kept:
            return "empty"
        if sum(line[-1] in TERMINAL_PUNCTUATION for line in kept) / len(kept) < values["terminal-lines"]:
            return "fineweb-terminal-lines"
        if repeated(kept)[1] / len(text.replace("\n", "")) > 0.1:
            return "fineweb-dup-line-characters"
        if text.count("\n") / len(segments(text)) > values["line-breaks"]:
            return "fineweb-list"
        return None

    def quality(text):
        tokens = segments(text)
        words = [token for token in tokens if not set(token) <= PUNCTUATION_SET]
        if len(words) < 50:
            return "gopher-too-few-words"
        if len(words) > 100_000:
            return "gopher-too-many-words"
        length = mean(map(len, words))
        if length < shortest:
            return "gopher-short-words"
        if length > longest:
            return "gopher-long-words"
        if text.count("#") / len(tokens) > 0.1:
            return "gopher-hashes"
        if (text.count("...") + text.count("\u2026")) / len(tokens) > 0.1:
            return "gopher-ellipsis-marks"
        parts = text.splitlines()
        if sum(part.lstrip().startswith(("\u2022", "-")) for part in parts) / len(parts) > 0.9:
            return "gopher-bullets"
        if sum(part.rstrip().endswith(("...", "\u2026")) for part in parts) / len(parts) > 0.3:
            return "gopher-ellipses"
        if sum(any(c.isalpha() for c in token) for token in tokens) / len(tokens) < values["alphabetic-words"]:
            return "gopher-non-alphabetic-words"
        if len(set(values["stop-words"]) & set(tokens)) < 2:
            return "gopher-few-stop-words"
        return None

    return lambda text: repetition(text) or lines(text) or quality(text)


REFUSAL = re.compile(
    r"i'm sorry, but (?:i can|as an)|i am sorry, but i can|i apologize, but i can|sorry, but i can|(?:i'm )?sorry, i can't|"
    r"i (?:cannot|can't) (?:fulfill|assist with)|i cannot help with that|i'm not able to help with that|i'm unable to assist"
)
BOILERPLATE = re.compile(r"as an ai language model|as a (?:large )?language model|i(?:'m| am) an ai language model")


def chat(text, answers):
    """Our own rules for dialogues; of each answer its characters stand in `answers`."""
    if len(text) > 1_000_000:
        return "chat-too-long"
    _, *turns = re.split(r"\n\n(Human|Assistant):", text)
    roles, said = turns[::2], turns[1::2]
    for at, (role, words) in enumerate(zip(roles, said)):
        if at and roles[at - 1] == role:
            return "chat-repeated-role"
        if not words.strip():
            return "chat-empty-turn"
    if len(roles) > 1000:
        return "chat-too-many-turns"
    if not answers:
        return None
    answers = [answer.strip() for answer in answers]
    if not any(answers):
        return "chat-short-answer"
    starts = [answer[:400].lower().replace("\u2019", "'") for answer in answers]
    if sum(bool(REFUSAL.match(start)) for start in starts) > len(answers) / 2:
        return "chat-refusal"
    if sum(bool(BOILERPLATE.search(start)) for start in starts) > len(answers) / 2:
        return "chat-boilerplate"
    return None
