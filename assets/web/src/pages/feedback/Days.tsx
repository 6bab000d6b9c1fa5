import { useState } from "react";
import { day, number } from "../../parts/format";
import type { Day } from "./fold";


/** Ups and downs of each day on either side of one line, at one scale. */
export function Days({ days, one, half = 44 }: { days: readonly Day[]; one: string; half?: number }) {
  const middle = half + 8;
  const [at, setAt] = useState<number | null>(null);
  if (!days.length) return null;
  const most = Math.max(1, ...days.map((each) => Math.max(each.up, each.down)));
  const lowest = Math.max(...days.map((each) => each.down));
  const foot = middle + Math.max(10, (lowest / most) * half) + 4;
  const x = (index: number) => `${(index / days.length) * 100}%`;
  const width = `${(0.76 / days.length) * 100}%`;
  const shown = at === null ? null : days[at];
  const places = [...new Set([0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (days.length - 1))))];
  const sums = days.reduce((all, each) => ({ up: all.up + each.up, down: all.down + each.down }), { up: 0, down: 0 });
  return (
    <>
      <svg
        width="100%"
        height={foot + 16}
        role="img"
        aria-label={`${number(sums.up)} up and ${number(sums.down)} down in ${number(days.length)} days`}
        onMouseLeave={() => setAt(null)}
        onMouseMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setAt(Math.min(days.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * days.length))));
        }}
      >
        {at !== null && <rect x={x(at)} width={`${100 / days.length}%`} height={foot} className="f-accw" />}
        {days.map((each, index) => (
          <g key={each.day}>
            {each.up > 0 && <rect x={x(index)} y={middle - (each.up / most) * half} width={width} height={(each.up / most) * half} className="f-good" />}
            {each.down > 0 && <rect x={x(index)} y={middle + 1} width={width} height={(each.down / most) * half} className="f-bad" />}
          </g>
        ))}
        <line x1="0" x2="100%" y1={middle} y2={middle} className="s-rule" />
        {places.map((index, place) => <text key={index} x={index === days.length - 1 && place ? "100%" : x(index)} y={foot + 13} className={place === 0 ? undefined : index === days.length - 1 ? "end" : "mid"}>{day(days[index]?.day)}</text>)}
      </svg>
      <p className="cap reading">{shown && `${day(shown.day)}: ${number(shown.up)} ${one} up, ${number(shown.down)} down`}</p>
    </>
  );
}
