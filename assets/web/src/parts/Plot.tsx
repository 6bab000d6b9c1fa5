import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useColours } from "../app/theme";
import { dayAndClock } from "./format";

export interface Series {
  label: string;
  values: readonly (number | null)[];
  /** The name of a custom property, --accent unless said: --c1 to --c5 for models, --fail for errors. */
  colour?: string;
  dashed?: boolean;
  /** Draw bars, or fill below the line. */
  as?: "line" | "bars" | "area" | "stack";
  /** The band of uncertainty: its lower and upper edge. */
  band?: readonly [readonly (number | null)[], readonly (number | null)[]];
}

export interface ChartProps {
  /** What is drawn, for those who do not see it. */
  label: string;
  /** x: UTC ISO texts, or plain numbers. */
  at: readonly (string | number)[];
  series: readonly Series[];
  height?: number;
  /** How a value is written on the axis and under the pointer. */
  format: (value: number | null) => string;
  /** The foot of the y axis; 0 unless said; null follows the values. */
  base?: number | null;
  /** Where something changed: a line and a word. */
  changes?: readonly { at: string | number; text: string }[];
  /** A level: a limit or a baseline, dashed. */
  level?: { value: number; text: string } | null;
  onPick?: (index: number) => void;
}

const colourOf = (name: string): string => {
  const probe = document.createElement("span"); // light-dark() is resolved only where it is used
  probe.className = "vh";
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
};

const seconds = (at: string | number): number => (typeof at === "number" ? at : Date.parse(at) / 1000);

/** The columns of uPlot: bands bring two unseen lines each, stacks are summed from the first. */
function columnsOf({ at, series }: ChartProps) {
  const data: (number | null)[][] = [at.map(seconds)];
  const lines: { of: Series; shown: boolean; row: number }[] = [];
  const bands: { high: number; low: number; of: Series }[] = [];
  let below: (number | null)[] | null = null;
  let belowRow = -1;
  for (const one of series) {
    let values = [...one.values];
    if (one.as === "stack") {
      values = values.map((value, i) => (value ?? 0) + (below?.[i] ?? 0));
      below = values;
    }
    data.push(values);
    const row = data.length - 1;
    lines.push({ of: one, shown: true, row });
    if (one.as === "stack") {
      if (belowRow > 0) bands.push({ high: row, low: belowRow, of: one });
      belowRow = row;
    }
    if (one.band) {
      data.push([...one.band[1]], [...one.band[0]]);
      lines.push({ of: one, shown: false, row: row + 1 }, { of: one, shown: false, row: row + 2 });
      bands.push({ high: row + 1, low: row + 2, of: one });
    }
  }
  return { data: data as uPlot.AlignedData, lines, bands };
}

function optionsOf(props: ChartProps, width: number, time: boolean): uPlot.Options {
  const { lines, bands } = columnsOf(props);
  const { height = 200, format, base = 0, changes = [], level } = props;
  const ink = colourOf("--ink-3");
  const grid = colourOf("--grid");
  const font = `12px ${getComputedStyle(document.documentElement).fontFamily}`;
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: { time },
      y: {
        range: (_plot, low, high) => {
          const top = Math.max(high ?? 0, level?.value ?? Number.NEGATIVE_INFINITY);
          const foot = base ?? low ?? 0;
          return [foot, top > foot ? top + (top - foot) * 0.08 : foot + 1];
        },
      },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 70 },
      { ...axis, size: 56, values: (_plot, ticks) => ticks.map((tick) => format(tick)) },
    ],
    series: [
      {},
      ...lines.map(({ of, shown }): uPlot.Series => {
        const colour = colourOf(of.colour ?? "--accent");
        if (!shown) return { show: true, width: 0, points: { show: false }, stroke: "transparent" };
        const filled = of.as === "area" || of.as === "bars" || of.as === "stack";
        return {
          label: of.label,
          stroke: colour,
          width: of.as === "bars" ? 0 : 1.6,
          fill: filled ? colour : undefined,
          dash: of.dashed ? [5, 4] : undefined,
          paths: of.as === "bars" ? uPlot.paths.bars?.({ size: [0.8, 24], align: 0 }) : undefined,
          points: { show: false },
          spanGaps: false,
        };
      }),
    ],
    bands: bands.map(({ high, low, of }) => ({
      series: [high, low],
      fill: of.as === "stack" ? colourOf(of.colour ?? "--accent") : colourOf("--band"),
    })),
    hooks: {
      draw: [
        (plot) => {
          const { ctx, bbox } = plot;
          ctx.save();
          ctx.font = `${12 * devicePixelRatio}px ${getComputedStyle(document.documentElement).fontFamily}`;
          ctx.lineWidth = 1.5 * devicePixelRatio;
          for (const change of changes) {
            const x = plot.valToPos(seconds(change.at), "x", true);
            if (x < bbox.left || x > bbox.left + bbox.width) continue;
            ctx.strokeStyle = ctx.fillStyle = colourOf("--fail-ink");
            ctx.setLineDash([]);
            ctx.beginPath();
            ctx.moveTo(x, bbox.top);
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
            const right = x > bbox.left + bbox.width * 0.7;
            ctx.textAlign = right ? "right" : "left";
            ctx.fillText(change.text, x + (right ? -6 : 6) * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
          }
          if (level) {
            const y = plot.valToPos(level.value, "y", true);
            ctx.strokeStyle = ctx.fillStyle = colourOf("--ink");
            ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
            ctx.beginPath();
            ctx.moveTo(bbox.left, y);
            ctx.lineTo(bbox.left + bbox.width, y);
            ctx.stroke();
            ctx.textAlign = "right";
            ctx.fillText(level.text, bbox.left + bbox.width, y - 5 * devicePixelRatio);
          }
          ctx.restore();
        },
      ],
    },
  };
}

export default function Plot(props: ChartProps) {
  const { label, at, series, format, height = 200, onPick } = props;
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLParagraphElement>(null);
  const theme = useColours();
  const time = typeof at[0] === "string";
  const columns = useMemo(() => columnsOf(props), [at, series]);
  const shape = `${series.map((one) => [one.label, one.as, one.colour, Boolean(one.band)].join()).join(";")}|${height}|${time}|${theme}|${JSON.stringify([props.changes, props.level, props.base])}`;
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const place = box.current;
    if (!place) return;
    const say = (made: uPlot) => {
      const index = made.cursor.idx;
      const { at: times, series: shown, format: write } = latest.current;
      if (!tip.current) return;
      if (index == null || times[index] === undefined) {
        tip.current.textContent = "";
        return;
      }
      const when = times[index];
      const values = shown.map((one) => `${one.label} ${write(one.values[index] ?? null)}`);
      tip.current.textContent = `${typeof when === "string" ? dayAndClock(when) : when}: ${values.join(", ")}`;
    };
    const options = optionsOf(latest.current, Math.max(place.clientWidth, 240), time);
    options.hooks = { ...options.hooks, setCursor: [say] };
    const made = new uPlot(options, columnsOf(latest.current).data, place);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: Math.max(place.clientWidth, 240), height }));
    watch.observe(place);
    const pick = () => made.cursor.idx != null && latest.current.onPick?.(made.cursor.idx);
    made.over.addEventListener("click", pick);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, height, time]);

  useEffect(() => {
    plot.current?.setData(columns.data);
  }, [columns]);

  return (
    <figure className={onPick ? "chart picks" : "chart"}>
      <div ref={box} role="img" aria-label={label} />
      <p className="cap reading" ref={tip} aria-live="off" />
      <table className="vh">
        <caption>{label}</caption>
        <thead><tr><th>at</th>{series.map((one) => <th key={one.label}>{one.label}</th>)}</tr></thead>
        <tbody>
          {at.slice(-50).map((when, row) => {
            const index = Math.max(0, at.length - 50) + row;
            return <tr key={String(when)}><td>{String(when)}</td>{series.map((one) => <td key={one.label}>{format(one.values[index] ?? null)}</td>)}</tr>;
          })}
        </tbody>
      </table>
    </figure>
  );
}
