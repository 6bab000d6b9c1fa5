import { expect, test } from "vitest";
import type { FeedbackItem } from "../../api/types";
import { byVersion, mostNamed, ratingDays } from "./fold";

const row = (created_at: string, rating: number | null, prompt_name = "a", prompt_version = 1, comment: string | null = null) => ({ created_at, rating, prompt_name, prompt_version, comment }) as FeedbackItem;

test("days of none are there too, and a comment alone is no rating", () => {
  const found = ratingDays([row("2026-11-03T09:00:00Z", 0.5), row("2026-11-01T09:00:00Z", 0.49), row("2026-11-01T10:00:00Z", null)], "2026-11-04T12:00:00Z");
  expect(found).toEqual([
    { day: "2026-11-01", up: 0, down: 1 }, { day: "2026-11-02", up: 0, down: 0 }, { day: "2026-11-03", up: 1, down: 0 }, { day: "2026-11-04", up: 0, down: 0 },
  ]);
  expect(ratingDays([row("2026-11-04T09:00:00Z", 1)], "2026-11-04T12:00:00Z", 3).map((one) => [one.day, one.up])).toEqual([["2026-11-02", 0], ["2026-11-03", 0], ["2026-11-04", 1]]);
  expect(ratingDays([], "2026-11-04T12:00:00Z")).toEqual([]);
});

test("the version rated down most stands first", () => {
  const found = byVersion([row("", 1), row("", 0, "a", 2), row("", 1, "a", 2), row("", null, "b", 1, "hm")]);
  expect(found.map((one) => [one.prompt, one.version, one.ratings, one.down, one.mean, one.comments])).toEqual([["a", 2, 2, 1, 0.5, 0], ["a", 1, 1, 0, 1, 0], ["b", 1, 0, 0, Number.NaN, 1]]);
});

test("the name that most have", () => expect([mostNamed([{ prompt_name: "b" }, { prompt_name: "a" }, { prompt_name: "b" }]), mostNamed([])]).toEqual(["b", null]));
