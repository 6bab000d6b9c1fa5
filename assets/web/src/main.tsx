import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { applyTheme } from "./app/theme";
import "./styles/tokens.css";
import "./styles/sheet.css";
import "./styles/app.css";

applyTheme();

// A file of the page cannot be had: the server is gone, or was updated and has other ones. Once it answers, the page is
// loaded anew, where the address says; once in ten seconds at most.
let waits = false;
window.addEventListener("vite:preloadError", () => {
  if (!waits) void reloadOnceServed();
});

async function reloadOnceServed(): Promise<void> {
  waits = true;
  const answers = () => fetch("/api/health", { cache: "no-store" }).then((reply) => reply.status < 500, () => false);
  while (!(await answers())) await new Promise((go) => window.setTimeout(go, 2000));
  waits = false;
  if (Date.now() - Number(sessionStorage.getItem("promptry.reloaded")) < 10_000) return;
  sessionStorage.setItem("promptry.reloaded", String(Date.now()));
  window.location.reload();
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<StrictMode><App /></StrictMode>);
