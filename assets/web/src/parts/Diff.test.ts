import { createElement, Fragment } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { changedLines, diffOf, hunksOf } from "./Diff";

test("lines that replace each other keep their numbers", () => {
  const lines = diffOf("a\nb\nc\n", "a\nB\nc\nd\n");
  expect(lines.map((line) => [line.kind, line.old, line.now, line.text])).toEqual([
    ["same", 1, 1, "a"],
    ["del", 2, undefined, "b"],
    ["add", undefined, 2, "B"],
    ["same", 3, 3, "c"],
    ["add", undefined, 4, "d"],
  ]);
});

test("a missing last newline is no change", () => {
  expect(diffOf("a\nb", "a\nb\n").every((line) => line.kind === "same")).toBe(true);
});

test("what changed is counted", () => expect(changedLines("a\nb\nc", "a\nx\ny")).toBe("+2 −2 lines"));

test("the hunks of a unified diff give back both texts", () => {
  const patch = "--- p v2\n+++ p v3\n@@ -4,3 +4,2 @@\n same\n-old one\n-old two\n+new";
  expect(hunksOf(patch)).toEqual([{ old: 4, fresh: 4, before: "same\nold one\nold two", now: "same\nnew" }]);
});

test("of a block that was reflowed only the words that differ are marked", () => {
  const html = (text: string, now: string) => diffOf(text, now).map((line) => renderToStaticMarkup(createElement(Fragment, null, line.words)));
  expect(html("use only the\npolicy below\n", "use the policy below\n")).toEqual([
    "use <del>only</del> the", "policy below", "use the policy below",
  ]);
});

test("words that changed side by side are one mark", () => {
  const html = diffOf("within 30 days of it", "within a few weeks of it").map((line) => renderToStaticMarkup(createElement(Fragment, null, line.words)));
  expect(html).toEqual(["within <del>30 days</del> of it", "within <ins>a few weeks</ins> of it"]);
});
