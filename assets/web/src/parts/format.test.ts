import { describe, expect, test } from "vitest";
import * as f from "./format";

describe("unknown is a dash and never a nought", () => {
  const every = [f.number, f.signed, f.percent, f.points, f.pvalue, f.money, f.short, f.bytes, f.duration, f.age];
  test.each(every.map((format) => [format.name, format] as const))("%s", (_name, format) => {
    expect([format(null), format(undefined), format(Number.NaN)]).toEqual(["–", "–", "–"]);
  });
  test("times and intervals", () => {
    expect([f.utc(null), f.clock(""), f.day("no day"), f.pointsInterval(null)]).toEqual(["–", "–", "–", "–"]);
  });
});

test.each([
  [f.number(9214), "9,214"],
  [f.number(-3.25, 1), "−3.3"],
  [f.number(-0.04, 1), "0.0"],
  [f.signed(0.5), "+0.5"],
  [f.signed(0.04), "0.0"],
  [f.signed(-6.7), "−6.7"],
  [f.percent(0.942), "94.2%"],
  [f.percent(0.875, 1, { unit: false }), "87.5"],
  [f.points(-0.0667), "−6.7"],
  [f.pointsInterval([-0.127, -0.016]), "−12.7 to −1.6"],
  [f.percentInterval([0.804, 0.923]), "80.4 to 92.3%"],
  [f.pvalue(0.0108), "0.011"],
  [f.pvalue(0.5), "0.50"],
  [f.pvalue(2.9e-8), "<0.001"],
  [f.saidP(2.9e-8), "p < 0.001"],
  [f.saidP(0.011), "p = 0.011"],
  [f.counted(1, "case"), "1 case"],
  [f.counted(1200, "case"), "1,200 cases"],
  [f.listed(["a", "b", "c"]), "a, b and c"],
  [f.listed(["a"]), "a"],
])("figures: %s", (found, wanted) => expect(found).toBe(wanted));

test.each([
  [f.money(18.42), "$18.42"],
  [f.money(0), "$0.00"],
  [f.money(0.0031), "$0.0031"],
  [f.money(0.034), "$0.034"],
  [f.money(0.00000001), "$0.00000001"],
  [f.money(12345.6), "$12,346"],
  [f.money(-2.5), "−$2.50"],
  [f.money(224.18, { unit: false }), "224.18"],
])("money: %s", (found, wanted) => expect(found).toBe(wanted));

test.each([
  [f.short(940), "940"],
  [f.short(12_400), "12.4k"],
  [f.short(999_960), "1.0M"],
  [f.bytes(48_000), "48 kB"],
  [f.bytes(212_000_000), "212 MB"],
  [f.bytes(1_400_000_000), "1.4 GB"],
  [f.duration(850), "850 ms"],
  [f.duration(2900), "2.9 s"],
  [f.duration(184_000), "3 min 4 s"],
  [f.duration(7_260_000), "2 h 1 min"],
  [f.age(4), "4 s"],
  [f.age(720), "12 min"],
  [f.age(10_800), "3 h"],
  [f.age(172_800), "2 days"],
  [f.age(-3), "0 s"],
])("sizes and spans: %s", (found, wanted) => expect(found).toBe(wanted));

describe("times", () => {
  test("a text without a zone is UTC", () => {
    expect(f.utc("2026-11-20 14:32:07")).toBe("2026-11-20 14:32:07 UTC");
    expect(f.utc("2026-11-20T14:32:07.123Z")).toBe("2026-11-20 14:32:07 UTC");
  });
  test("a day of the calendar stays that day in every zone", () => {
    expect(f.day("2026-11-20", { now: new Date("2026-06-01") })).toBe("20 Nov");
    expect(f.day("2025-11-20", { now: new Date("2026-06-01") })).toBe("20 Nov 2025");
  });
  test("in a list today has no day", () => {
    const now = new Date(2026, 10, 20, 15, 0);
    expect(f.inList(new Date(2026, 10, 20, 14, 31, 52).toISOString(), now)).toBe("14:31:52");
    expect(f.inList(new Date(2026, 10, 19, 14, 31, 52).toISOString(), now)).toBe("19 Nov 14:31");
  });
  test("since", () => expect(f.secondsSince("2026-11-20T14:00:00Z", Date.parse("2026-11-20T14:00:04Z"))).toBe(4));
  test("month", () => expect(f.monthName("2026-11-01")).toBe("November"));
});
