import { useState } from "react";
import type { CallCount } from "../../api/types";
import { clock, counted, day, dayAndClock, money, number } from "../../parts/format";

const HEIGHT = 40;

/** Calls per bucket of time as bars, errors at their foot; a press on one shows its calls alone. */
export function Rate({ count, onPick }: { count: CallCount; onPick: (since: string, until: string) => void }) {
  const [at, setAt] = useState<number | null>(null);
  const { series, bucket_s: bucket } = count;
  const most = Math.max(1, ...series.map((one) => one.calls));
  const x = (index: number) => `${((index / series.length) * 100).toFixed(3)}%`;
  const width = `${((series.length > 120 ? 1 : 0.76) / series.length) * 100}%`;
  const shown = at === null ? null : series[at];
  const label = (text: string) => (bucket >= 86_400 ? day(text) : clock(text));
  const pick = (index: number) => {
    const one = series[index];
    if (one) onPick(one.at, series[index + 1]?.at ?? count.until);
  };
  return (
    <div className="rate">
      <svg
        width="100%"
        height={HEIGHT + 17}
        role="img"
        aria-label={`${counted(count.sum.calls, "call")}, at most ${number(most)} in ${bucketName(bucket)}; ${number(count.sum.errors)} failed`}
        onMouseLeave={() => setAt(null)}
        onMouseMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setAt(Math.min(series.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * series.length))));
        }}
        onClick={() => at !== null && pick(at)}
      >
        {at !== null && <rect x={x(at)} width={`${100 / series.length}%`} height={HEIGHT} className="f-accw" />}
        {series.map((one, index) => one.calls > 0 && <Bucket key={one.at} one={one} x={x(index)} width={width} most={most} />)}
        <line x1="0" x2="100%" y1={HEIGHT} y2={HEIGHT} className="s-rule" />
        {ticksOf(series.length).map((index, place, all) => (
          <text key={index} x={x(index)} y={HEIGHT + 14} className={place === 0 ? undefined : place === all.length - 1 ? "end" : place % 2 ? "mid odd" : "mid"}>{label(index < series.length ? (series[index]?.at ?? "") : bucket >= 86_400 ? (series.at(-1)?.at ?? "") : count.until)}</text>
        ))}
      </svg>
      <p className="cap reading" aria-live="off">
        {shown && `${bucket >= 86_400 ? day(shown.at) : dayAndClock(shown.at)}: ${counted(shown.calls, "call")}, ${number(shown.errors)} failed, ${money(shown.cost_usd)}`}
      </p>
    </div>
  );
}

function Bucket({ one, x, width, most }: { one: CallCount["series"][number]; x: string; width: string; most: number }) {
  const height = Math.max(1.5, (one.calls / most) * (HEIGHT - 4));
  const errors = one.errors ? Math.max(3, (one.errors / most) * (HEIGHT - 4)) : 0;
  return (
    <>
      <rect x={x} y={HEIGHT - height} width={width} height={height} className="f-accsoft" />
      {errors > 0 && <rect x={x} y={HEIGHT - errors} width={width} height={errors} className="f-bad" />}
    </>
  );
}

/** Where times are written: at even steps, and none so near the last that they would touch. */
export function ticksOf(length: number): number[] {
  if (length < 2) return [0];
  const step = Math.max(1, Math.ceil(length / 6));
  const ticks = Array.from({ length: Math.ceil(length / step) }, (_, at) => at * step).filter((at) => length - at > step * 0.6);
  return [...ticks, length];
}

/** "a minute", "5 minutes", "a day". */
export function bucketName(seconds: number): string {
  const [size, unit] = seconds >= 86_400 ? [86_400, "day"] : seconds >= 3600 ? [3600, "hour"] : [60, "minute"];
  const count = Math.round(seconds / size);
  return count === 1 ? `${unit === "hour" ? "an" : "a"} ${unit}` : `${count} ${unit}s`;
}
