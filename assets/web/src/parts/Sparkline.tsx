import type { Tone } from "./Mark";

const FILL: Record<Tone, string> = { good: "f-good", bad: "f-bad", warn: "f-warn", accent: "f-acc", plain: "f-acc" };

/** A line of the last values, oldest first; what is unknown is a gap. The last is a dot in its tone. */
export function Sparkline({ values, tone = "accent", changeAt, label, width = 112, height = 24 }: {
  values: readonly (number | null)[];
  tone?: Tone;
  /** The index at which a change is marked. */
  changeAt?: number | null;
  label: string;
  width?: number;
  height?: number;
}) {
  const known = values.filter((value): value is number => value !== null);
  if (!known.length) return <span className="dim">–</span>;
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const flat = Math.max(...known) === low;
  const x = (at: number) => (values.length < 2 ? width - 5 : 3 + (at * (width - 8)) / (values.length - 1));
  const y = (value: number) => (flat ? height / 2 : height - 4 - ((value - low) / span) * (height - 8));
  let path = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value === null) pen = "M";
    else {
      path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    }
  });
  const last = values.findLastIndex((value) => value !== null);
  return (
    <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      <path d={path} className="no s-3" strokeWidth="1.3" />
      {changeAt != null && changeAt > 0 && (
        <line x1={(x(changeAt) + x(changeAt - 1)) / 2} x2={(x(changeAt) + x(changeAt - 1)) / 2} y1="1" y2={height - 1} className="s-rule" strokeDasharray="2 2" />
      )}
      <circle cx={x(last)} cy={y(values[last] as number)} r="2.6" className={FILL[tone]} />
    </svg>
  );
}
