import { expect, test } from "vitest";
import type { Settings } from "../api/types";
import { findingsOf } from "./Settings";

const found = (more: Partial<Settings> = {}): Settings => ({ items: [], store: { path: "s.db", bytes: 1, mode: "0600" }, version: "1", read_only: false, variables: [], ...more });
const words = (settings: Settings) => findingsOf(settings).map((one) => one.word);

test("a private store without a file of settings has no fault", () => expect(words(found())).not.toContain("fault"));
test("a store that others can read is a fault", () => {
  expect(findingsOf(found({ store: { path: "s.db", bytes: 1, mode: "0644" } })).find((one) => one.word === "fault")?.text).toMatch("chmod 600");
});
test("a store that is not there yet is none", () => expect(words(found({ store: { path: "s.db", bytes: null, mode: null } }))).not.toContain("fault"));
test("texts kept without masking are a hint", () => {
  const items = [{ key: "capture.text", value: true, source: "f" }, { key: "capture.mask", value: false, source: "f" }];
  expect(words(found({ items }))).toContain("hint");
});
test("a file that cannot be read is a fault", () => expect(words(found({ fault: "line 3" }))[0]).toBe("fault"));
