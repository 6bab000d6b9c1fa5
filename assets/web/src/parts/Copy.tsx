import type { ReactNode } from "react";
import { useEffect, useState } from "react";

/** Put a text on the clipboard; true if the browser let us. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea"); // a page that is not on localhost or https has no clipboard
    area.value = text;
    area.className = "vh";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A button that copies a text and says so. */
export function Copy({ text, label = "Copy", className = "copy" }: {
  text: string | (() => string);
  label?: string;
  className?: string;
}) {
  const [said, setSaid] = useState<string | null>(null);
  useEffect(() => {
    if (!said) return;
    const timer = window.setTimeout(() => setSaid(null), 1600);
    return () => window.clearTimeout(timer);
  }, [said]);
  return (
    <button
      type="button"
      className={className}
      onClick={async () => setSaid((await copyText(typeof text === "string" ? text : text())) ? "Copied" : "Not copied")}
    >
      <span aria-live="polite">{said ?? label}</span>
    </button>
  );
}

const PYTHON = /("[^"\n]*"|'[^'\n]*')|(#.*)|\b(from|import|def|return|with|as|if|else|for|in|async|await|class|None|True|False)\b/g;

/** Python with its words, strings and comments told apart. */
function painted(text: string): ReactNode[] {
  const parts: ReactNode[] = [];
  let end = 0;
  for (const found of text.matchAll(PYTHON)) {
    parts.push(text.slice(end, found.index), <span key={found.index} className={found[1] ? "s" : found[2] ? "c" : "k"}>{found[0]}</span>);
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)];
}

/** Text that is copied whole: a command, a statement, a prompt. */
export function Code({ text, label, python = false }: { text: string; label?: string; python?: boolean }) {
  return (
    <div className="code">
      <pre tabIndex={0} aria-label={label}>{python ? painted(text) : text}</pre>
      <Copy text={text} />
    </div>
  );
}
