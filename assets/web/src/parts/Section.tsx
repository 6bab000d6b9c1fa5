import type { ReactNode } from "react";
import { useId, useState } from "react";
import type { SqlOf } from "../api/useRead";
import { SqlDrawer } from "./Sql";

/** A rule, a name, a grey note, and its tools at the right: Show SQL and CSV. */
export function Section({ title, note, tools, sql, csv, busy = false, children, className }: {
  title: string;
  note?: ReactNode;
  tools?: ReactNode;
  /** The read behind what is shown; more than one for a section that joins them. */
  sql?: SqlOf | SqlOf[];
  /** Save what is shown; see csvFile. */
  csv?: () => void;
  /** Some of what is to be shown still loads: what is saved would not be whole. */
  busy?: boolean;
  children: ReactNode;
  className?: string;
}) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <section aria-labelledby={id} aria-busy={busy || undefined} className={className}>
      <div className="sh">
        <h2 id={id}>{title}</h2>
        {note && <span className="note">{note}</span>}
        {(tools || sql || csv) && (
          <span className="tools">
            {tools}
            {sql && (
              <button type="button" className="link" aria-expanded={open} onClick={() => setOpen(!open)}>
                Show SQL
              </button>
            )}
            {csv && <button type="button" className="link" disabled={busy} onClick={csv}>CSV</button>}
          </span>
        )}
      </div>
      {children}
      {open && sql && <SqlDrawer title={title} sql={Array.isArray(sql) ? sql : [sql]} onClose={() => setOpen(false)} />}
    </section>
  );
}
