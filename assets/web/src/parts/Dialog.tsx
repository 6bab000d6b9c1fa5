import { X } from "lucide-react";
import type { ReactNode } from "react";
import { useEffect, useId, useRef } from "react";

/** A dialog in the browser's own: the focus stays in it, Escape closes it and the focus returns. */
export function Dialog({ title, onClose, children, foot, bare = false, wide = false }: {
  title: string;
  onClose: () => void;
  children: ReactNode;
  foot?: ReactNode;
  /** Without the visible head: a search box says what it is. */
  bare?: boolean;
  /** For what holds a diff or a text. */
  wide?: boolean;
}) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = box.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={box}
      className={`dialog${bare ? " bare" : ""}${wide ? " wider" : ""}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === box.current && onClose()}
    >
      <div className="inside">
        <header className={bare ? "vh" : undefined}>
          <h2 id={id}>{title}</h2>
          {!bare && <button type="button" className="icon right" aria-label="Close" onClick={onClose}><X size={16} /></button>}
        </header>
        {children}
        {foot && <footer>{foot}</footer>}
      </div>
    </dialog>
  );
}
