// One model keeps one colour on every page, whatever else is shown beside it.
const COLOURS = 5;

/** Which of the colours of models a name has: the same for the same name, spread evenly over all names. */
function placeOf(name: string): number {
  let hash = 2166136261; // FNV-1a
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 16777619);
  return (hash >>> 0) % COLOURS;
}

/** The number (1 to 5) of each model's colour: its own by its name, or the next that is free among those shown. */
export function modelColours(names: readonly (string | null)[]): Map<string | null, number> {
  const taken = new Set<number>();
  const found = new Map<string | null, number>();
  for (const name of [...new Set(names)].sort((a, b) => String(a).localeCompare(String(b)))) {
    let place = placeOf(name ?? "");
    if (taken.size < COLOURS) while (taken.has(place)) place = (place + 1) % COLOURS;
    taken.add(place);
    found.set(name, place + 1);
  }
  return found;
}

/** The class that fills with the colour of a number, and the custom property that holds it. */
export const fillOf = (colour: number): string => `f-c${colour}`;
export const propertyOf = (colour: number): string => `--c${colour}`;
