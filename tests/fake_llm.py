"""A fake of four APIs (OpenAI, Anthropic, Gemini, Ollama) on the loopback: quick, and misbehaving on demand.

What a request asks for stands in its model's name, behind the last '!': `gpt-4.1-mini!429-once`. The server answers
under the name before it, so that prices apply. Behind `say:` stands the text of the answer, in which NONCE is the
nonce of a judge's request. `requests` holds what arrived, in order, and `headers` its headers.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

CHAT_USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 0},
}
RESPONSE_USAGE = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 1000},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 100},
    "total_tokens": 1500,
}
MESSAGE_USAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 50,
    "cache_read_input_tokens": 1000,
    "output_tokens": 300,
    "service_tier": "standard",
}
GEMINI_USAGE = {
    "promptTokenCount": 1200,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 200,
    "thoughtsTokenCount": 100,
    "totalTokenCount": 1500,
}
OLLAMA_USAGE = {"prompt_eval_count": 1200, "eval_count": 300, "total_duration": 5_000_000, "eval_duration": 4_000_000}
WORDS = ["Hello", ", ", "world", "!"]
ARGUMENTS = ['{"ci', 'ty": "Bo', 'nn"}']
VECTOR = [0.5, -0.25]


class FakeServer(NamedTuple):
    """A running fake: its address, the requests that arrived as (path, body), and their headers by lower-case name."""

    url: str
    requests: list[tuple[str, dict[str, Any]]]
    headers: list[dict[str, str]]


@contextlib.contextmanager
def serve_fake() -> Iterator[FakeServer]:
    """Run a fake server within a block."""
    requests: list[tuple[str, dict[str, Any]]] = []
    headers: list[dict[str, str]] = []
    handler = type("Handler", (_Handler,), {"requests": requests, "seen": headers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield FakeServer(f"http://127.0.0.1:{server.server_port}", requests, headers)
    finally:
        server.shutdown()
        server.server_close()


def answer_of(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the whole answer to a request."""
    model, _, mood = _model_of(path, body).partition("!")
    tools = bool(body.get("tools"))
    if path.endswith("enerateContent"):
        return _generated(model, body, mood)
    if path.endswith("/api/chat"):
        return _ollama_turn(model, body, mood)
    if path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": None if tools else _text(body, mood), "refusal": None}
        if tools:
            call = {"name": "weather", "arguments": "".join(ARGUMENTS)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
        reason = "length" if mood == "length" else "tool_calls" if tools else "stop"
        choices = [
            {"index": place, "message": message, "finish_reason": reason, "logprobs": None}
            for place in range(body.get("n") or 1)
        ]
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": f"{model}-2025-04-14"}
        return {**head, "choices": choices, "usage": CHAT_USAGE, "service_tier": "default", "system_fingerprint": "f"}
    if path.endswith("/completions"):
        choices = [{"index": 0, "text": "".join(WORDS), "finish_reason": "stop", "logprobs": None}]
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model}
        return {**head, "choices": choices, "usage": CHAT_USAGE}
    if path.endswith("/embeddings"):
        import array
        import base64

        if body.get("encoding_format") == "float":
            return _embeddings(model, body["input"], mood)
        packed = base64.b64encode(array.array("f", VECTOR).tobytes()).decode()
        data = [{"object": "embedding", "index": 0, "embedding": packed}]
        return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    if path.endswith("/responses"):
        return _response(model, body, mood)
    content: list[dict[str, Any]] = [{"type": "text", "text": _text(body, mood)}]
    if tools:
        content.append({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bonn"}})
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    return {**head, "content": content, "stop_reason": "tool_use" if tools else "end_turn", "usage": MESSAGE_USAGE}


def _embeddings(model: str, texts: list[str], mood: str) -> dict[str, Any]:
    """Return a vector of letter counts for each text; a mood says what is wrong with them."""
    rows: list[Any] = [[1.0 + text.lower().count(letter) for letter in "aeinorst"] for text in texts]
    if mood == "few":
        rows = rows[1:]
    if mood == "uneven":
        rows[-1] = rows[-1][:3]
    if mood == "words":
        rows[0] = ["a", "b"]
    data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)]
    if mood == "twice":
        data[0]["index"] = 1
    if mood == "bare":
        return {"object": "list", "data": rows}
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data[::-1], "model": model, "usage": usage}


def _model_of(path: str, body: dict[str, Any]) -> str:
    """Return the model of a request: Gemini has it in the path."""
    named, _, what = unquote(path).rpartition("/models/")[2].rpartition(":")
    return named if what.endswith("enerateContent") else str(body.get("model"))


def _generated(model: str, body: dict[str, Any], mood: str) -> dict[str, Any]:
    head = {"responseId": "gem-1", "modelVersion": model, "usageMetadata": GEMINI_USAGE}
    if mood == "blocked":
        return {**head, "promptFeedback": {"blockReason": "SAFETY"}}
    parts: list[dict[str, Any]] = [{"text": "I think.", "thought": True}, {"text": _text(body, mood)}]
    if body.get("tools"):
        parts.append({"functionCall": {"name": "weather", "args": {"city": "Bonn"}}})
    reason = "MAX_TOKENS" if mood == "length" else "STOP"
    return {
        **head,
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}],
    }


def _ollama_turn(model: str, body: dict[str, Any], mood: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _text(body, mood)}
    if body.get("tools"):
        message["tool_calls"] = [{"function": {"name": "weather", "arguments": {"city": "Bonn"}}}]
    reason = "length" if mood == "length" else "stop"
    head = {
        "model": model,
        "created_at": "2026-11-24T00:00:00Z",
        "message": message,
        "done_reason": reason,
        "done": True,
    }
    return {**head, **OLLAMA_USAGE}


def _text(body: dict[str, Any], mood: str) -> str:
    if mood.startswith("drip-many"):
        return "Many words " * 20
    if mood.startswith("say:"):
        found = re.search("<<<([0-9a-f]{16}) ", json.dumps(body))
        return mood[4:].replace("NONCE", found[1] if found else "NONCE")
    return '{"city": "Bonn"}' if body.get("response_format") and mood != "length" else "".join(WORDS)


def _response(model: str, body: dict[str, Any], mood: str) -> dict[str, Any]:
    text = '{"city": "Bonn"}' if body.get("text") else "".join(WORDS)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    output: list[dict[str, Any]] = [
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    ]
    if body.get("tools"):
        call = {"name": "weather", "arguments": "".join(ARGUMENTS), "call_id": "call_1", "status": "completed"}
        output.append({"type": "function_call", "id": "fc_1", **call})
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": "completed", "error": None}
    found = {**head, "output": output, "usage": RESPONSE_USAGE, "service_tier": "default", "tools": []}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "incomplete_details": None, "instructions": None}
    if mood == "failed":
        found |= {"status": "failed", "error": {"code": "server_error", "message": "it broke"}, "output": []}
    if mood == "incomplete":
        found |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return {**more, **found, "metadata": {}, "temperature": 1.0, "top_p": 1.0}


def events_of(path: str, body: dict[str, Any]) -> list[tuple[str | None, Any]]:
    """Return the events (name, data) of a streamed answer."""
    whole = answer_of(path, body)
    if path.endswith("/chat/completions"):
        return _chat_events(whole, body)
    if path.endswith("/completions"):
        chunks = [{**whole, "choices": [{**whole["choices"][0], "text": word}]} for word in WORDS]
        return _with_usage(chunks, whole, body)
    if path.endswith("/responses"):
        return _response_events(whole)
    if path.endswith(":streamGenerateContent"):
        return _generated_events(whole)
    if path.endswith("/api/chat"):
        return _turn_lines(whole)
    return _message_events(whole)


def _with_usage(chunks: list[dict[str, Any]], whole: dict[str, Any], body: dict[str, Any]) -> list[tuple[None, Any]]:
    for chunk in chunks:
        chunk.pop("usage", None)
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**chunks[-1], "choices": [], "usage": whole["usage"]})
    return [*((None, chunk) for chunk in chunks), (None, "[DONE]")]


def _words_of(text: str) -> list[str]:
    return WORDS if text == "".join(WORDS) else re.findall(r"\S+ ", text) if text.startswith("Many ") else [text]


def _chat_events(whole: dict[str, Any], body: dict[str, Any]) -> list[tuple[None, Any]]:
    head = {**whole, "object": "chat.completion.chunk"}
    message = whole["choices"][0]["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if message["content"] else None}]
    if message["content"]:
        deltas += [{"content": word} for word in _words_of(message["content"])]
    for place, piece in enumerate(ARGUMENTS if message.get("tool_calls") else ()):
        first = {"id": "call_1", "type": "function"} if place == 0 else {}
        function = {"name": "weather", "arguments": piece} if place == 0 else {"arguments": piece}
        deltas.append({"tool_calls": [{"index": 0, **first, "function": function}]})
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    reason = whole["choices"][0]["finish_reason"]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return _with_usage(chunks, whole, body)


def _generated_events(whole: dict[str, Any]) -> list[tuple[None, Any]]:
    (candidate,) = whole["candidates"]
    thought, _, *calls = candidate["content"]["parts"]
    found = []
    for part in [thought, *({"text": word} for word in WORDS), *calls]:
        piece = {"content": {"role": "model", "parts": [part]}, "index": 0}
        usage = {**whole["usageMetadata"], "candidatesTokenCount": 1}
        found.append({**whole, "candidates": [piece], "usageMetadata": usage})
    found.append({**whole, "candidates": [{"finishReason": candidate["finishReason"], "index": 0}]})
    return [(None, event) for event in found]


def _turn_lines(whole: dict[str, Any]) -> list[tuple[None, Any]]:
    head = {key: whole[key] for key in ("model", "created_at")}
    found = [{**head, "message": {"role": "assistant", "content": word}, "done": False} for word in WORDS]
    return [(None, line) for line in [*found, {**whole, "message": {"role": "assistant", "content": ""}}]]


def _response_events(whole: dict[str, Any]) -> list[tuple[str, Any]]:
    began = {**whole, "status": "in_progress", "output": [], "usage": None}
    item, where = whole["output"][0] if whole["output"] else None, {"item_id": "msg_1", "output_index": 0}
    found: list[dict[str, Any]] = [{"type": "response.created", "response": began}]
    if item:
        part, text = item["content"][0], item["content"][0]["text"]
        opened = {**item, "status": "in_progress", "content": []}
        found.append({"type": "response.output_item.added", "output_index": 0, "item": opened})
        empty = {**part, "text": ""}
        found.append({"type": "response.content_part.added", **where, "content_index": 0, "part": empty})
        for word in WORDS if text == "".join(WORDS) else [text]:
            found.append(
                {"type": "response.output_text.delta", **where, "content_index": 0, "delta": word, "logprobs": []}
            )
        found.append({"type": "response.output_text.done", **where, "content_index": 0, "text": text, "logprobs": []})
        found.append({"type": "response.content_part.done", **where, "content_index": 0, "part": part})
        found.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    found.append({"type": f"response.{whole['status']}", "response": whole})
    return [(event["type"], {**event, "sequence_number": place}) for place, event in enumerate(found)]


def _message_events(whole: dict[str, Any]) -> list[tuple[str, Any]]:
    opening = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": opening}, {"type": "ping"}]
    for place, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        start = {**block, "text": ""} if is_text else {**block, "input": {}}
        found.append({"type": "content_block_start", "index": place, "content_block": start})
        for piece in WORDS if is_text else ARGUMENTS:
            delta = (
                {"type": "text_delta", "text": piece}
                if is_text
                else {"type": "input_json_delta", "partial_json": piece}
            )
            found.append({"type": "content_block_delta", "index": place, "delta": delta})
        found.append({"type": "content_block_stop", "index": place})
    for tokens in (150, 300):  # cumulative: the last counts
        reason = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        found.append({"type": "message_delta", "delta": reason, "usage": {"output_tokens": tokens}})
    found.append({"type": "message_stop"})
    return [(event["type"], event) for event in found]


class _Handler(BaseHTTPRequestHandler):
    """Answers as the model's mood says."""

    protocol_version = "HTTP/1.1"
    requests: list[tuple[str, dict[str, Any]]]
    seen: list[dict[str, str]]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a request."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        path = self.path.partition("?")[0]
        model = _model_of(path, body)
        seen = sum(1 for place, other in self.requests if _model_of(place, other) == model)
        self.requests.append((path, body))
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        mood = model.partition("!")[2]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.answer(path, body, mood, seen)

    def answer(self, path: str, body: dict[str, Any], mood: str, seen: int) -> None:
        """Answer, or misbehave."""
        status = {"429": 429, "500": 500, "400": 400, "401": 401, "422": 422}.get(mood)
        if (mood == "429-once" and seen == 0) or status:
            kind = "rate_limit_error" if "429" in mood else "invalid_request_error"
            message = f"told to fail with {mood}, key sk-abcdefghijklmnopqrstuvwx"
            return self.send(
                status or 429, {"type": "error", "error": {"type": kind, "message": message, "code": kind}}
            )
        if mood == "no-options" and "stream_options" in body:
            message = "Unrecognized request argument supplied: stream_options"
            return self.send(400, {"error": {"type": "invalid_request_error", "message": message}})
        if mood.startswith("slow"):
            time.sleep(float(mood.removeprefix("slow") or 0.3))
        if mood == "wrong-json":
            return self.send_bytes(200, "application/json", b'{"id": "chatcmpl-1", "choi')
        if mood == "html":
            return self.send_bytes(200, "text/html", b"<p>Out of order</p>")
        if (body.get("stream") or path.endswith(":streamGenerateContent")) and mood != "no-stream":
            return self.stream(path, body, mood)
        return self.send(200, answer_of(path, body))

    def send(self, status: int, data: Any) -> None:
        """Send JSON."""
        self.send_bytes(status, "application/json", json.dumps(data).encode())

    def send_bytes(self, status: int, kind: str, body: bytes) -> None:
        """Send a body."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", "req_1")
        if status == 429:
            self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(body)

    def stream(self, path: str, body: dict[str, Any], mood: str) -> None:
        """Send events, each in a chunk of its own."""
        self.send_response(200)
        has_lines = path.endswith("/api/chat")
        self.send_header("content-type", "application/x-ndjson" if has_lines else "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-request-id", "req_1")
        self.end_headers()
        events = events_of(path, body) if mood != "empty" else []
        for place, (name, data) in enumerate(events):
            if mood == "cut" and place == 3:
                self.close_connection = True
                return
            if mood == "broken" and place == 3:
                name, data = "error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            if mood.startswith("drip"):
                time.sleep(float(mood.removeprefix("drip").removeprefix("-many") or 0.05))
            text = data if isinstance(data, str) else json.dumps(data)
            self.write(f"{text}\n" if has_lines else (f"event: {name}\n" if name else "") + f"data: {text}\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def write(self, text: str) -> None:
        """Write one HTTP chunk."""
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())
        self.wfile.flush()
