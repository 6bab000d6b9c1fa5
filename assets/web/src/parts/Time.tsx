import { useEffect, useState } from "react";
import { age, clock, DASH, day, dayAndClock, secondsSince, utc, inList, when } from "./format";
import type { Maybe } from "./format";

/** The time now, again every so many milliseconds while the tab is seen. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = window.setInterval(() => document.hidden || setNow(Date.now()), everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** A time in the reader's zone, UTC on hover: `age` 12 min, `clock` 14:20, `day` 20 Nov, `full` 20 Nov 2026, 14:20, `when` 14:20 today or 20 Nov, 14:20, `list` 14:20:07 today or 19 Nov 14:20. */
export function Time({ at, show = "age" }: { at: Maybe<string>; show?: "age" | "clock" | "second" | "day" | "full" | "when" | "list" }) {
  if (!at) return <span className="dim">{DASH}</span>;
  const text = { clock: clock(at), second: clock(at, { seconds: true }), day: day(at), full: dayAndClock(at), when: when(at), list: inList(at), age: "" };
  return (
    <time dateTime={at} title={utc(at)}>
      {show === "age" ? <Age at={at} /> : text[show]}
    </time>
  );
}

function Age({ at }: { at: string }) {
  const now = useNow(10_000);
  return <>{age(secondsSince(at, now))}</>;
}
