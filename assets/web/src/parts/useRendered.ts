import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { ApiError } from "../api/client";
import { postJson } from "../api/client";
import type { LintRow, List, Rendered } from "../api/types";

/** The value as it was when it had not changed for so many milliseconds. */
export function useSettled<T>(value: T, ms = 250): T {
  const [settled, setSettled] = useState(value);
  const key = JSON.stringify(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(JSON.parse(key) as T), ms);
    return () => window.clearTimeout(timer);
  }, [key, ms]);
  return settled;
}

function usePosted<T>(path: string, body: unknown) {
  return useQuery<T, ApiError>({
    queryKey: [path, body],
    queryFn: () => postJson<T>(path, body),
    enabled: body !== null,
    placeholderData: keepPreviousData as never,
    retry: false,
  });
}

/** What is filled in: a version of a prompt, or a text. */
export interface ToRender {
  name?: string;
  version?: number;
  content?: string;
  variables: Record<string, string>;
}

/** A text with its variables filled in, as the server serves it; asked a quarter of a second after the last key. */
export function useRendered(asked: ToRender | null) {
  return usePosted<Rendered>("/api/render", useSettled(asked));
}

/** What there is to say of a text, as one types. */
export function useLint(name: string, content: string | null) {
  return usePosted<List<LintRow> & { placeholders: string[] }>("/api/lint", useSettled(content === null ? null : { name, content }));
}
