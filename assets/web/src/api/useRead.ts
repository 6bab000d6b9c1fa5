import { keepPreviousData, QueryClient, useMutation, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import type { UseQueryResult } from "@tanstack/react-query";
import { ApiError, getJson, postJson, READS, routeOf } from "./client";
import type { Params, ReadName } from "./client";
import type { Answers, ShownSql } from "./types";

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: Number.POSITIVE_INFINITY, // useLive says when the store has changed; nothing else makes a read old
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: false,
      networkMode: "always", // the server is on this machine: it answers also without a network
      retry: (tries, error) => tries < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 502),
    },
    mutations: { networkMode: "always" },
  },
});

interface Options {
  /** Ask only if this is true. */
  enabled?: boolean;
  /** While other parameters load, keep showing the last answer: for filters, sorting and paging of one table. */
  keep?: boolean;
}

/** Read from the server, live: the answer follows the store. */
export function useRead<K extends ReadName>(
  name: K,
  params: Params = {},
  { enabled = true, keep = false }: Options = {},
): UseQueryResult<Answers[K], ApiError> {
  return useQuery<Answers[K], ApiError>({
    queryKey: [name, routeOf(name, params)],
    queryFn: ({ signal }) => getJson<Answers[K]>(routeOf(name, params), signal),
    enabled,
    placeholderData: keep ? (keepPreviousData as never) : undefined,
  });
}

/** Read the same with several parameters at once: the runs of a matrix. */
export function useReads<K extends ReadName>(name: K, all: readonly Params[]): UseQueryResult<Answers[K], ApiError>[] {
  return useQueries({
    queries: all.map((params) => ({
      queryKey: [name, routeOf(name, params)],
      queryFn: ({ signal }: { signal: AbortSignal }) => getJson<Answers[K]>(routeOf(name, params), signal),
    })),
  }) as UseQueryResult<Answers[K], ApiError>[];
}

/** Read from a path that is no row of READS. */
export function usePath<T>(path: string | null, { keep = false }: Options = {}): UseQueryResult<T, ApiError> {
  return useQuery<T, ApiError>({
    queryKey: ["path", path],
    queryFn: ({ signal }) => getJson<T>(path ?? "", signal),
    enabled: path !== null,
    placeholderData: keep ? (keepPreviousData as never) : undefined,
  });
}

/** Write to a path; what is shown is read again afterwards. */
export function useWrite<T = unknown, B = unknown>(path: string) {
  const client = useQueryClient();
  return useMutation<T, ApiError, B>({
    mutationFn: (body) => postJson<T>(path, body),
    onSuccess: () => client.invalidateQueries(),
  });
}

/** What the SQL of a read is asked for with. */
export interface SqlOf {
  read: ReadName;
  params?: Params;
}

/** The statements behind a read. */
export function useSql({ read, params = {} }: SqlOf): UseQueryResult<ShownSql, ApiError> {
  const { sql, id } = READS[read];
  const query = routeOf(read, params).split("?")[1];
  const own = id && params[id] != null ? `${id}=${encodeURIComponent(String(params[id]))}` : "";
  const path = `/api/sql/${sql}${own || query ? "?" : ""}${[own, query].filter(Boolean).join("&")}`;
  return usePath<ShownSql>(sql ? path : null);
}
