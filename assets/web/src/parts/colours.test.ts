import { expect, test } from "vitest";
import { modelColours } from "./colours";

test("up to five models have five colours, in whatever order they come", () => {
  const names = ["gpt-4.1", "gpt-4.1-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "o3"];
  const colours = modelColours(names);
  expect(new Set(colours.values()).size).toBe(5);
  expect(modelColours(names.toReversed())).toEqual(colours);
});

test("more models than colours share them", () => {
  const colours = modelColours(Array.from({ length: 12 }, (_, at) => `model-${at}`));
  expect([...colours.values()].every((colour) => colour >= 1 && colour <= 5)).toBe(true);
});
