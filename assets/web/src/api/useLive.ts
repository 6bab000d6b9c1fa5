import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { ApiError, getJson } from "./client";

const EVERY_MS = 2000;
const AT_MOST_MS = 8_000; // so long at most until a server that is back is seen

export interface Live {
  /** Whether the last question was answered; null before the first. */
  on: boolean | null;
  /** When the store was last seen to change, or when this page began to look. */
  changedAt: string;
  /** Why the last question had no good answer. */
  fault: ApiError | null;
}

/** Ask each 2 s, in a visible tab, whether the store has changed, and read again what is shown if it has. */
export function useLive(): Live {
  const client = useQueryClient();
  const [live, setLive] = useState<Live>(() => ({ on: null, changedAt: new Date().toISOString(), fault: null }));
  useEffect(() => {
    let counter: string | null = null;
    let timer = 0;
    let wait = EVERY_MS;
    let stopped = false;
    let behind = false; // the store moved while a read was on its way: that read is let finish first
    async function look() {
      window.clearTimeout(timer);
      if (document.hidden || stopped) return;
      try {
        const answer = await getJson<{ counter: string }>("/api/changes");
        const moved = counter !== null && answer.counter !== counter;
        const back = wait > EVERY_MS;
        counter = answer.counter;
        wait = EVERY_MS;
        behind ||= moved || back;
        if (behind && !client.isFetching()) {
          behind = false;
          void client.invalidateQueries();
        }
        setLive((was) => {
          if (moved) return { on: true, changedAt: new Date().toISOString(), fault: null };
          return was.on ? was : { ...was, on: true, fault: null };
        });
      } catch (error) {
        const fault = error instanceof ApiError ? error : null;
        wait = Math.min(wait * 2, AT_MOST_MS);
        setLive((was) => (was.on === false && was.fault?.status === fault?.status ? was : { ...was, on: false, fault }));
      }
      if (!stopped) timer = window.setTimeout(look, wait);
    }
    const seen = () => void look();
    document.addEventListener("visibilitychange", seen);
    void look();
    return () => {
      stopped = true;
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [client]);
  return live;
}
