/** What is known of an endless list: its rows, the newest first, and where the next page begins. */
export interface Feed<R> {
  rows: R[];
  next: string | null;
}

interface Page<R> {
  items: readonly R[];
  next: string | null;
}

/**
 * Put a fresh first page on what is known already. Where the two meet nothing is lost and the deeper pages stay; where so
 * much has come between that they do not, only the fresh page is known.
 */
export function withFirst<R>(known: Feed<R> | null, first: Page<R>, keyOf: (row: R) => string): Feed<R> {
  const fresh = { rows: [...first.items], next: first.next };
  if (!known?.rows.length || first.next === null) return fresh;
  const ids = new Set(first.items.map(keyOf));
  const last = first.items.at(-1);
  const meets = last ? known.rows.findIndex((row) => keyOf(row) === keyOf(last)) : -1;
  if (meets < 0) return fresh;
  return { rows: [...first.items, ...known.rows.slice(meets + 1).filter((row) => !ids.has(keyOf(row)))], next: meets + 1 < known.rows.length ? known.next : first.next };
}

/** Put the page that follows behind what is known. */
export function withNext<R>(known: Feed<R>, page: Page<R>, keyOf: (row: R) => string): Feed<R> {
  const ids = new Set(known.rows.map(keyOf));
  return { rows: [...known.rows, ...page.items.filter((row) => !ids.has(keyOf(row)))], next: page.next };
}
