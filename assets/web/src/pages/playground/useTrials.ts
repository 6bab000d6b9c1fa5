import { useCallback, useEffect, useRef, useState } from "react";
import { queries } from "../../api/useRead";
import type { Question, Reply } from "./stream";
import { askModel } from "./stream";

export interface Trial {
  state: "asking" | "speaking" | "done" | "failed" | "stopped";
  text: string;
  begun: number;
  /** When its first word came, in milliseconds after it was asked. */
  first: number | null;
  ended: number | null;
  reply: Reply | null;
  error: unknown;
}

const FRESH = { state: "asking", text: "", first: null, ended: null, reply: null, error: null } as const;

/** The trials of this page by their columns: what asks, stops and forgets them. They end with the page. */
export function useTrials() {
  const [trials, setTrials] = useState<Record<string, Trial>>({});
  const running = useRef(new Map<string, AbortController>());
  useEffect(() => {
    const all = running.current;
    return () => {
      for (const one of all.values()) one.abort();
    };
  }, []);
  const change = useCallback((key: string, next: (was: Trial) => Partial<Trial>) => {
    setTrials((all) => (all[key] ? { ...all, [key]: { ...all[key], ...next(all[key]) } } : all));
  }, []);
  const ask = useCallback(
    async (key: string, question: Question): Promise<Reply | null> => {
      running.current.get(key)?.abort();
      const control = new AbortController();
      running.current.set(key, control);
      const begun = performance.now();
      const own = (next: (was: Trial) => Partial<Trial>) => running.current.get(key) === control && change(key, next);
      setTrials((all) => ({ ...all, [key]: { ...FRESH, begun } }));
      const since = () => performance.now() - begun;
      try {
        const reply = await askModel(question, control.signal, (text) => own((was) => ({ state: "speaking", text: was.text + text, first: was.first ?? since() })));
        own(() => ({ state: "done", reply, text: reply.text, ended: since() }));
        void queries.invalidateQueries();
        return reply;
      } catch (error) {
        own(() => (control.signal.aborted ? { state: "stopped", ended: since() } : { state: "failed", error, ended: since() }));
        return null;
      } finally {
        if (running.current.get(key) === control) running.current.delete(key);
      }
    },
    [change],
  );
  const stop = useCallback((key: string) => running.current.get(key)?.abort(), []);
  const forget = useCallback((key: string) => {
    running.current.get(key)?.abort();
    running.current.delete(key);
    setTrials(({ [key]: _, ...others }) => others);
  }, []);
  return { trials, ask, stop, forget };
}
