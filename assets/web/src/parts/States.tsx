// What stands where there is nothing to show: not yet, not at all, or not possible.
import type { ReactNode } from "react";
import { useEffect, useState } from "react";
import { ApiError } from "../api/client";
import { Code } from "./Copy";

/** Bars in the rows' own heights, after 300 ms; the layout is there from the start. */
export function Skeleton({ rows = 6, height = 36, label = "Loading" }: { rows?: number; height?: number; label?: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => setLate(true), 300);
    return () => window.clearTimeout(timer);
  }, []);
  return (
    <div role="status" aria-label={label}>
      <svg className={late ? "skeleton seen" : "skeleton"} width="100%" height={rows * height} aria-hidden="true">
        {Array.from({ length: rows }, (_, row) => (
          // biome-ignore lint: the rows have no identity
          <rect key={row} className="f-lift" y={row * height + height / 2 - 6} width={`${92 - ((row * 37) % 41)}%`} height="12" rx="3" />
        ))}
      </svg>
    </div>
  );
}

/** What is wrong and what to do. */
export function ErrorBox({ error, retry }: { error: unknown; retry?: () => void }) {
  const message = error instanceof Error ? error.message : String(error);
  const hint = error instanceof ApiError ? error.hint : null;
  return (
    <div className="fault" role="alert">
      <p><b>{message}</b>{hint && ` ${hint}`}</p>
      {retry && <button type="button" className="btn small" onClick={retry}>Try again</button>}
    </div>
  );
}

/** Nothing yet: one sentence, and the one line that fills it. */
export function Empty({ children, code }: { children: ReactNode; code?: string }) {
  return (
    <div className="nothing">
      <p>{children}</p>
      {code && <Code text={code} label="The line that fills this" />}
    </div>
  );
}

interface Asked<T> {
  data: T | undefined;
  error: unknown;
  refetch: () => unknown;
}

/** Show an answer, or the wait for it, or what went wrong. */
export function Loaded<T>({ query, rows, height, children }: {
  query: Asked<T>;
  rows?: number;
  height?: number;
  children: (data: T) => ReactNode;
}) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <ErrorBox error={query.error} retry={() => void query.refetch()} />;
  return <Skeleton rows={rows} height={height} />;
}
