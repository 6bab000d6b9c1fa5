import { afterEach, expect, test, vi } from "vitest";
import { askedIn, askedText, askModel, cutLines, measuredOf, shortModel } from "./stream";

afterEach(() => vi.unstubAllGlobals());

function serve(chunks: string[]): void {
  const bytes = new TextEncoder();
  const body = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(bytes.encode(chunk));
      controller.close();
    },
  });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.stubGlobal("fetch", async () => new Response(body, { status: 200 }));
}

const ask = (heard: string[]) => askModel({ model: "openai:x", content: "hi", variables: {} }, new AbortController().signal, (text) => heard.push(text));

test("lines may come in any pieces", () => {
  expect(cutLines("", '{"text": "a"}\n{"te')).toEqual([['{"text": "a"}'], '{"te']);
  expect(cutLines('{"te', 'xt": "b"}\n\n')).toEqual([['{"text": "b"}'], ""]);
});

test("the text is heard bit by bit, and the reply comes back", async () => {
  serve(['{"text": "Hel', 'lo"}\n{"text": " wörld"}\n', '{"reply": {"text": "Hello wörld", "finish_reason": "stop", "call": null}}']);
  const heard: string[] = [];
  expect((await ask(heard)).text).toBe("Hello wörld");
  expect(heard).toEqual(["Hello", " wörld"]);
});

test("an error in the stream is raised with what to do", async () => {
  serve(['{"text": "Hel"}\n{"error": {"code": "provider", "message": "Overloaded.", "hint": "Wait."}}\n']);
  await expect(ask([])).rejects.toMatchObject({ message: "Overloaded.", hint: "Wait." });
});

test("a stream that ends without a reply broke off", async () => {
  serve(['{"text": "Hel"}\n']);
  await expect(ask([])).rejects.toMatchObject({ code: "cut" });
});

test("what is unknown of a call is null", () => {
  expect(measuredOf(null).cost_usd).toBeNull();
  expect(measuredOf({ id: "1", created_at: "", prompt_name: "a", prompt_version: null, request_id: null, input_text: null, output_text: null, feedback: [], metadata: { latency_ms: 12.5, cost_usd: "?" } })).toMatchObject({ latency_ms: 12.5, cost_usd: null });
});

test.each(["openai:gpt-4.1-mini", "openai:gpt-4.1-mini~17", "openai:gpt-4.1-mini!drip0.2", "ollama:llama3:8b~3"])("%s is kept in the address", (text) => expect(askedText(askedIn(text))).toBe(text));

test("a model's short name has its own colons", () => expect(shortModel("ollama:llama3:8b")).toBe("llama3:8b"));
