// Intervals on one shared line of nought: a row of a forest plot, and its axis. x in percent, y in pixels.
import { points, pointsInterval, signed } from "./format";
import type { Tone } from "./Mark";

export interface Scale {
  low: number;
  high: number;
  ticks: number[];
}

const STEPS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5];

/** A scale that holds all intervals and nought, with at most so many ticks; shares of one. */
export function scaleOf(values: readonly (number | null | undefined)[], atMost = 6): Scale {
  const known = values.filter((value): value is number => typeof value === "number" && Number.isFinite(value));
  const low = Math.min(0, ...known);
  const high = Math.max(0, ...known);
  const span = Math.max(high - low, 0.02);
  const step = STEPS.find((size) => span / size <= atMost - 1) ?? 0.5;
  const first = Math.ceil((low - step * 0.35) / step);
  const last = Math.floor((high + step * 0.35) / step);
  const ticks = Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step);
  return { low: Math.min(low, first * step) - span * 0.06, high: Math.max(high, last * step) + span * 0.06, ticks };
}

const placeOf = (value: number, scale: Scale): string =>
  `${(Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low))) * 100).toFixed(2)}%`;

/** The scale's ticks in points, for the head of the column. */
export function IntervalAxis({ scale }: { scale: Scale }) {
  return (
    <>
      <span className="vh">Interval, points</span>
      <svg width="100%" height="16" className="over" aria-hidden="true">
        {scale.ticks.map((tick) => (
          <text key={tick} x={placeOf(tick, scale)} y="12" className="mid">{signed(tick * 100, tick && Math.abs(tick) < 0.0099 ? 1 : 0)}</text>
        ))}
      </svg>
    </>
  );
}

const STROKE: Record<Tone, string> = { good: "s-good", bad: "s-bad", warn: "s-warn", accent: "s-acc", plain: "s-3" };
const FILL: Record<Tone, string> = { good: "f-good", bad: "f-bad", warn: "f-warn", accent: "f-acc", plain: "f-3" };

/** One row: a dot with its whiskers, beside the line of nought. */
export function Interval({ value, interval, scale, tone = "plain", height = 36, strong = false }: {
  value: number | null | undefined;
  interval: readonly [number, number] | null | undefined;
  scale: Scale;
  tone?: Tone;
  height?: number;
  strong?: boolean;
}) {
  const middle = height / 2;
  const said = value == null ? "no interval" : `${points(value)} points, from ${pointsInterval(interval)}`;
  return (
    <svg width="100%" height={height} role="img" aria-label={said}>
      <line x1={placeOf(0, scale)} x2={placeOf(0, scale)} y1="0" y2={height} className="s-rule" />
      {interval && (
        <g className={STROKE[tone]} strokeWidth="2">
          <line x1={placeOf(interval[0], scale)} x2={placeOf(interval[1], scale)} y1={middle} y2={middle} />
          {interval.map((end, at) => (
            <line key={at} x1={placeOf(end, scale)} x2={placeOf(end, scale)} y1={middle - 4} y2={middle + 4} />
          ))}
        </g>
      )}
      {value != null && <circle cx={placeOf(value, scale)} cy={middle} r={strong ? 5 : 4} className={FILL[tone]} />}
    </svg>
  );
}
