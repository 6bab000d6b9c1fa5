import { useState } from "react";
import { href } from "../../app/address";
import { colourOf } from "../../parts/colours";
import { day, money } from "../../parts/format";
import type { Layer } from "./stack";
import { areaPath, axisOf, spread } from "./stack";

const [TOP, FOOT, HEIGHT] = [24, 218, 240];
const PLOT = FOOT - TOP;

const fillOf = (layer: Layer, at: number, all: readonly Layer[]): string => (/^\d+ others$/.test(layer.name ?? "") && at === all.length - 1 ? "f-rule" : `f-c${colourOf(layer.name)}`);

/** The spend of each day by model, stacked; the models' names and sums at the right, the values of a day under the pointer. */
export function Stack({ layers, dates }: { layers: Layer[]; dates: readonly string[] }) {
  const [at, setAt] = useState<number | null>(null);
  const { top, ticks } = axisOf(Math.max(0, ...(layers.at(-1)?.high ?? [0])));
  const y = (usd: number) => FOOT - (usd / top) * PLOT;
  const last = dates.length - 1;
  const labels = spread(layers.map((layer) => (y(layer.low.at(-1) ?? 0) + y(layer.high.at(-1) ?? 0)) / 2), 17, TOP + 4, FOOT - 6);
  const x = (index: number) => `${last > 0 ? (index / last) * 100 : 50}%`;
  return (
    <>
      <div className="scroll" tabIndex={0} role="group" aria-label="Spend a day by model">
        <div className="stk grid-min">
          <svg width="100%" height={HEIGHT} aria-hidden="true">
            {ticks.map((tick) => <text key={tick} x="100%" y={y(tick) + 4} className="end">{tick === ticks.at(-1) ? "$" : ""}{tick ? money(tick, { unit: false, digits: digitsOf(top) }) : "0"}</text>)}
          </svg>
          <svg
            className="over plot"
            width="100%"
            height={HEIGHT}
            role="img"
            aria-label={`Spend a day by model: ${layers.map((layer) => `${layer.name ?? "no model"} ${money(layer.sum)}`).join(", ")}`}
            onMouseLeave={() => setAt(null)}
            onMouseMove={(event) => {
              const box = event.currentTarget.getBoundingClientRect();
              setAt(Math.min(last, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * last))));
            }}
            onClick={() => at !== null && dates[at] && (window.location.hash = href("/calls", { since: `${dates[at]}T00:00:00Z`, until: dates[at + 1] && `${dates[at + 1]}T00:00:00Z`, last: "all" }))}
          >
            {ticks.slice(1).map((tick) => <line key={tick} x1="0" x2="100%" y1={y(tick)} y2={y(tick)} className="s-grid" />)}
            <svg y={TOP} width="100%" height={PLOT} viewBox={`0 0 1000 ${PLOT}`} preserveAspectRatio="none">
              {layers.map((layer, index) => <path key={layer.name ?? ""} d={areaPath(layer, top, PLOT)} className={`${fillOf(layer, index, layers)} s-page px`} strokeWidth="1" />)}
            </svg>
            {at !== null && <line x1={x(at)} x2={x(at)} y1={TOP} y2={FOOT} className="s-ink" strokeWidth="1" />}
            <line x1="0" x2="100%" y1={FOOT} y2={FOOT} className="s-rule" />
            {datePlaces(dates.length).map((index, place, all) => (
              <text key={index} x={x(index)} y="234" className={last === 0 ? "mid" : place === 0 ? undefined : place === all.length - 1 ? "end" : "mid"}>{place === 0 || dates[index]?.endsWith("-01") || dates.length > 40 ? day(dates[index]) : Number(dates[index]?.slice(8))}</text>
            ))}
          </svg>
          <svg width="100%" height={HEIGHT} aria-hidden="true">
            {layers.map((layer, index) => {
              const place = (labels[index] ?? 0) + 5;
              return (
                <g key={layer.name ?? ""}>
                  <rect x="0" y={place - 9} width="8" height="10" className={fillOf(layer, index, layers)} />
                  <text x="14" y={place} className="t-ink">{short(layer.name ?? "no model")}</text>
                  <text x="100%" y={place} className="end t-2">{money(layer.sum, { unit: false })}</text>
                </g>
              );
            })}
          </svg>
        </div>
      </div>
      <p className="cap reading">
        {at !== null && `${day(dates[at])}: ${money(layers.at(-1)?.high[at] ?? 0)}${layers.length > 1 ? `; ${[...layers].reverse().map((layer) => `${layer.name ?? "no model"} ${money(layer.values[at])}`).join(", ")}` : ""}`}
      </p>
    </>
  );
}

const short = (name: string): string => (name.length > 19 ? `${name.slice(0, 18)}…` : name);
const digitsOf = (top: number): number => (top >= 10 ? 0 : top >= 1 ? 1 : Math.min(6, 1 - Math.floor(Math.log10(top))));

function datePlaces(length: number): number[] {
  const count = Math.min(length, 6);
  return count < 2 ? [0] : Array.from({ length: count }, (_, at) => Math.round((at / (count - 1)) * (length - 1)));
}
