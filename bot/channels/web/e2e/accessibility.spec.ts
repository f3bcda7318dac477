import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, test } from "./page";

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(() =>
    Promise.allSettled(document.getAnimations().map(({ finished }) => finished)),
  );
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const found = (await new AxeBuilder({ page }).withTags(tags).analyze()).violations;
  return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds nothing, ${colorScheme}`, async ({ client, page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.goto("/");
    await expect(page.getByLabel("Identifiant")).toBeVisible();
    expect(await violations(page)).toEqual([]);
    await client.signIn();
    expect(await violations(page)).toEqual([]);
    for (const question of [
      "Qui est Maëlys Kerguelen ?",
      "Qui est Paul Martin ?",
      "Qui connaît Python ?",
      "Qui connaît Java et Docker ?",
      "Est-ce que Maëlys Kerguelen connaît Docker ?",
      "Est-ce que Maëlys Kerguelen connaît COBOL ?",
      "Quel est son mail ?",
    ]) {
      await client.ask(question);
      expect(await violations(page), question).toEqual([]);
    }
    await client.openMenu();
    expect(await violations(page)).toEqual([]);
  });
}

test("all of it by keyboard", async ({ client, page }) => {
  await client.signIn();
  await page.reload();
  await expect(client.field).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Aller à la saisie" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(client.field).toBeFocused();
  await page.keyboard.type("Qui est");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("Paul Martin ?");
  await expect(client.field).toHaveValue("Qui est\nPaul Martin ?");
  await page.keyboard.press("Enter");
  await client.answer(0);
  await expect(client.field).toBeFocused();
  await page.keyboard.press("Shift+Tab");
  const last = client.turns.last().getByRole("button").last();
  await expect(last).toBeFocused();
  await page.keyboard.press("Enter");
  await client.answer(1);
  await expect(client.turns.first().getByRole("button").last()).toBeFocused();
});

test("dialogs take the focus and give it back", async ({ client, page }) => {
  await client.signIn();
  await client.openMenu();
  await expect(page.locator("dialog :focus")).toHaveCount(1);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Menu" })).toBeFocused();
});

test("answers are told to screen readers, once", async ({ client, page }) => {
  await client.signIn();
  const log = page.getByRole("log", { name: "Réponses de l’assistant" });
  await expect(log).toHaveAttribute("aria-live", "polite");
  await client.ask("Qui est Paul Martin ?");
  await expect(log.locator("p")).toHaveText([/Je connais 2 personnes de ce nom/]);
});

test("less motion where it is wanted", async ({ client, page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await client.signIn();
  await client.ask("Qui est Maëlys Kerguelen ?");
  expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
});

test("nothing is wider than the screen, however narrow", async ({ client, page }) => {
  await client.signIn();
  await client.ask("Qui est Maëlys Kerguelen ?");
  await client.ask("Qui connaît Java et Docker ?");
  await client.ask("Qui est Paul Martin ?");
  for (const width of [320, 360, 1280]) {
    await page.setViewportSize({ width, height: 640 });
    const [scroller, body] = await page.evaluate(() => {
      const main = document.querySelector("main")!;
      return [main.scrollWidth - main.clientWidth, document.body.scrollWidth - innerWidth];
    });
    expect([scroller, body]).toEqual([0, 0]);
  }
});

test("dark mode by the system, or by one's own choice", async ({ client, page }) => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "dark" });
  await client.signIn();
  expect(await background()).toBe("rgb(17, 19, 27)");
  await client.openMenu();
  await page.getByRole("radio", { name: "Clair" }).check();
  expect(await background()).toBe("rgb(243, 244, 250)");
  await page.reload();
  await expect(client.field).toBeVisible();
  expect(await background()).toBe("rgb(243, 244, 250)");
});
