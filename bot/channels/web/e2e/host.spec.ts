import type {} from "../src/session"; // what it adds to `Window`
import { createServer } from "node:http";
import { test as base } from "@playwright/test";
import { CHANNEL, Client, expect } from "./page";

/** The bot lets the page at this port show it in a frame. */
const PORT = Number(process.env["HOST_PORT"]);
const HOST_APP = (address: string) => `<!doctype html><title>Intranet</title>
<iframe src="${address}" style="width: 100%; height: 500px"></iframe>`;

/** As if the bot were in production: its tokens are real, where they come from is not. */
const test = base.extend<{ client: Client }>({
  client: [
    async ({ page, request, baseURL }, use) => {
      const response = await request.get(`${CHANNEL}/config`);
      const config = (await response.json()) as object;
      const sign_in = { mode: "external", issuer: "https://id.example.com", audience: "skills-bot" };
      await page.route("**/config", (route) => route.fulfill({ json: { ...config, sign_in } }));
      const server = createServer((_, answer) => {
        answer.setHeader("Content-Type", "text/html").end(HOST_APP(baseURL ?? ""));
      });
      await new Promise<void>((resolve) => server.listen(PORT, resolve));
      await use(new Client(page, request));
      server.close();
    },
    { auto: true },
  ],
});

test("nobody signs in without an app around", async ({ client, page }) => {
  await page.goto("/");
  await expect(page.getByText("ouvrez l’assistant depuis l’application")).toBeVisible();
  await page.getByRole("button", { name: "Réessayer" }).click();
  await expect(page.getByText("ouvrez l’assistant depuis l’application")).toBeVisible();
  expect(client.complaints).toEqual([]);
});

test("a native app hands its token over, when it is asked to", async ({ client, page }) => {
  const token = await client.token();
  await page.exposeFunction("giveToken", () => token);
  await page.addInitScript(() => {
    const { giveToken } = window as unknown as { giveToken(): Promise<string> };
    window.skillsBotHost = {
      postMessage(message) {
        if (JSON.parse(message).type !== "skills-bot:token-required") return;
        void giveToken().then((given) => window.skillsBot?.signIn(given));
      },
    };
  });
  await page.goto("/");
  const answer = await client.ask("Qui est Maëlys Kerguelen ?");
  await expect(answer.getByRole("article")).toContainText("Architecte cloud");
  await page.evaluate(() => window.skillsBot?.signOut());
  await expect(page.getByText("Kerguelen")).toHaveCount(0);
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain("Kerguelen");
});

test("a page around us hands its token over", async ({ client, page, baseURL }) => {
  const token = await client.token();
  await page.goto(`http://127.0.0.1:${PORT}/`);
  const frame = page.frameLocator("iframe");
  await expect(frame.getByText("ouvrez l’assistant depuis l’application")).toBeVisible({ timeout: 60_000 });
  await page.evaluate(
    ([given, origin]) =>
      frames[0]!.postMessage({ type: "skills-bot:sign-in", token: given }, origin!),
    [token, baseURL],
  );
  await expect(frame.getByLabel("Votre question")).toBeVisible();
});

test("no other page may show us in a frame", async ({ page }) => {
  await page.goto(`http://localhost:${PORT}/`);
  await expect(async () => {
    const frame = page.frames()[1];
    expect(frame?.url()).toMatch(/^chrome-error:/);
  }).toPass();
});
