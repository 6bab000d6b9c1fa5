import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const API = process.env.PROMPTRY_API || "http://127.0.0.1:8420";

// The built page must be the same bytes for the same sources: names hold a hash of the content, nothing holds a time.
// PROMPTRY_SITE: another folder to build into, as the test that rebuilds and compares does.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    outDir: process.env.PROMPTRY_SITE || "../site",
    emptyOutDir: true,
    assetsDir: "assets", // what stands there the server lets the browser keep for ever
    assetsInlineLimit: 0, // nothing inline: the page's policy allows 'self' alone
    modulePreload: { polyfill: false },
    target: "es2022",
    sourcemap: false,
    reportCompressedSize: true,
  },
  server: {
    host: "127.0.0.1",
    port: 8421,
    // The server takes writes from its own page alone, so the request must look as if it came from there.
    proxy: { "/api": { target: API, changeOrigin: true, headers: { Origin: API } } },
  },
});
