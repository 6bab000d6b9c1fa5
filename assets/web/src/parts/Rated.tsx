import { score } from "./format";
import { Pill } from "./Mark";

/** A rating from 0 to 1 with its shape: up from a half on. */
export function Rated({ rating, bare }: { rating: number | null | undefined; bare?: boolean }) {
  if (rating == null) return bare ? null : <span className="dim">no rating</span>;
  const good = rating >= 0.5;
  return <Pill shape={good ? "up" : "down"} tone={good ? "good" : "bad"} bare={bare} title={`rated ${score(rating)} of 1`}>{score(rating)}</Pill>;
}
