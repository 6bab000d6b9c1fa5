import { useCallback, useEffect, useRef, useState } from "react";
import type { Feed } from "../parts/feed";
import { withFirst, withNext } from "../parts/feed";
import type { ApiError, Params } from "./client";
import { getJson, routeOf } from "./client";
import type { Answers, List } from "./types";
import { useRead } from "./useRead";

type ListRead = { [K in keyof Answers]: Answers[K] extends List<unknown> ? K : never }[keyof Answers];
type RowOf<K extends ListRead> = Answers[K] extends List<infer R> ? R : never;

const keyOf = (row: unknown): string => {
  const { id, trace_id: trace } = row as { id?: string; trace_id?: string };
  return String(id ?? trace);
};

export interface EndlessList<R> {
  rows: R[];
  /** How many fit in all; null where nobody counts them. */
  total: number | null;
  /** Whether older rows can be asked for. */
  more: boolean;
  loading: boolean;
  error: ApiError | null;
  first: { data: unknown; error: ApiError | null; refetch: () => unknown; isPlaceholderData: boolean };
  older: () => void;
}

/** A list that goes on by `next` as one scrolls; its first page follows the store, what is deeper stays. */
export function useFeed<K extends ListRead>(name: K, params: Params, size = 100): EndlessList<RowOf<K>> {
  type R = RowOf<K>;
  const key = routeOf(name, { ...params, limit: size });
  const first = useRead(name, { ...params, limit: size }, { keep: true });
  const [known, setKnown] = useState<{ key: string; feed: Feed<R> } | null>(null);
  const [loading, setLoading] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const page = first.isPlaceholderData ? undefined : (first.data as List<R> | undefined);
  useEffect(() => {
    if (page) setKnown((was) => ({ key, feed: withFirst(was?.key === key ? was.feed : null, page, keyOf) }));
  }, [key, page]);
  const busy = useRef(false);
  const next = known?.key === key ? known.feed.next : null;
  const older = useCallback(async () => {
    if (busy.current || next === null) return;
    busy.current = true;
    setLoading(true);
    try {
      const found = await getJson<List<R>>(routeOf(name, { ...params, limit: size, before: next }));
      setKnown((was) => (was?.key === key ? { key, feed: withNext(was.feed, found, keyOf) } : was));
      setError(null);
    } catch (fault) {
      setError(fault as ApiError);
    }
    busy.current = false;
    setLoading(false);
  }, [key, next]);
  const shown = known?.feed.rows ?? (first.data as List<R> | undefined)?.items ?? [];
  const total = (first.data as List<R> | undefined)?.total ?? null;
  return { rows: shown, total, more: next !== null, loading, error, first, older };
}
