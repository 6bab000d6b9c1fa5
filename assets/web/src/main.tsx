import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { applyTheme } from "./app/theme";
import "./styles/tokens.css";
import "./styles/sheet.css";
import "./styles/app.css";

applyTheme();

// After an update the page in the browser names files that are no more: it is loaded anew, once in ten seconds at most.
window.addEventListener("vite:preloadError", (event) => {
  const last = Number(sessionStorage.getItem("promptry.reloaded"));
  if (Date.now() - last < 10_000) return;
  event.preventDefault();
  sessionStorage.setItem("promptry.reloaded", String(Date.now()));
  window.location.reload();
});

const root = document.getElementById("root");
if (root) createRoot(root).render(<StrictMode><App /></StrictMode>);
