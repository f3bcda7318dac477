import { randomUUID } from "node:crypto";
import {
  type APIRequestContext,
  expect,
  type Locator,
  type Page,
  test as base,
} from "@playwright/test";
import type { History, UserMessage } from "../src/contract";

export const CHANNEL = "/webhooks/mobile/v1";

/** A page of the client in front of somebody who has not said anything yet. */
export class Client {
  readonly subject = `test-${randomUUID()}`;
  /** What the browser complained about. */
  readonly complaints: string[] = [];
  readonly requested = new Set<string>();

  constructor(
    readonly page: Page,
    private readonly request: APIRequestContext,
  ) {
    page.on("pageerror", (error) => this.complaints.push(error.message));
    page.on("console", (message) => {
      // A request that fails is what some tests are about.
      if (message.type() !== "error" || /Failed to load resource/.test(message.text())) return;
      this.complaints.push(message.text());
    });
    page.on("request", (request) => this.requested.add(new URL(request.url()).origin));
  }

  async signIn(subject = this.subject): Promise<void> {
    await this.page.goto("/");
    await this.page.getByLabel("Identifiant").fill(subject);
    await this.page.getByRole("button", { name: "Entrer" }).click();
    await expect(this.field).toBeVisible();
  }

  get field(): Locator {
    return this.page.getByLabel("Votre question");
  }

  get conversation(): Locator {
    return this.page.getByRole("list", { name: "Conversation" });
  }

  get turns(): Locator {
    return this.page.locator(".turn");
  }

  /** Ask something without waiting for the answer. */
  async write(text: string): Promise<void> {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  /** Ask something; give its turn once that is complete. */
  async ask(text: string): Promise<Locator> {
    const count = await this.turns.count();
    await this.write(text);
    return this.answer(count);
  }

  /** The turn number `index` (from 0), complete. */
  async answer(index: number): Promise<Locator> {
    const turn = this.turns.nth(index);
    await expect(turn.locator(".answer > *").first()).toBeVisible();
    await expect(this.page.locator(".typing, .status")).toHaveCount(0);
    return turn;
  }

  /** How far from the top something is, in whole pixels, once nothing moves any more. */
  async top(target: Locator): Promise<number> {
    return target.evaluate(async (element) => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      let [top, since] = [NaN, performance.now()];
      while (performance.now() - since < 500) {
        await frame();
        const now = element.getBoundingClientRect().top;
        if (now !== top) [top, since] = [now, performance.now()];
      }
      return Math.round(top);
    });
  }

  /** The row of somebody in a list. */
  row(list: Locator, name: string | RegExp): Locator {
    return list.locator(".people > li").filter({ hasText: name });
  }

  /** The card of somebody who was tapped: beside the list where there is room, else after it. */
  card(name: string): Locator {
    const card = { name: `Fiche de ${name}` };
    return this.page
      .getByRole("complementary", card)
      .or(this.page.locator(".turn:last-child").getByRole("article", card));
  }

  async openMenu(): Promise<void> {
    await this.page.getByRole("button", { name: "Menu" }).click();
    await expect(this.page.getByRole("dialog", { name: "Menu" })).toBeVisible();
  }

  /** Wait until the page could be opened without network. */
  async serviceWorker(): Promise<void> {
    await this.page.evaluate(async () => {
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) {
        await new Promise((resolve) =>
          navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }),
        );
      }
    });
  }

  // --- the server's side -----------------------------------------------------------------------

  async token(): Promise<string> {
    const data = { subject: this.subject, scope: "directory:phone" };
    const response = await this.request.post(`${CHANNEL}/development/token`, { data });
    return ((await response.json()) as { access_token: string }).access_token;
  }

  /** What the server has of this conversation. */
  async history(): Promise<History["turns"]> {
    const headers = { Authorization: `Bearer ${await this.token()}` };
    const response = await this.request.get(`${CHANNEL}/history?limit=100`, { headers });
    expect(response.status()).toBe(200);
    return ((await response.json()) as History).turns;
  }

  /** Say something beside the page. */
  async say(data: UserMessage): Promise<void> {
    const headers = { Authorization: `Bearer ${await this.token()}` };
    const response = await this.request.post(`${CHANNEL}/messages`, { headers, data });
    expect(response.status()).toBe(200);
  }
}

/** Wait until nothing on the page moves any more. */
export async function still(page: Page): Promise<void> {
  await page.evaluate(() =>
    Promise.allSettled(document.getAnimations().map(({ finished }) => finished)),
  );
}

export const test = base.extend<{ client: Client }>({
  client: async ({ page, request }, use, info) => {
    const client = new Client(page, request);
    await use(client);
    if (info.expectedStatus === "skipped") return; // no page was opened
    expect(client.complaints).toEqual([]);
    expect([...client.requested]).toEqual([new URL(page.url()).origin]);
  },
});

export { expect };
