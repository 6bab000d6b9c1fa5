import { colourOf } from "../../parts/colours";
import { number, percent } from "../../parts/format";
import type { Piece } from "./model";

/** Two strips that can disagree: where the time went, and where the money. */
export function Strips({ time, cost, duration_ms, cost_usd }: { time: Piece[]; cost: Piece[]; duration_ms: number; cost_usd: number | null }) {
  const seconds = duration_ms >= 1000;
  return (
    <div className="split">
      <span className="dim">Time</span>
      <Strip pieces={time} what="time" />
      <span className="num"><b>{number(seconds ? duration_ms / 1000 : duration_ms, seconds ? 2 : 0)}</b> {seconds ? "s" : "ms"}</span>
      <span className="dim">Cost</span>
      {cost.length ? <Strip pieces={cost} what="cost" /> : <span className="cap">No call in it has a price.</span>}
      <span className="num"><b>{number(cost_usd === null ? null : cost_usd * 100, 2)}</b> ¢</span>
    </div>
  );
}

const TEXT: Record<number, string> = { 1: "on1", 2: "on2", 3: "on2", 4: "on2", 5: "on2" };

function Strip({ pieces, what }: { pieces: Piece[]; what: string }) {
  const named = pieces.filter((piece) => piece.name);
  return (
    <svg width="100%" height="24" role="img" aria-label={`${what}: ${named.map((piece) => `${piece.name} ${percent(piece.share, 0)}`).join(", ")}`}>
      {pieces.map((piece) => {
        const colour = piece.model ? colourOf(piece.model) : null;
        return (
          <svg key={`${piece.from} ${piece.id}`} x={`${piece.from * 100}%`} width={`${piece.share * 100}%`} height="24">
            <title>{piece.name ? `${piece.name}: ${percent(piece.share)} of the ${what}` : "nothing that is recorded"}</title>
            <rect width="100%" height="24" className={`${colour ? `f-c${colour}` : "f-line"} s-page`} strokeWidth="2" />
            {piece.name && piece.name.length * 7 + 16 < piece.share * 620 && (
              <text x="8" y="16" className={colour ? TEXT[colour] : "t-ink"}>{piece.name}{piece.name.length * 7 + 52 < piece.share * 620 && ` ${percent(piece.share, 0)}`}</text>
            )}
          </svg>
        );
      })}
    </svg>
  );
}
