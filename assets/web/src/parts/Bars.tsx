import type { ReactNode } from "react";
import { percent } from "./format";

/** A bar of a share of one, with a mark where something is forecast or allowed. */
export function Bar({ share, mark, tone = "f-acc", height = 8, label }: {
  share: number | null | undefined;
  mark?: number | null;
  tone?: string;
  height?: number;
  label?: string;
}) {
  const clamp = (value: number) => `${(Math.min(1, Math.max(0, value)) * 100).toFixed(2)}%`;
  return (
    <svg className="over" width="100%" height={height} role="img" aria-label={label ?? percent(share)}>
      <rect width="100%" height={height} className="f-lift" />
      {share != null && <rect width={clamp(share)} height={height} className={tone} />}
      {mark != null && <line x1={clamp(mark)} x2={clamp(mark)} y1="-3" y2={height + 3} className="s-ink" strokeWidth="1.5" />}
    </svg>
  );
}

export interface StatProps {
  label: string;
  value: ReactNode;
  unit?: ReactNode;
  more?: ReactNode;
  tone?: "bad" | "warn" | "good";
  href?: string;
  children?: ReactNode;
  title?: string;
}

/** A row of figures; each leads to its rows. */
export function Stats({ items }: { items: StatProps[] }) {
  return (
    <div className="stats">
      {items.map((item) => {
        const inside = (
          <>
            <span>{item.label}</span>
            <strong className={item.tone}>{item.value}{item.unit && <small> {item.unit}</small>}</strong>
            <em>{item.more ?? " "}</em>
            {item.children}
          </>
        );
        return item.href ? (
          <a key={item.label} href={item.href} title={item.title}>{inside}</a>
        ) : (
          <div key={item.label} title={item.title}>{inside}</div>
        );
      })}
    </div>
  );
}
