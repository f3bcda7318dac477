/**
 * The service worker: the page opens without network.
 *
 * It keeps the files of the build and nothing else; what was said is kept by the page (store.ts).
 */
declare const self: ServiceWorkerGlobalScope;

/** Addresses of the files of this build, and a hash of them all: vite.config.ts fills them in. */
declare const __FILES__: string[];
declare const __VERSION__: string;

const CACHE = `skills-bot-${__VERSION__}`;
const FILES = new Set(__FILES__);

self.addEventListener("install", (event) => {
  const keep = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll([...FILES].map((file) => new Request(file, { cache: "reload" })));
    // A page in use has loaded all that it needs: its successor may take over at once.
    await self.skipWaiting();
  };
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    for (const name of await caches.keys()) {
      if (name !== CACHE) await caches.delete(name);
    }
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin || !FILES.has(pathname)) return;
  const answer = async () => (await caches.match(pathname, { cacheName: CACHE })) ?? fetch(request);
  event.respondWith(answer());
});

export {};
