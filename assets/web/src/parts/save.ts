import { request } from "../api/client";

/** Save what a path of the server streams as a file of the reader's; with the token, which a link could not bring. */
export async function saveExport(path: string, format: "csv" | "jsonl", name: string): Promise<void> {
  const response = await request(`${path}${path.includes("?") ? "&" : "?"}format=${format}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
