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

/** Text that is copied whole: a command, a statement, a prompt. */
export function Code({ text, label }: { text: string; label?: string }) {
  return (
    <div className="code">
      <pre tabIndex={0} aria-label={label}>{text}</pre>
      <Copy text={text} />
    </div>
  );
}
