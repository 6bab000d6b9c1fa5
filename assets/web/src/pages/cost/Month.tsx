import { day, money } from "../../parts/format";
import { axisOf, daysBetween } from "./stack";

const [TOP, FOOT, HEIGHT] = [30, 218, 240];

/** The sum of the month day by day, where it should end, and its budget. */
export function Month({ sums, since, until, forecast, limit }: {
  sums: readonly number[];
  since: string;
  until: string;
  forecast: number | null;
  limit: number | null;
}) {
  const days = Math.max(1, daysBetween(since, until));
  const spent = sums.at(-1) ?? 0;
  const { top, ticks } = axisOf(Math.max(spent, forecast ?? 0, limit ?? 0) * 1.02);
  const y = (usd: number) => FOOT - (usd / top) * (FOOT - TOP);
  const end = (at: number) => Math.min(days, at + 1); // a day's sum stands at its end
  const x = (at: number) => (end(at) / days) * 1000;
  const path = `M0 ${y(0)}${sums.map((usd, at) => `L${x(at).toFixed(1)} ${y(usd).toFixed(1)}`).join("")}`;
  const now = Math.max(0, sums.length - 1);
  const late = x(now) > 550;
  const over = limit !== null && (forecast ?? spent) > limit;
  const place = `${x(now) / 10}%`;
  return (
    <svg className="over" width="100%" height={HEIGHT} role="img" aria-label={`${money(spent)} so far${forecast !== null ? `, near ${money(forecast)} at the end` : ""}${limit !== null ? `, budget ${money(limit)}` : ""}`}>
      {ticks.slice(1).map((tick) => <line key={tick} x1="0" x2="100%" y1={y(tick)} y2={y(tick)} className="s-grid" />)}
      <svg width="100%" height={HEIGHT} viewBox={`0 0 1000 ${HEIGHT}`} preserveAspectRatio="none">
        <path d={path} className="no s-acc px" strokeWidth="2" />
        {forecast !== null && <path d={`M${x(now)} ${y(spent)}L1000 ${y(forecast)}`} className={`no px ${over ? "s-bad" : "s-acc"}`} strokeWidth="1.6" strokeDasharray="4 3" />}
      </svg>
      {limit !== null && (
        <>
          <line x1="0" x2="100%" y1={y(limit)} y2={y(limit)} className="s-ink" strokeWidth="1.5" />
          <text x="0" y={y(limit) - 6} className="t-ink b">Budget {money(limit)}</text>
        </>
      )}
      <circle cx={place} cy={y(spent)} r="4" className="f-acc" />
      <text x={place} y={y(spent)} className={`t-ink b${late ? " end" : ""}`} transform={late ? `translate(-10 ${y(spent) < 60 ? 18 : -8})` : "translate(10 4)"}>{money(spent)} so far</text>
      {forecast !== null && <text x="100%" y={y(forecast)} className={`end b ${over ? "t-bad" : "t-acc"}`} transform={`translate(0 ${late && Math.abs(y(forecast) - y(spent)) < 24 ? 34 : 18})`}>{money(forecast)}</text>}
      <line x1="0" x2="100%" y1={FOOT} y2={FOOT} className="s-rule" />
      <text x="0" y="234">{day(since)}</text>
      {[10, 20].filter((date) => date < days).map((date) => <text key={date} x={`${(date / days) * 100}%`} y="234" className="mid">{date}</text>)}
      <text x="100%" y="234" className="end">{days}</text>
    </svg>
  );
}
