#!/usr/bin/env python3
"""Writes texts, the tokens and the number of sentences that spaCy finds in them: the oracle of pipeline/src/analysis/english.

    python english-cases.py > pipeline/src/analysis/english/cases.jsonl     (with spacy==3.8.18)
"""

import json
import random

import spacy
from spacy.lang import char_classes

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
written = [
    "", "   ", "\n\n", "one", "Don't do it; she'd've known (see e.g. p. 12).", "The U.S. economy grew 3.5% in Q1, i.e. $5bn.",
    "Visit https://www.example.com/a?b=c#d or mail me@example.org, ok?", "http://10.0.0.1/x 8.8.8.8 192.168.1.1:80 8.8.8.8:443/p 1.2.3.255",
    "foo.bar.baz example.com example.Com sub_domain.example.co.uk. a.b", "user:pass@host.name:8080/path ftp://x.yz", "(8) :) (foo):) x):) ): a: ) :( b",
    "well-known state-of-the-art 5--6 a--b a---b a----b x—y x——y x–y", "5kg 10km/h 3m² 20%, 5US$ $5 US$5 C$5 5€ €5 C++ 5+ +5 +a", "\u201cHello,\u201d he said\u2026 \u2018so\u2019 what\u2019s 'quoted'",
    "a/b and/or w/o km/h 1/2 a=b a<b c>d x:y 12:30 a.B a.b 'A.B' B.a", "Mr. Smith vs. Dr. Jones, Ph.D., at 10a.m. or 5 p.m.. End...", "......a...b .. . ...", "id cant wont were well Ill Its I'm Im",
    "\u4f60\u597d\u3002\u4e16\u754c\uff01 \u0645\u0631\u062d\u0628\u0627\u060c \u043f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440.", "5\u00b0C. 20\u00b0F. \u00b0K.", "\u2603\u2603snow\u2603man \U0001f600\U0001f600 a\U0001f600b",
    "tab\there  two\u00a0nbsp \u2028line\x1csep\x85next \x0b \x0c.", "nul\x00byte \x07bell a\x7fb", "#tag ##h @user _under_ *bold* `code` ~tilde~ ^x^ a^2 2^3 2*3 2*x",
    "What?! Yes. \"No.\" Maybe... (Sure.) End", "One. Two.  . Three\n.\nFour", "'s 's' ''s dog's dogs' DOG'S d\u2019s", "localhost:8080 www.a-b.c_d.com/ a.b.c.d x@y.zz mailto:x@y.org", "AT&T R&D O'Reilly o'clock y'all ma'am",
    "1,000,000 1.5e-10 0x1F 1-2-3 2020-01-01 +1-555-0100 v1.2.3", "f(x)=x^2+1; if(a<b){c=d;} arr[i][j] ->x =>y !=z ==w", "e.g., i.e., etc. U.K.; A. B. AB. aB. Ab. \u00c9\u00c9.",
]
pieces = (
    list("aBz5.,;:!?'\"()[]{}<>-_=+*/\\#&%$@~^|` ") + ["'s", "n't", "...", "..", "--", "\u2014", "\u2013", "\u2026", "\u2019", "\u201d", "word", "Word", "US", "US$", "km", "m\u00b2", ".com", "http://", "www.", "x.y",
    "10", "1.2.3.4", "\u00b0", "C.", "\u00e9", "\u00c9", "\u4f60", "\u3002", "\u0430", "\u0410", "\u0664", "\u2603", "\U0001f600", "\u00a0", "\n", "\t", "  ", " ", " ", " ", "the", "can't", "e.g.", "Mr.", "vs.", "and/or", "I'm", "Id"]
    + [text for text in sorted(nlp.tokenizer.rules) if text.strip() and nlp.tokenizer.find_prefix(text)]
    + char_classes.LIST_UNITS
)
choose = random.Random(1)
for _ in range(1500):
    written.append("".join(choose.choice(pieces) for _ in range(choose.randint(1, 12))))
for text in written:
    document = nlp(text)
    tokens = [token.text for token in document if token.text.strip()]
    sentences = len([sentence for sentence in document.sents if sentence.text.strip()])
    print(json.dumps({"text": text, "tokens": tokens, "sentences": sentences}, ensure_ascii=False))
