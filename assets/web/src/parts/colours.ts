// One model keeps one colour on every page: the next free one when it is first seen, kept in this browser.
const KEY = "promptry.colours";
const COLOURS = 5; // --c1 to --c5; beyond them the colours are shared

/** Add names to those that have a colour, each the next one in turn; those known keep theirs. */
export function withColours(known: Readonly<Record<string, number>>, names: readonly string[]): Record<string, number> {
  const next = { ...known };
  let taken = Object.keys(next).length;
  for (const name of names) if (!Object.hasOwn(next, name)) next[name] = (taken++ % COLOURS) + 1;
  return next;
}

let kept: Record<string, number> | null = null;

function read(): Record<string, number> {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    const pairs = Object.entries(found && typeof found === "object" ? found : {});
    return Object.fromEntries(pairs.filter(([, at]) => Number.isInteger(at) && at >= 1 && at <= COLOURS));
  } catch {
    return {};
  }
}

/** The number of a model's colour: its class is f-cN, its custom property --cN. */
export function colourOf(model: string | null | undefined): number {
  if (!model) return COLOURS;
  kept ??= read();
  if (!Object.hasOwn(kept, model)) {
    kept = withColours(kept, [model]);
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // a browser that keeps nothing gives the colours anew
    }
  }
  return kept[model] ?? COLOURS;
}
