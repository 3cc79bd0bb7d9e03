"""What publishers' own programs say of a text: datatrove 0.10.1, Dolma 1.2.1's tagger and TensorFlow Datasets 4.9.10's
cleaning of C4 pages, all installed from PyPI and run as they are. Of the latter two, which would bring Beam and TensorFlow
along, the one file is loaded by its path.

`RULES` gives for each of our rules a function of a text to (what is left of it, None) or (None, the reason in our words);
`signals` their statistics under our names."""

import functools
import importlib.util
import re
import sys
import types

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters import fineweb_quality_filter, gopher_quality_filter
from datatrove.pipeline.filters import gopher_repetition_filter as repeats
from datatrove.pipeline.filters.gopher_quality_filter import STOP_WORDS
from datatrove.utils.typeshelper import Languages
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION, split_into_sentences, split_into_words

# Tokens of one text are asked for by every filter; the last few answers are kept.
split_into_words = functools.lru_cache(8)(split_into_words)
for module in (repeats, gopher_quality_filter, fineweb_quality_filter):
    module.split_into_words = split_into_words

FINEWEB_RECIPE = [
    GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()
]
# datatrove's reasons by ours
REASONS = {
    "empty": "empty",
    "dup_para_frac": "gopher-dup-paragraph", "dup_para_char_frac": "gopher-dup-paragraph-characters",
    "dup_line_frac": "gopher-dup-line", "dup_line_char_frac": "gopher-dup-line-characters",
    "gopher_short_doc": "gopher-too-few-words", "gopher_long_doc": "gopher-too-many-words",
    "gopher_below_avg_threshold": "gopher-short-words", "gopher_above_avg_threshold": "gopher-long-words",
    "gopher_too_many_hashes": "gopher-hashes", "gopher_too_many_ellipsis": "gopher-ellipsis-marks",
    "gopher_too_many_bullets": "gopher-bullets", "gopher_too_many_end_ellipsis": "gopher-ellipses",
    "gopher_below_alpha_threshold": "gopher-non-alphabetic-words", "gopher_enough_stop_words": "gopher-few-stop-words",
    "lorem_ipsum": "c4-lorem-ipsum", "curly_bracket": "c4-curly-bracket", "too_few_sentences": "c4-few-sentences",
    "line_punct_ratio": "fineweb-terminal-lines", "short_line_ratio": "fineweb-short-lines",
    "char_dup_ratio": "fineweb-dup-line-characters", "list_ratio": "fineweb-list",
} | {f"top_{n}_gram": f"gopher-top-{n}-gram" for n in (2, 3, 4)} | {f"duplicated_{n}_n_grams": f"gopher-dup-{n}-gram" for n in range(5, 11)}


def datatrove(*filters):
    def run(text):
        document = Document(text=text, id="")
        for one in filters:
            try:
                result = one.filter(document)
            except ZeroDivisionError:
                return None, "division by zero"
            if result is not True:
                return None, REASONS[result[1]]
        return document.text, None
    return run


FOLDERS = {name: importlib.util.find_spec(name).submodule_search_locations[0] for name in ("dolma", "tensorflow_datasets")}


def file_of(package, path, name):
    """A module of an installed package by its file; the package itself is not run."""
    root = FOLDERS[package]
    spec = importlib.util.spec_from_file_location(name, f"{root}/{path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def empty_modules(names):
    for name in names:
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__getattr__ = lambda attribute: None


def dolma_tagger():
    class Registry:
        @staticmethod
        def add(name):
            return lambda tagger: tagger

    empty_modules(["dolma.core", "dolma.core.data_types", "dolma.core.registry", "dolma.core.taggers"])
    sys.modules["dolma.core.registry"].TaggerRegistry = Registry
    sys.modules["dolma.core.taggers"].BaseTagger = object
    sys.modules["dolma.core.data_types"].Span = sys.modules["dolma.core.data_types"].Document = sys.modules["dolma.core.data_types"].DocResult = object
    return file_of("dolma", "taggers/gopher.py", "dolma.taggers.gopher").get_attributes


def c4_pages(sentences):
    """The released code, with a function for the sentences of a line in the place of NLTK's downloaded model."""
    empty_modules(["absl", "absl.logging", "tensorflow_datasets", "tensorflow_datasets.core.utils.lazy_imports_utils", "tensorflow_datasets.public_api"])
    name = "c4_utils"
    utils = sys.modules.get(name) or file_of("tensorflow_datasets", "text/c4_utils.py", name)
    citation = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
    reasons = {
        "filtered:loremipsum": "c4-lorem-ipsum", "filtered:squigglybracket": "c4-curly-bracket", "filtered:too_few_sentences": "c4-few-sentences"
    }

    def run(text):
        # `is_valid_length`, asked of the page before it is cleaned.
        if len(text) > 190_000:
            return None, "c4-too-long"
        counted = []
        utils._get_sentences = sentences
        pages = list(utils.clean_page(utils.PageFeatures(text=text), citation, lambda name, amount=1: counted.append(name)))
        return (pages[0].text, None) if pages else (None, reasons[counted[-1]])
    return run


dolma = functools.lru_cache(8)(dolma_tagger())
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def dolma_quality(text):
    """The tagger's numbers with the bounds of configs/dolma-v1_5/mixing."""
    found = dolma(text)
    for name, bad in (
        ("gopher-too-few-words", found.word_count < 50),
        ("gopher-too-many-words", found.word_count > 100_000),
        ("gopher-short-words", found.median_word_length < 3),
        ("gopher-long-words", found.median_word_length > 10),
        ("gopher-symbols", found.symbol_to_word_ratio > 0.1),
        ("gopher-non-alphabetic-words", found.fraction_of_words_with_alpha_character < 0.8),
        ("gopher-few-stop-words", found.required_word_count < 2),
        ("gopher-bullets", found.fraction_of_lines_starting_with_bullet_point > 0.9),
        ("gopher-ellipses", found.fraction_of_lines_ending_with_ellipsis > 0.3),
    ):
        if bad:
            return None, name
    return text, None


def dolma_repetition(text):
    found = dolma(text)
    values = [
        ("gopher-dup-line", found.fraction_of_duplicate_lines, 0.3),
        ("gopher-dup-line-characters", found.fraction_of_characters_in_duplicate_lines, 0.3),
    ]
    values += [(f"gopher-top-{n}-gram", value, TOP[n]) for n, value in found.fraction_of_characters_in_most_common_ngram]
    values += [(f"gopher-dup-{n}-gram", value, DUPLICATE[n]) for n, value in found.fraction_of_characters_in_duplicate_ngrams]
    for name, value, limit in values:
        if value > limit:
            return None, name
    return text, None


RULES = {
    "gopher-repetition@datatrove": datatrove(GopherRepetitionFilter()),
    "gopher-quality@datatrove": datatrove(GopherQualityFilter()),
    "c4@datatrove": datatrove(C4QualityFilter()),
    "fineweb": datatrove(FineWebQualityFilter()),
    "fineweb-recipe": datatrove(*FINEWEB_RECIPE),
    "gopher-quality@dolma": dolma_quality,
    "gopher-repetition@dolma": dolma_repetition,
    "c4": c4_pages(split_into_sentences),
}


def share(part, whole):
    return part / whole if whole else 0.0


def signals(text):
    """Statistics of datatrove's filters, from its functions where it has them, and of Dolma's tagger."""
    words = split_into_words(text, Languages.english)
    real = [word for word in words if any(c not in PUNCTUATION_SET for c in word)]
    split = text.splitlines()
    found = {
        "characters": len(text),
        "datatrove-tokens": len(words),
        "datatrove-words": len(real),
        "datatrove-mean-word-characters": share(sum(map(len, real)), len(real)),
        "datatrove-hash-token-fraction": share(text.count("#"), len(words)),
        "datatrove-ellipsis-token-fraction": share(text.count("...") + text.count("…"), len(words)),
        "datatrove-bullet-line-fraction": share(sum(s.lstrip().startswith(("•", "-")) for s in split), len(split)),
        "datatrove-ellipsis-line-fraction": share(sum(s.rstrip().endswith(("...", "…")) for s in split), len(split)),
        "datatrove-alphabetic-token-fraction": share(sum(any(c.isalpha() for c in w) for w in words), len(words)),
        "datatrove-stop-words": len(set(STOP_WORDS) & set(words)),
    }
    for name, parts in (("paragraph", re.split(r"\n{2,}", text.strip())), ("line", re.split(r"\n+", text))):
        count, characters = repeats.find_duplicates(parts) if text else (0, 0)
        found[f"datatrove-duplicate-{name}-fraction"] = share(count, len(parts))
        found[f"datatrove-duplicate-{name}-character-fraction"] = share(characters, len(text))
    for n in (2, 3, 4):
        grams = repeats.get_n_grams(words, n)
        found[f"datatrove-top-{n}-gram-fraction"] = share(repeats.find_top_duplicate(grams), len(text)) if grams else 0.0
    for n in range(5, 11):
        found[f"datatrove-duplicate-{n}-gram-fraction"] = share(repeats.find_all_duplicate(words, n), len(text))
    lines = [line for line in text.split("\n") if line.strip()]
    found |= {
        "fineweb-terminal-line-fraction": share(sum(line.endswith(tuple(TERMINAL_PUNCTUATION)) for line in lines), len(lines)),
        "fineweb-short-line-fraction": share(sum(len(line) <= 30 for line in lines), len(lines)),
        "fineweb-duplicate-line-character-fraction": share(repeats.find_duplicates(lines)[1], len(text.replace("\n", ""))),
        "fineweb-line-break-token-fraction": share(text.count("\n"), len(words)),
    }
    tagged = dolma(text)
    found |= {
        "dolma-words": tagged.word_count,
        "dolma-median-word-characters": tagged.median_word_length,
        "dolma-symbol-word-fraction": tagged.symbol_to_word_ratio,
        "dolma-alphabetic-word-fraction": tagged.fraction_of_words_with_alpha_character,
        "dolma-stop-words": tagged.required_word_count,
        "dolma-bullet-line-fraction": tagged.fraction_of_lines_starting_with_bullet_point,
        "dolma-ellipsis-line-fraction": tagged.fraction_of_lines_ending_with_ellipsis,
        "dolma-duplicate-line-fraction": tagged.fraction_of_duplicate_lines,
        "dolma-duplicate-line-character-fraction": tagged.fraction_of_characters_in_duplicate_lines,
    }
    found |= {f"dolma-top-{n}-gram-fraction": value for n, value in tagged.fraction_of_characters_in_most_common_ngram}
    found |= {f"dolma-duplicate-{n}-gram-fraction": value for n, value in tagged.fraction_of_characters_in_duplicate_ngrams}
    return found
