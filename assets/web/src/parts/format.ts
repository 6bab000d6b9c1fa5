// How every fact is written, once: figures with a true minus sign, money, shares, intervals, times, sizes.
// What is unknown is a dash and never a nought.

export type Maybe<T> = T | null | undefined;

export const DASH = "–";
const MINUS = "−";

const known = (value: Maybe<number>): value is number => typeof value === "number" && Number.isFinite(value);
const truly = (text: string): string => text.replace(/^-/, MINUS);

const formats = new Map<string, Intl.NumberFormat>();
function fixed(value: number, digits: number): string {
  const key = String(digits);
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(key, format);
  }
  const text = format.format(value);
  return truly(/^-[0.,]+$/.test(text) ? text.slice(1) : text);
}

/** A count or a figure: 9,214. */
export function number(value: Maybe<number>, digits = 0): string {
  return known(value) ? fixed(value, digits) : DASH;
}

/** A figure with its sign, +0.5 or −6.7; nought has none. */
export function signed(value: Maybe<number>, digits = 1): string {
  if (!known(value)) return DASH;
  const text = fixed(value, digits);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** A share of one as percent, without its sign by `unit: false` where the head of the column has it. */
export function percent(share: Maybe<number>, digits = 1, { unit = true } = {}): string {
  return known(share) ? `${fixed(share * 100, digits)}${unit ? "%" : ""}` : DASH;
}

/** A difference of shares in percentage points: −6.7. */
export function points(share: Maybe<number>, digits = 1): string {
  return known(share) ? signed(share * 100, digits) : DASH;
}

/** An interval of differences in points: −12.7 to −1.6. */
export function pointsInterval(interval: Maybe<readonly [number, number]>, digits = 1): string {
  return interval ? `${points(interval[0], digits)} to ${points(interval[1], digits)}` : DASH;
}

/** An interval of shares: 80.4 to 92.3. */
export function percentInterval(interval: Maybe<readonly [number, number]>, digits = 1): string {
  return interval ? `${percent(interval[0], digits, { unit: false })} to ${percent(interval[1], digits)}` : DASH;
}

/** A score between 0 and 1: 0.96. */
export function score(value: Maybe<number>, digits = 2): string {
  return number(value, digits);
}

/** A p value: two digits that count, "<0.001" below. */
export function pvalue(p: Maybe<number>): string {
  if (!known(p)) return DASH;
  if (p < 0.001) return "<0.001";
  return fixed(p, p < 0.1 ? 3 : 2);
}

/** "p = 0.011", "p < 0.001". */
export function saidP(p: Maybe<number>): string {
  const text = pvalue(p);
  return text.startsWith("<") ? `p < ${text.slice(1)}` : `p = ${text}`;
}

/** US dollars: $1,234, $18.42, $0.0031; the sign is left to the head of the column by `unit: false`. */
export function money(usd: Maybe<number>, { unit = true, digits }: { unit?: boolean; digits?: number } = {}): string {
  if (!known(usd)) return DASH;
  const size = Math.abs(usd);
  let places = digits;
  if (places === undefined) {
    if (size >= 10_000) places = 0;
    else if (size >= 1 || size === 0) places = 2;
    else places = Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(size))));
  }
  const text = fixed(size, places);
  const sign = usd < 0 && /[1-9]/.test(text) ? MINUS : "";
  return `${sign}${unit ? "$" : ""}${text}`;
}

/** A count in few letters: 940, 12.4k, 3.1M. */
export function short(value: Maybe<number>): string {
  if (!known(value)) return DASH;
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= size * 0.9995) {
      const scaled = value / size;
      return `${fixed(scaled, Math.abs(scaled) < 99.95 ? 1 : 0)}${letter}`;
    }
  }
  return fixed(value, 0);
}

/** Bytes: 48 kB, 212 MB, 1.4 GB. */
export function bytes(value: Maybe<number>): string {
  if (!known(value)) return DASH;
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]] as const) {
    if (value >= size) return `${fixed(value / size, value / size < 9.95 ? 1 : 0)} ${unit}`;
  }
  return `${fixed(value, 0)} B`;
}

/** Milliseconds: 850 ms, 2.9 s, 3 min 4 s. */
export function duration(ms: Maybe<number>): string {
  if (!known(ms)) return DASH;
  if (ms < 1) return `${fixed(ms, 2)} ms`;
  if (ms < 999.5) return `${fixed(ms, 0)} ms`;
  if (ms < 59_950) return `${fixed(ms / 1000, 1)} s`;
  const seconds = Math.round(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
}

/** An age in seconds, in one unit: 4 s, 12 min, 3 h, 2 days. */
export function age(seconds: Maybe<number>): string {
  if (!known(seconds)) return DASH;
  const value = Math.max(0, seconds);
  if (value < 59.5) return `${Math.round(value)} s`;
  if (value < 3570) return `${Math.round(value / 60)} min`;
  if (value < 84_600) return `${Math.round(value / 3600)} h`;
  return counted(Math.round(value / 86_400), "day");
}

/** "1 case", "9 cases". */
export function counted(count: Maybe<number>, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** Names in a sentence: a, b and c. */
export function listed(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

/** A sentence's first letter as a capital. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// --- times: the store's are UTC ISO text; people see their own zone, and UTC on hover ---

const pad = (value: number): string => String(value).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The moment that an ISO text names, or null; a text without a zone is UTC. */
export function moment(at: Maybe<string>): Date | null {
  if (!at) return null;
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(at) || /^\d{4}-\d\d-\d\d$/.test(at) ? at : `${at.replace(" ", "T")}Z`;
  const date = new Date(zoned);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** 2026-11-20 14:32:07 UTC. */
export function utc(at: Maybe<string>): string {
  const date = moment(at);
  return date ? `${date.toISOString().slice(0, 19).replace("T", " ")} UTC` : DASH;
}

/** The local time of day: 14:20. */
export function clock(at: Maybe<string>, { seconds = false } = {}): string {
  const date = moment(at);
  if (!date) return DASH;
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  return seconds ? `${text}:${pad(date.getSeconds())}` : text;
}

/** The local day: 20 Nov, with its year if it is not this one's. */
export function day(at: Maybe<string>, { year, now = new Date() }: { year?: boolean; now?: Date } = {}): string {
  const plain = at && /^\d{4}-\d\d-\d\d$/.test(at); // a day of the calendar, in no zone
  const date = plain ? new Date(`${at}T00:00:00`) : moment(at);
  if (!date) return DASH;
  const text = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  return (year ?? date.getFullYear() !== now.getFullYear()) ? `${text} ${date.getFullYear()}` : text;
}

/** 20 Nov 2026, 14:32. */
export function dayAndClock(at: Maybe<string>): string {
  return moment(at) ? `${day(at, { year: true })}, ${clock(at)}` : DASH;
}

/** When something happened, short: 14:32 today; 18 Nov, 09:12. */
export function when(at: Maybe<string>, now = new Date()): string {
  const date = moment(at);
  if (!date) return DASH;
  return date.toDateString() === now.toDateString() ? `${clock(at)} today` : `${day(at, { now })}, ${clock(at)}`;
}

/** In a list: the time of today, 14:31:52, the day before that, 19 Nov 14:31. */
export function inList(at: Maybe<string>, now = new Date()): string {
  const date = moment(at);
  if (!date) return DASH;
  return date.toDateString() === now.toDateString() ? clock(at, { seconds: true }) : `${day(at, { now })} ${clock(at)}`;
}

/** The seconds since a time. */
export function secondsSince(at: Maybe<string>, now = Date.now()): number | null {
  const date = moment(at);
  return date ? (now - date.getTime()) / 1000 : null;
}

/** The name of the month of a day: November. */
export function monthName(at: Maybe<string>): string {
  const date = moment(at);
  return date ? new Intl.DateTimeFormat("en-US", { month: "long", timeZone: "UTC" }).format(date) : DASH;
}
