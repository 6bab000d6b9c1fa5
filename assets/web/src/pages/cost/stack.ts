// The spend of each day by model as layers, and the sum of the month: what the charts of the cost page are drawn from.
import type { CostItem } from "../../api/types";

export interface Layer {
  name: string | null;
  /** What it cost on each day; null where no call has a cost. */
  values: (number | null)[];
  sum: number;
  /** Where it begins and ends, day by day. */
  low: number[];
  high: number[];
}

/** The dearest models as layers, the dearest first, what is beyond `most` together as the last. */
export function layersOf(items: readonly CostItem[], most = 5): Layer[] {
  const priced = items.filter((item) => item.days?.some((usd) => (usd ?? 0) > 0));
  const shown = priced.length > most ? priced.slice(0, most - 1) : priced;
  const rest = priced.slice(shown.length);
  const own = shown.map((item) => ({ name: item.model ?? null, values: item.days ?? [] }));
  if (rest.length) own.push({ name: `${rest.length} others`, values: addedDays(rest) });
  let below: number[] = [];
  return own.map(({ name, values }) => {
    const low = values.map((_, at) => below[at] ?? 0);
    const high = values.map((usd, at) => (low[at] ?? 0) + (usd ?? 0));
    below = high;
    return { name, values, sum: values.reduce<number>((all, usd) => all + (usd ?? 0), 0), low, high };
  });
}

/** The days of several items added; unknown where none of them is known. */
export function addedDays(items: readonly CostItem[]): (number | null)[] {
  const length = Math.max(0, ...items.map((item) => item.days?.length ?? 0));
  return Array.from({ length }, (_, at) => items.reduce<number | null>((sum, item) => {
    const usd = item.days?.[at] ?? null;
    return usd === null ? sum : (sum ?? 0) + usd;
  }, null));
}

/** What the month has cost up to each of its days: its dates, and the sums. */
export function monthSums(items: readonly CostItem[], dates: readonly string[], since: string): { dates: string[]; sums: number[] } {
  const from = dates.findIndex((date) => date >= since);
  if (from < 0) return { dates: [], sums: [] };
  let sum = 0;
  return { dates: dates.slice(from), sums: addedDays(items).slice(from).map((usd) => (sum += usd ?? 0)) };
}

/** The days between two dates of the calendar. */
export function daysBetween(since: string, until: string): number {
  return Math.round((Date.parse(`${until}T00:00:00Z`) - Date.parse(`${since}T00:00:00Z`)) / 86_400_000);
}

/** The path of a layer in a box of 1000 by `height`: up along its upper edge, back along its lower one. */
export function areaPath(layer: Pick<Layer, "low" | "high">, top: number, height: number): string {
  const last = Math.max(1, layer.high.length - 1);
  const point = (value: number, at: number) => `${((at / last) * 1000).toFixed(1)} ${(height - (value / top) * height).toFixed(1)}`;
  const [high, low] = layer.high.length === 1 ? [[...layer.high, ...layer.high], [...layer.low, ...layer.low]] : [layer.high, layer.low];
  return `M${high.map(point).join("L")}L${low.map(point).reverse().join("L")}Z`;
}

/** A round top of an axis and its ticks, from nought. */
export function axisOf(most: number): { top: number; ticks: number[] } {
  if (!(most > 0)) return { top: 1, ticks: [0, 1] };
  const power = 10 ** Math.floor(Math.log10(most / 3));
  const step = [1, 2, 2.5, 5, 10].map((size) => size * power).find((size) => size * 3 >= most * 0.999) ?? most / 3;
  const count = Math.ceil((most / step) * 0.999);
  return { top: step * count, ticks: Array.from({ length: count + 1 }, (_, at) => at * step) };
}

/** Where labels of a least height apart stand nearest to where they belong, in the same order. */
export function spread(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const places = [...wanted].map((y) => Math.min(high, Math.max(low, y)));
  for (let at = 1; at < places.length; at++) places[at] = Math.min(places[at] as number, (places[at - 1] as number) - gap);
  for (let at = places.length - 1; at >= 0; at--) places[at] = Math.max(places[at] as number, low + (places.length - 1 - at) * gap);
  return places;
}
