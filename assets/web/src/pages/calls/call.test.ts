import { describe, expect, test } from "vitest";
import type { Call } from "../../api/types";
import { bucketsOf, countMasks, curlOf, itemOf, maskParts, messagesOf, replayOf, sqlOf } from "./call";

const call = (more: Partial<Call> = {}): Call => ({
  id: "7", created_at: "2026-11-20T14:31:44Z", prompt_name: "support/answer", prompt_version: 17, request_id: "r",
  input_text: "It's late", output_text: "Sorry.", metadata: { model: "gpt-4.1", provider: "openai" }, feedback: [], ...more,
});

describe("buckets", () => {
  test("stand input first, each at its rate", () => {
    const found = bucketsOf({ buckets: { output_visible: 298, input_uncached: 412, cache_read: 3840 }, rates: { output_visible: 15, input_uncached: 3 } });
    expect(found.map((row) => [row.bucket, row.cost_usd])).toEqual([["input_uncached", 0.001236], ["cache_read", null], ["output_visible", 0.00447]]);
  });
  test("of units have the rate of their own size", () => expect(bucketsOf({ buckets: { web_searches: 2 }, rates: { web_searches: 10 } })[0]?.cost_usd).toBe(0.02));
  test("of a call that says none are none", () => expect([bucketsOf(null), bucketsOf({ buckets: "x" })]).toEqual([[], []]));
});

describe("messages", () => {
  test.each<[string | null, [string, string][]]>([
    [null, []],
    ["Where?", [["user", "Where?"]]],
    ['{"a": 1}', [["user", '{"a": 1}']]],
    ['[{"role":"system","content":"Be kind."},{"role":"user","content":[{"type":"text","text":"Hi"}]}]', [["system", "Be kind."], ["user", "Hi"]]],
  ])("%s", (text, wanted) => expect(messagesOf(text, "user").map((one) => [one.role, one.text])).toEqual(wanted));
});

test("what was taken out is marked", () => {
  expect(maskParts("Mail [e-mail removed] now")).toEqual(["Mail ", "[e-mail removed]", " now"]);
  expect(countMasks("[key removed] [key removed]", null, "[x]")).toBe(2);
});

describe("the same call elsewhere", () => {
  test("the shell gets quotes that hold", () => {
    const text = curlOf(call());
    expect(text).toContain("https://api.openai.com/v1/chat/completions");
    expect(text).toContain("It'\\''s late");
    expect(text).toContain("Bearer $OPENAI_API_KEY");
  });
  test("Anthropic has the system's text apart", () => {
    const text = curlOf(call({ input_text: '[{"role":"system","content":"S"},{"role":"user","content":"U"}]', metadata: { model: "claude", provider: "anthropic" } }));
    expect(text).toContain('"system":"S","messages":[{"role":"user","content":"U"}]');
  });
  test("a call rated down is one whose answer is rejected", () => {
    expect(JSON.parse(itemOf(call()))).toEqual({ id: "call-7", input: "It's late", expected: "Sorry." });
    expect(JSON.parse(itemOf(call({ feedback: [{ rating: 0, comment: null, source: null, created_at: "" }] })))).toHaveProperty("rejected");
  });
  test("an id that is no number is quoted", () => expect(sqlOf("a'b")).toContain("WHERE id = 'a''b';"));
  test("the playground is opened with what was asked", () => {
    const input_text = '[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"}]';
    expect(replayOf(call({ input_text }))).toEqual({ name: "support/answer", text: "Hi", draft: 1, system: "Be kind.", col: "openai:gpt-4.1" });
    expect(replayOf(call({ input_text: null, metadata: { model: "m", provider: "mine" } }))).toEqual({ name: "support/answer", version: 17, col: null });
  });
});
