"""Answer questions about Python from its own language reference, which every Python carries in pydoc_data.topics.

The rendered prompt, all of it, is the query of one ranking formula (BM25 over sentences): each word of the prompt
pulls towards the sentences that hold it, so a prompt can be edited for better and for worse, as with a model.
"""

import json
import math
import os
import re
import sys
import time
import urllib.request
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from pydoc_data.topics import topics

import promptry

PROMPT = (Path(__file__).parent / "prompt.txt").read_text(encoding="utf-8")
SENTENCES_IN_ANSWER = 3
SENTENCES_IN_CONTEXT = 12
TIMEOUT_S = 60
K1 = 1.2  # how much a word that comes again in a sentence still adds
B = 0.75  # how much a long sentence is held against it


def answer(question: str) -> str:
    """Answer a question with the prompt that is in production, and record the call."""
    prompt = promptry.render_prompt("answer", PROMPT, env="prod", variables={"question": question})
    started = time.perf_counter()
    if os.environ.get("PROMPTRY_DEMO_LIVE"):
        text, facts = ask_model(prompt, rank(question, SENTENCES_IN_CONTEXT))
    else:
        text, facts = " ".join(rank(prompt)), {"model": "bm25", "provider": "local"}
    latency_ms = round((time.perf_counter() - started) * 1000, 3)
    promptry.track_invocation(
        "answer", {"latency_ms": latency_ms}, input_text=prompt, output_text=text, capture=True, **facts
    )
    return text


def rank(query: str, limit: int = SENTENCES_IN_ANSWER) -> list[str]:
    """Return the sentences of the reference that fit a query best, the best first, by BM25.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """
    sentences, postings = load_index()
    scores = Counter[int]()
    for word in split_words(query):
        for number, weight in postings.get(word, ()):
            scores[number] += weight
    best = sorted(scores, key=lambda number: (-scores[number], number))[:limit]
    return [sentences[number] for number in best]


@cache
def load_index() -> tuple[list[str], dict[str, list[tuple[int, float]]]]:
    """Return all sentences, and for each word the sentences that hold it with what it adds to their scores."""
    sentences = list(dict.fromkeys(sentence for text in topics.values() for sentence in split_sentences(text)))
    counts = [Counter(split_words(sentence)) for sentence in sentences]
    mean_length = sum(count.total() for count in counts) / len(counts)
    holders = Counter(word for count in counts for word in count)
    postings: dict[str, list[tuple[int, float]]] = {word: [] for word in holders}
    for number, count in enumerate(counts):
        damping = K1 * (1 - B + B * count.total() / mean_length)
        for word, times in count.items():
            rarity = math.log(1 + (len(sentences) - holders[word] + 0.5) / (holders[word] + 0.5))
            postings[word].append((number, rarity * times * (K1 + 1) / (times + damping)))
    return sentences, postings


def split_sentences(text: str) -> list[str]:
    """Split a topic into its sentences, without the marks of its layout."""
    text = re.sub(r"^ *[*=~^\"|+-]{3,}$", "", text, flags=re.MULTILINE)  # the rules under headings
    text = re.sub(r"^ *(?:[*+-]|\d+\.) +", "\n", text, flags=re.MULTILINE)  # the marks of list items
    text = re.sub(r"[\"“”]|(?<!\S)\*{1,2}(?=\w)|(?<=[\w:.])\*{1,2}(?=\W)", "", text).replace("’", "'")
    paragraphs = (" ".join(part.split()) for part in re.sub(r"(?<=\w-)\n *", "", text).split("\n\n"))
    return [sentence for part in paragraphs for sentence in re.split(r"(?<=[.?!:]) +(?=[A-Z_(])", part) if sentence]


def split_words(text: str) -> list[str]:
    """Split a text into words in lower case, without the endings that only grammar asks for."""
    return [re.sub(r"(?<=\w{3})(?:ings?|ed|es|e|(?<!s)s)$", "", word) for word in re.findall(r"\w+", text.lower())]
