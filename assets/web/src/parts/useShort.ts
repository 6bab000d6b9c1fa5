import { useParam } from "../app/address";

interface Short<R> {
  shown: R[];
  hidden: number;
  showAll: () => void;
}

/** The first rows of a long list and those that must be seen; all of them once the address says so. */
export function useShort<R>(rows: readonly R[], most: number, isKept: (row: R) => boolean): Short<R> {
  const [all, setAll] = useParam("all");
  const shown = rows.filter((row, at) => all === "1" || at < most || isKept(row));
  return { shown, hidden: rows.length - shown.length, showAll: () => setAll("1") };
}
