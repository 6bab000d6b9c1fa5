// Ratings and votes folded: by day, and by what was rated.
import type { FeedbackItem, VoteItem } from "../../api/types";

export const GOOD = 0.5; // a rating is up from here on

export interface Day {
  day: string;
  up: number;
  down: number;
}

const isoDay = (at: string): string => at.slice(0, 10);

/** Ups and downs of each UTC day from the first one on, at least so many days; those of none are there too. */
export function byDay(rows: readonly { created_at: string; up: boolean }[], until: string, least: number): Day[] {
  const found = new Map<string, Day>();
  for (const row of rows) {
    const day = isoDay(row.created_at);
    const own = found.get(day) ?? { day, up: 0, down: 0 };
    if (row.up) own.up++;
    else own.down++;
    found.set(day, own);
  }
  const [first] = [...found.keys()].sort();
  if (!first) return [];
  const days: Day[] = [];
  const last = Date.parse(`${isoDay(until)}T00:00:00Z`);
  for (let at = Math.min(Date.parse(`${first}T00:00:00Z`), last - (least - 1) * 86_400_000); at <= last; at += 86_400_000) {
    const day = new Date(at).toISOString().slice(0, 10);
    days.push(found.get(day) ?? { day, up: 0, down: 0 });
  }
  return days;
}

export const ratingDays = (rows: readonly FeedbackItem[], until: string, least = 1): Day[] =>
  byDay(rows.flatMap((row) => (row.rating === null ? [] : [{ created_at: row.created_at, up: row.rating >= GOOD }])), until, least);

export const voteDays = (rows: readonly VoteItem[], until: string, least = 1): Day[] => byDay(rows.map((row) => ({ created_at: row.created_at, up: row.score > 0 })), until, least);

export interface Rated {
  prompt: string | null;
  version: number | null;
  ratings: number;
  down: number;
  mean: number;
  comments: number;
}

/** The ratings of each version of a prompt, those with the greatest share of downs first. */
export function byVersion(rows: readonly FeedbackItem[]): Rated[] {
  const found = new Map<string, Rated & { sum: number }>();
  for (const row of rows) {
    const key = `${row.prompt_name} ${row.prompt_version}`;
    const own = found.get(key) ?? { prompt: row.prompt_name, version: row.prompt_version, ratings: 0, down: 0, mean: 0, comments: 0, sum: 0 };
    if (row.rating !== null) {
      own.ratings++;
      own.sum += row.rating;
      own.down += row.rating < GOOD ? 1 : 0;
    }
    own.comments += row.comment ? 1 : 0;
    found.set(key, own);
  }
  return [...found.values()]
    .map(({ sum, ...row }) => ({ ...row, mean: row.ratings ? sum / row.ratings : Number.NaN }))
    .sort((a, b) => (b.ratings ? b.down / b.ratings : 0) - (a.ratings ? a.down / a.ratings : 0) || b.ratings - a.ratings);
}

/** The name that most rows have. */
export function mostNamed(rows: readonly { prompt_name: string | null }[]): string | null {
  const counts = new Map<string, number>();
  for (const { prompt_name: name } of rows) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
}
