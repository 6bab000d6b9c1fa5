/** One field of CSV; a text that a spreadsheet would run as a formula gets a leading apostrophe. */
export function csvField(value: unknown): string {
  if (value === null || value === undefined) return "";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvText(heads: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return [heads, ...rows].map((row) => `${row.map(csvField).join(",")}\r\n`).join("");
}

/** Save a text as a file of the reader's. */
export function saveFile(name: string, text: string, type = "text/csv;charset=utf-8"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
