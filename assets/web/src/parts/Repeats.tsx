import type { RunCase } from "../api/types";
import { number } from "./format";
import { Mark } from "./Mark";

/** The repeats of a case as ticks and crosses, and how many passed. */
export function Repeats({ cases }: { cases: readonly RunCase[] }) {
  const passed = cases.filter((one) => one.state === "pass").length;
  const shown = cases.slice(0, 12);
  return (
    <>
      <span className={passed === cases.length ? "rep ok" : "rep"} aria-hidden="true">
        {shown.map((one) => <span key={one.repeat} className={one.state === "pass" ? "good" : undefined}><Mark shape={one.state === "pass" ? "tick" : one.state === "fail" ? "cross" : "dash"} /></span>)}
      </span>{" "}
      {number(passed)} of {number(cases.length)}
    </>
  );
}
