// A drawer stands beside what it belongs to, never over it; on a narrow screen it follows it.
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { useEffect, useId, useRef } from "react";
import { createPortal } from "react-dom";
import { useEscape } from "../app/keys";

/** Where drawers are put: the shell has this element once, beside main. */
export const DRAWERS = "drawers";

/** Open while it is rendered; Escape or its cross close it, and the focus returns to where it was. */
export function Drawer({ title, tools, onClose, children, wide = false }: {
  title: ReactNode;
  tools?: ReactNode;
  onClose: () => void;
  children: ReactNode;
  wide?: boolean;
}) {
  const id = useId();
  const box = useRef<HTMLElement>(null);
  useEscape(onClose);
  useEffect(() => {
    const before = document.activeElement;
    if (window.matchMedia("(max-width: 1000px)").matches) box.current?.scrollIntoView({ block: "nearest" }); // there it follows the page
    if (before instanceof HTMLElement && before.closest("[data-row]")) return; // j and k go on in the table
    box.current?.focus({ preventScroll: true });
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  const place = document.getElementById(DRAWERS);
  if (!place) return null;
  return createPortal(
    <aside className={wide ? "drawer wider" : "drawer"} aria-labelledby={id} tabIndex={-1} ref={box}>
      <header>
        <h2 id={id}>{title}</h2>
        <span className="right">
          {tools}
          <button type="button" className="icon" aria-label="Close" title="Close (Esc)" onClick={onClose}><X size={16} /></button>
        </span>
      </header>
      {children}
    </aside>,
    place,
  );
}
