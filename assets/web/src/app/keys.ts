// The keyboard: one listener for the page. Inputs keep their own keys, but for Escape.
import { useEffect, useRef } from "react";

type Act = () => void;

const escapes: { act: Act }[] = [];
const ROWS = "[data-row]";

/** Run `act` on Escape while this is shown; the newest goes first. */
export function useEscape(act: Act, active = true): void {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    if (!active) return;
    const entry = { act: () => latest.current() };
    escapes.push(entry);
    return () => {
      escapes.splice(escapes.indexOf(entry), 1);
    };
  }, [active]);
}

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit"].includes(target.type);
}

/** Move the focus by so many rows of the table that has it, or of the first one that is seen. */
function moveRow(step: number): void {
  const active = document.activeElement?.closest(ROWS);
  const home =
    active?.closest("[data-rows]") ??
    document.querySelector('main [data-rows]:has([aria-selected="true"])') ??
    document.querySelector("main .opens [data-rows]:has([data-row])") ??
    document.querySelector("main [data-rows]:has([data-row])");
  if (!home) return;
  const rows = [...home.querySelectorAll<HTMLElement>(ROWS)];
  const at = active ? rows.indexOf(active as HTMLElement) : rows.findIndex((row) => row.ariaSelected === "true");
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

/** Give the focus to what the page marks with data-NAME, or press it. */
function reach(name: "filter" | "edit"): boolean {
  const found = document.querySelector<HTMLElement>(`main [data-${name}]`);
  if (!found) return false;
  if (name === "edit" && found.matches("a, button")) found.click();
  else found.focus();
  return true;
}

/** The keys of the whole page; `jump` and `help` open those two, `goTo` leads to the page of a letter after g. */
export function useKeys({ jump, help, goTo }: { jump: Act; help: Act; goTo: (letter: string) => boolean }): void {
  useEffect(() => {
    let afterG = 0;
    function pressed(event: KeyboardEvent) {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (document.querySelector("dialog[open]")) return; // a dialog has its own keys
      if (event.key === "Escape") {
        if (escapes.length) escapes[escapes.length - 1]?.act();
        else if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
        return;
      }
      if (isTyping(event.target)) return;
      const second = event.timeStamp - afterG < 1500;
      afterG = 0;
      if (second && goTo(event.key)) return event.preventDefault();
      const acts: Record<string, () => boolean | void> = {
        "/": jump,
        "?": help,
        j: () => moveRow(1),
        k: () => moveRow(-1),
        f: () => reach("filter"),
        e: () => reach("edit"),
        g: () => {
          afterG = event.timeStamp;
        },
      };
      const act = Object.hasOwn(acts, event.key) ? acts[event.key] : undefined;
      if (act && act() !== false) event.preventDefault();
    }
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [jump, help, goTo]);
}
