#!/usr/bin/env python3
"""Texts of known language, out of packages that the ordinary clients install: to train the identifier, and to test it on
others.

    python3 bench/language/texts.py train OUT.jsonl     strings of Firefox and LibreOffice (MPL-2.0), of Django (BSD-3-Clause)
    python3 bench/language/texts.py test OUT.jsonl      manuals, a handbook, an installation guide, a game's story

One JSON object a line: "id", "text", "lang" (ISO 639-1 where there is one) and "set" (where it is from). A test text has about
LENGTH characters (default 400), cut at white space; of each set and language at most 400, evenly spread over its documents.
No source of the tests is one of the training. Texts stay under target/; of the training texts, only counts enter the model.
Needs apt-get with Debian 12's packages, dpkg-deb and pip. The same package versions give the same bytes.
"""

import gettext
import hashlib
import html
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target" / "bench" / "language"

# What the identifier tells apart, by the names that translations are filed under.
NAMES = {
    "zh-cn": "zh", "zh-tw": "zh", "zh_cn": "zh", "zh_tw": "zh", "zh-hk": "zh", "zh-hans": "zh", "zh-hant": "zh", "nb-no": "nb", "no": "nb",
    "pt-br": "pt", "pt_br": "pt", "pt-pt": "pt", "es-ar": "es", "es-cl": "es", "es-mx": "es", "es-es": "es", "en-gb": "en",
    "en-us": "en", "en-ca": "en", "en_gb": "en", "en-za": "en", "sv-se": "sv", "fy-nl": "fy", "ga-ie": "ga", "gu-in": "gu",
    "hi-in": "hi", "hy-am": "hy", "ne-np": "ne", "nn-no": "nn", "pa-in": "pa", "in": "id", "ca-es": "ca", "cs-cz": "cs",
    "da-dk": "da", "de-de": "de", "el-gr": "el", "fr-fr": "fr", "hr-hr": "hr", "id-id": "id", "it-it": "it", "ja-jp": "ja",
    "ko-kr": "ko", "nl-nl": "nl", "pl-pl": "pl", "ro-ro": "ro", "ru-ru": "ru", "tr-tr": "tr", "vi-vn": "vi", "fa-ir": "fa",
    "ar-ma": "ar", "uk-ua": "uk", "sv": "sv",
}
LANGUAGES = set(
    "af az br ca cs cy da de en eo es et eu fi fr fy ga gd gl hr hu id is it lt lv nb nl nn oc pl pt ro sk sl sq sv tl tr uz"
    " vi xh zu be bg kk mk mn ru sr tg uk ar fa ug ur hi mr ne bn as el hy ka he th lo km my si ta te kn ml gu pa or ko am"
    " ja zh".split()
)

FIREFOX = (
    "af ar az be bg bn br ca cs cy da de el en-gb eo es-ar es-es es-mx et eu fa fi fr fy-nl ga-ie gd gl gu-in he hi-in hr hu"
    " hy-am id is it ja ka kk km kn ko lt lv mk mr my nb-no ne-np nl nn-no oc pa-in pl pt-br pt-pt ro ru si sk sl sq sr"
    " sv-se ta te th tl tr uk ur uz vi xh zh-cn zh-tw tg"
).split()
OFFICE = (
    "af am ar as be bg bn br ca cs cy da de el en-gb eo es et eu fa fi fr ga gd gl gu he hi hr hu id is it ja ka kk km kn ko lt"
    " lv mk ml mn mr nb ne nl nn oc or pa-in pl pt pt-br ro ru si sk sl sr sv ta te tg th tr ug uk uz vi xh zh-cn zh-tw zu"
).split()
HELP = "ca cs da de el en-gb en-us es et eu fi fr gl hi hu id it ja km ko nl pl pt pt-br ru sk sl sv tr vi zh-cn zh-tw".split()
STORIES = ["wesnoth-1.16-httt", "wesnoth-1.16-l", "wesnoth-1.16-thot"]
MANUALS = ["de", "es", "fr", "ja", "pl", "ru", "zh", "it", "cs", "da", "fi", "hu", "ro", "uk", "sr", "nl", "pt-br", "id", "tr", "ko", "sv", "hr", "sl"]


def code(name):
    # Serbian in Latin script is Croatian to an identifier that sees nothing but letters; English in Shavian's is not known here.
    if re.search("latin|shaw", name.lower()):
        return None
    name = name.lower().replace("_", "-").split("@")[0]
    name = NAMES.get(name, name)
    return name if name in LANGUAGES else None


def deb(package):
    """The folder that a Debian package unpacks to; None where the release has none of that name."""
    folder = WORK / "packages" / package
    if not folder.is_dir():
        store = WORK / "deb"
        store.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["apt-get", "download", package], cwd=store, capture_output=True, text=True)
        files = sorted(store.glob(f"{package}_*.deb"))
        if done.returncode or not files:
            sys.stderr.write(f"note: no package {package}\n")
            return None
        aside = folder.with_suffix(".part")
        subprocess.run(["dpkg-deb", "-x", files[-1], aside], check=True)
        aside.rename(folder)
    return folder


def wheel(requirement):
    folder = WORK / "packages" / requirement.replace("==", "-")
    if not folder.is_dir():
        aside = folder.with_suffix(".part")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", aside, requirement]
        subprocess.run(command, check=True)
        aside.rename(folder)
    return folder


# What programs put into their strings: places for values, keys, marks of markup.
HOLES = re.compile(r"\{[^{}]*\}|%\d*\$?[A-Za-z]+|%\([a-z_]+\)s|\$[A-Z_a-z]+|&[A-Za-z.]+;|<[^<>]*>|~|https?://\S+|\\[nrt]")


def tidy(text):
    return re.sub(r"\s+", " ", html.unescape(HOLES.sub(" ", text))).strip()


def page(text):
    """The running text of an HTML or Mallard page, a paragraph a line."""
    text = re.sub(r"(?is)<(head|script|style|pre|screen|code|info|nav)\b.*?</\1\s*>|<!--.*?-->", " ", text)
    paragraphs = re.split(r"(?i)</?(?:p|div|li|h[1-6]|td|th|dt|dd|title|item|section)\b[^>]*>", text)
    return [line for line in (re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", p))).strip() for p in paragraphs) if line]


def catalogue(path):
    """(original, translation) of a compiled gettext catalogue."""
    with open(path, "rb") as file:
        try:
            entries = gettext.GNUTranslations(file)._catalog
        except (OSError, UnicodeDecodeError, ValueError):
            return
    for original, translated in entries.items():
        original = original[0] if isinstance(original, tuple) else original
        if original and translated and original.split("\x04")[-1] != translated:
            yield original, translated


def fluent(text):
    """The values of a Fluent or properties file, one a message."""
    value = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if re.match(r"\s+", line) and line.strip():
            value.append(re.sub(r"^\s*(\.[\w-]+\s*=|\*?\[\w+\])\s*", "", line).strip())
            continue
        if value:
            yield " ".join(value)
        parts = re.split(r"\s*=\s*", line, maxsplit=1)
        value = [parts[1]] if len(parts) == 2 and parts[1] else []
    if value:
        yield " ".join(value)


def firefox(name):
    folder = deb(f"firefox-esr-l10n-{name}")
    for pack in sorted(folder.rglob("*.xpi")) if folder else []:
        with zipfile.ZipFile(pack) as archive:
            for entry in sorted(archive.namelist()):
                if entry.endswith((".ftl", ".properties")):
                    yield from fluent(archive.read(entry).decode("utf-8", "replace"))


def office_help(name):
    folder = deb(f"libreoffice-help-{name}")
    for path in sorted(folder.rglob("text/**/*.html")) if folder else []:
        yield path, page(path.read_text("utf-8", "replace"))


# Words that stand in English prose and hardly in another language's.
ENGLISH = set("the and this that which with from should your you not when been has have can into its".split())


def translated(line, language):
    """Whether a paragraph was translated: manuals leave some in English. By words and scripts that no identifier here looks at
    as such; a paragraph whose every twelfth word is an English function word is English, and so is one in Latin letters of a
    language that has others."""
    if language == "en":
        return True
    words = re.findall(r"[^\W\d_]+", line.lower())
    if not words or sum(word in ENGLISH for word in words) * 12 > len(words):
        return False
    if language in OTHER_SCRIPTS:
        letters = [c for c in line if c.isalpha()]
        return sum(c > "\u0250" for c in letters) * 2 > len(letters)
    return True


OTHER_SCRIPTS = set(
    "be bg kk mk mn ru sr tg uk ar fa ug ur hi mr ne bn as el hy ka he th lo km my si ta te kn ml gu pa or ko am ja zh".split()
)


def training():
    english = {tidy(text) for text in firefox("en-gb")}
    for name in FIREFOX:
        texts = [tidy(text) for text in firefox(name)]
        yield code(name), "firefox", [text for text in texts if name == "en-gb" or text not in english]
    for name in OFFICE:
        folder = deb(f"libreoffice-l10n-{name}")
        texts = []
        for path in sorted(folder.rglob("*.mo")) if folder else []:
            texts += [tidy(translated) for _, translated in catalogue(path)]
        yield code(name), "libreoffice", texts
        if name == "de":
            originals = []
            for path in sorted(folder.rglob("*.mo")):
                originals += [tidy(original.split("\x04")[-1]) for original, _ in catalogue(path)]
            yield "en", "libreoffice", originals
    english = {line for _, lines in office_help("en-us") for line in lines}
    for name in HELP:
        for _, lines in office_help(name):
            yield code(name), "libreoffice-help", [line for line in lines if name.startswith("en") or line not in english]
    django = wheel("Django==5.2.8")
    for folder in sorted(django.rglob("locale/*/LC_MESSAGES")):
        for path in sorted(folder.glob("*.mo")):
            yield code(folder.parent.name), "django", [tidy(translated) for _, translated in catalogue(path)]


def manual(text):
    """The prose of a manual page in troff."""
    lines = []
    for line in text.splitlines():
        if re.match(r"[.']\s*(P|PP|LP|TP|IP|SH|SS|sp|Pp|Sh|It)\b", line):
            lines.append("\n")
            line = re.sub(r"^[.']\s*\S+", "", line)
        elif re.match(r"[.'](B|I|BR|RB|IR|RI|BI|IB|Nm|Em|Nd)\b", line):
            line = re.sub(r"^[.']\S+", "", line)
        elif line.startswith((".", "'")):
            continue
        line = re.sub(r"\\f(\[[^]]*\]|\(..|.)|\\s[-+]?\d+|\\[&/,|^]|\\m\[[^]]*\]", "", line)
        line = re.sub(r"\\\(..|\\\[[^]]*\]", "'", line).replace("\\-", "-").replace("\\e", "\\").replace("\\ ", " ")
        lines.append(line)
    return [re.sub(r"\s+", " ", part).strip() for part in " ".join(lines).split("\n")]


def testing():
    for name in MANUALS:
        folder = deb(f"manpages-{name}")
        for path in sorted(folder.rglob("usr/share/man/*/man*/*.gz")) if folder else []:
            import gzip

            lines = manual(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))
            # The last section credits the translators, in English too.
            yield code(path.parent.parent.name), "manuals", [line for line in lines if len(line) > 60]
    for package, pattern, kind in (
        ("gnome-user-docs", r"share/help/([^/]+)/.*\.page$", "desktop"),
        ("debian-handbook", r"html/([^/]+)/(?!.*index).*\.html$", "handbook"),
        ("installation-guide-amd64", r"amd64/([A-Za-z_-]+)/.*\.html$", "installer"),
    ):
        folder = deb(package)
        files = [(found[1], path) for path in sorted(folder.rglob("*")) if (found := re.search(pattern, str(path)))] if folder else []
        pages = [(name, page(path.read_text("utf-8", "replace"))) for name, path in files if path.is_file()]
        # What was not translated stands there in English.
        english = {line for name, lines in pages if name == "C" or code(name) == "en" for line in lines}
        for name, lines in pages:
            language = "en" if name == "C" else code(name)
            yield language, kind, [line for line in lines if len(line) > 60 and (language == "en" or line not in english)]
    for package in STORIES:
        folder = deb(package)
        for path in sorted(folder.rglob("*.mo")) if folder else []:
            if "latin" in str(path):
                continue
            pairs = list(catalogue(path))
            yield code(path.parent.parent.name), "story", [tidy(translated) for _, translated in pairs if len(translated) > 60]
            if path.parent.parent.name == "de":
                yield "en", "story", [tidy(original.split("\x04")[-1]) for original, _ in pairs if len(original) > 60]


def pieces(text, length):
    """Texts of about `length` characters, cut at white space where there is any."""
    at = 0
    while len(text) - at >= length:
        end = text.rfind(" ", at + length // 2, at + length)
        end = at + length if end < 0 else end
        yield text[at:end].strip()
        at = end


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("train", "test"):
        sys.exit(__doc__)
    (WORK / "packages").mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    seen = set()
    counts = {}
    if sys.argv[1] == "train":
        for language, kind, texts in training():
            if language is None:
                continue
            fresh = []
            for text in texts:
                if len(text) >= 12 and (language, text) not in seen:
                    seen.add((language, text))
                    fresh.append(text)
            counts[language] = counts.get(language, 0) + sum(map(len, fresh))
            text = "\n".join(fresh)
            if text:
                write(out, text, language, kind)
    else:
        length = int(os.environ.get("LENGTH") or 400)
        found = {}
        for language, kind, lines in testing():
            if language is not None:
                text = " ".join(line for line in lines if translated(line, language))
                found.setdefault((kind, language), []).extend(pieces(text, length))
        for (kind, language), texts in sorted(found.items()):
            texts = list(dict.fromkeys(texts))
            step = max(1, -(-len(texts) // 400))
            for text in texts[::step]:
                write(out, text, language, kind)
            counts[language] = counts.get(language, 0) + len(texts[::step])
    Path(sys.argv[2]).write_text(out.getvalue(), "utf-8")
    sys.stderr.write(" ".join(f"{language}:{count}" for language, count in sorted(counts.items())) + "\n")


def write(out, text, language, kind):
    name = hashlib.sha256(f"{kind} {language} {text}".encode()).hexdigest()[:16]
    json.dump({"id": name, "text": text, "lang": language, "set": kind}, out, ensure_ascii=False)
    out.write("\n")


if __name__ == "__main__":
    main()
