"""Answer questions about Python from its own language reference, which every Python carries in pydoc_data.topics.

The rendered prompt, all of it, is the query of one ranking formula, BM25 over sentences: each word of the prompt pulls
towards the sentences that hold it. So a prompt can be edited for the better and for the worse, as it is with a model.
"""

import heapq
import json
import math
import os
import re
import time
import urllib.request
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import promptry

PROMPT = (Path(__file__).parent / "prompt.txt").read_text(encoding="utf-8")
SENTENCES_IN_ANSWER = 5
SENTENCES_IN_CONTEXT = 15
SATURATION = 1.2  # k1 of the formula: how much it still adds that a word comes again
LENGTH_PENALTY = 0.5  # b of the formula: how much is taken off for the length of a sentence
TASK = "Quote, word for word, the sentences of the context that answer the question."
TIMEOUT_S = 60


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


def ask_model(prompt: str, context: list[str]) -> tuple[str, dict[str, Any]]:
    """Ask the model at OPENAI_BASE_URL, and return its answer and the facts of the call: model, provider, usage."""
    url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")
    content = "\n".join([prompt, "Context:", *context])
    messages = [{"role": "system", "content": TASK}, {"role": "user", "content": content}]
    body = {"model": os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), "messages": messages}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        reply = json.load(response)
    facts = {"model": reply.get("model", body["model"]), "provider": "openai", "usage": reply.get("usage")}
    return reply["choices"][0]["message"]["content"], facts


def rank(query: str, limit: int = SENTENCES_IN_ANSWER) -> list[str]:
    """Return the sentences of the reference that fit a query best, the best first.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """
    sentences, weights = load_index()
    scores: defaultdict[int, float] = defaultdict(float)
    for word in split_words(query):
        for number, weight in weights.get(word, ()):
            scores[number] += weight
    best = heapq.nsmallest(limit, ((-score, number) for number, score in scores.items()))
    return [sentences[number] for _, number in best]


@cache
def load_index() -> tuple[list[str], dict[str, list[tuple[int, float]]]]:
    """Return all sentences, and for each word the numbers of those that hold it with the weight it has there."""
    sentences = list(dict.fromkeys(sentence for text in topics.values() for sentence in split_sentences(text)))
    counts = [Counter(split_words(sentence)) for sentence in sentences]
    mean_length = sum(count.total() for count in counts) / len(counts)
    holders = Counter(word for count in counts for word in count)
    weights: dict[str, list[tuple[int, float]]] = {word: [] for word in holders}
    for number, count in enumerate(counts):
        damping = SATURATION * (1 - LENGTH_PENALTY + LENGTH_PENALTY * count.total() / mean_length)
        for word, times in count.items():
            rarity = math.log(1 + (len(sentences) - holders[word] + 0.5) / (holders[word] + 0.5))
            weights[word].append((number, rarity * times * (SATURATION + 1) / (times + damping)))
    return sentences, weights


def split_sentences(text: str) -> list[str]:
    """Split a topic into its sentences, without the marks of its layout."""
    text = re.sub(r"^ *[*=~^\"|+-]{3,}$", "", text, flags=re.MULTILINE)  # rules under headings and in tables
    text = re.sub(r"^ *(?:[*+-]|\d+\.) +", "\n", text, flags=re.MULTILINE)  # the marks of list items
    text = re.sub(r"[\"“”]|(?<!\S)\*{1,2}(?=\w)|(?<=[\w:.])\*{1,2}(?=\W)", "", text)  # quotes and emphasis
    text = re.sub(r"(?<=\w-)\n *", "", text.replace("’", "'"))  # words that are broken at the end of a line
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return [sentence for part in paragraphs for sentence in re.split(r"(?<=[.?!:]) +(?=[A-Z_(])", part) if sentence]


def split_words(text: str) -> list[str]:
    """Split a text into words in lower case, without the endings that only grammar asks for."""
    return [re.sub(r"(?<=\w{3})(?:ings?|ed|es|e|(?<!s)s)$", "", word) for word in re.findall(r"\w+", text.lower())]
