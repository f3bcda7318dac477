import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const BOT = process.env["BOT"] ?? "http://127.0.0.1:5005";
const WORKER = "sw.js";
const PUBLIC = "public";

/** Tell the service worker which files there are. */
function fileList(): Plugin {
  return {
    name: "file-list",
    generateBundle: {
      order: "post", // index.html is made by Vite's own
      handler(_, bundle) {
        const worker = bundle[WORKER];
        if (worker?.type !== "chunk") throw new Error(`there is no ${WORKER}`);
        const files = new Map<string, string | Uint8Array>();
        for (const [name, file] of Object.entries(bundle)) {
          if (name !== WORKER) files.set(name, file.type === "chunk" ? file.code : file.source);
        }
        for (const entry of readdirSync(PUBLIC, { recursive: true, withFileTypes: true })) {
          const path = join(entry.parentPath, entry.name);
          if (entry.isFile()) files.set(path.slice(PUBLIC.length + 1), readFileSync(path));
        }
        const hash = createHash("sha256");
        const names = [...files.keys()].sort();
        for (const name of names) hash.update(name).update(files.get(name)!);
        const addresses = names.map((name) => (name === "index.html" ? "/" : `/${name}`));
        worker.code = worker.code
          .replace("__FILES__", JSON.stringify(addresses))
          .replace("__VERSION__", JSON.stringify(hash.digest("hex").slice(0, 16)));
      },
    },
  };
}

export default defineConfig({
  plugins: [fileList()],
  build: {
    target: "es2022",
    modulePreload: false,
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // light-dark()
    assetsInlineLimit: 0, // a data: address would have to be allowed by the Content-Security-Policy
    rollupOptions: {
      input: { index: "index.html", sw: "src/worker/sw.ts" },
      output: {
        entryFileNames: ({ name }) => (name === "sw" ? WORKER : "assets/[name]-[hash].js"),
      },
    },
  },
  server: {
    // `npm run dev` beside `make run`.
    proxy: { "/webhooks": BOT, "/client.json": BOT },
  },
});
