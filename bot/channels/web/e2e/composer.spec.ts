import type {} from "../src/voice"; // what it adds to `Window`
import type { Page } from "@playwright/test";
import { expect, test } from "./page";

test("names, skills and agencies are completed as one types", async ({ client, page }) => {
  await client.signIn();
  const offers = page.getByRole("list", { name: "Propositions" });
  await client.field.pressSequentially("Qui connaît Kub");
  await offers.getByRole("button", { name: "Kubernetes" }).click();
  await expect(client.field).toHaveValue("Qui connaît Kubernetes ");
  await expect(client.field).toBeFocused();
  await expect(offers).toHaveCount(0);
  await client.field.pressSequentially("à nan"); // by keyboard alone
  await expect(offers).toBeVisible();
  await page.keyboard.press("ArrowDown");
  await expect(offers.getByRole("button", { name: "Nantes" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(client.field).toHaveValue("Qui connaît Kubernetes à Nantes ");
  await page.keyboard.press("Enter");
  await expect(
    (await client.answer(0)).getByRole("article", { name: "Kubernetes à Nantes" }),
  ).toBeVisible();
  await client.field.pressSequentially("Qui est maë");
  await expect(offers.getByRole("button")).toHaveText(["Maëlys Kerguelen"]);
  await page.keyboard.press("Escape");
  await expect(offers).toHaveCount(0);
});

test("what was asked comes back by arrow keys", async ({ client, page }) => {
  await client.signIn();
  await client.ask("Qui est Maëlys Kerguelen ?");
  await client.ask("Bonjour, comment ça va ?");
  await client.field.press("ArrowUp");
  await expect(client.field).toHaveValue("Bonjour, comment ça va ?");
  await page.keyboard.press("ArrowUp");
  await expect(client.field).toHaveValue("Qui est Maëlys Kerguelen ?");
  await page.keyboard.press("ArrowUp"); // there is nothing before
  await page.keyboard.press("ArrowDown");
  await expect(client.field).toHaveValue("Bonjour, comment ça va ?");
  await page.keyboard.press("ArrowDown");
  await expect(client.field).toHaveValue("");
  await client.field.fill("un brouillon");
  await client.field.press("ArrowUp");
  await expect(client.field).toHaveValue("un brouillon");
});

/** A browser that understands speech, which the one of these tests does not. */
async function withSpeech(page: Page): Promise<void> {
  await page.addInitScript(() => {
    window.webkitSpeechRecognition = class extends EventTarget {
      lang = "";
      interimResults = false;
      onresult:
        ((event: { results: ArrayLike<ArrayLike<{ transcript: string }>> }) => void) | null = null;
      onend: (() => void) | null = null;
      start() {
        const text = this.lang === "fr-FR" ? "Qui connaît Kubernetes" : "Who knows Kubernetes";
        this.onresult?.({ results: [[{ transcript: text }]] });
      }
      stop() {
        this.onend?.();
      }
    };
  });
}

test("a question is spoken where the browser understands speech", async ({ client, page }) => {
  await page.addInitScript(() => {
    delete window.webkitSpeechRecognition;
    delete window.SpeechRecognition;
  });
  await client.signIn();
  const voice = page.getByRole("button", { name: "Dicter la question" });
  await expect(page.getByRole("button", { name: "Envoyer" })).toBeVisible();
  await expect(voice).toHaveCount(0);
  await withSpeech(page);
  await page.reload();
  await voice.click();
  await expect(client.field).toHaveValue("Qui connaît Kubernetes");
  await expect(voice).toHaveAttribute("aria-pressed", "true");
  await voice.click();
  await expect(voice).toHaveAttribute("aria-pressed", "false");
  await client.field.press("Enter");
  await expect((await client.answer(0)).getByRole("article", { name: "Kubernetes" })).toBeVisible();
});

test("a thumb down is noted beside its question, and taken back", async ({ client, page }) => {
  await client.signIn();
  const answer = await client.ask("Quel temps fait-il demain ?");
  const down = answer.getByRole("button", { name: "Cette réponse ne va pas" });
  await down.click();
  await expect(answer).toContainText("Merci, la question sera revue.");
  await expect(async () => expect((await client.history())[0]?.verdict).toBe("bad")).toPass();
  await page.reload();
  await expect(down).toHaveAttribute("aria-pressed", "true");
  await down.click();
  await expect(async () => expect((await client.history())[0]?.verdict).toBeNull()).toPass();
});

test("a thumb down that cannot be noted is taken back alone", async ({ client, page }) => {
  await client.signIn();
  let refuse = () => {};
  const refused = new Promise<void>((resolve) => (refuse = resolve));
  await page.route("**/feedback", async (route) => {
    await refused;
    await route.fulfill({ status: 500 });
  });
  const answer = await client.ask("Quel temps fait-il demain ?");
  await answer.getByRole("button", { name: "Cette réponse ne va pas" }).click();
  await client.ask("Qui est Maëlys Kerguelen ?"); // meanwhile
  await expect(answer).toContainText("Merci, la question sera revue.");
  refuse();
  await expect(page.getByRole("alert")).toContainText("Votre avis n’a pas pu être noté.");
  await expect(answer).not.toContainText("Merci, la question sera revue.");
  await expect(client.turns).toHaveCount(2);
});

test("the welcome asks what this directory can answer", async ({ client, page }) => {
  await client.signIn();
  const examples = page.getByRole("list", { name: "Exemples" }).getByRole("button");
  await expect(examples).toHaveText([
    /^Qui connaît .*\?$/,
    /^Qui connaît .* à .*\?$/,
    /^Qui est .*\?$/,
    /faire/,
  ]);
  const name = /est (.*?)\s\?/.exec((await examples.nth(2).textContent())!)![1]!;
  await examples.nth(2).click();
  await expect(
    (await client.answer(0)).getByRole("article", { name: `Fiche de ${name}` }),
  ).toBeVisible();
});
