import AxeBuilder from "@axe-core/playwright";
import type { Locator, Page } from "@playwright/test";
import { expect, still, test } from "./page";

async function violations(page: Page): Promise<string[]> {
  await still(page);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const found = (await new AxeBuilder({ page }).withTags(tags).analyze()).violations;
  return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds nothing, ${colorScheme}`, async ({ client, page }) => {
    // Colours are those of any screen, and what is drawn that of any colours: each of both once.
    const screen = colorScheme === "light" ? "phone" : "desktop";
    test.skip(test.info().project.name !== screen, `looked at on the ${screen}`);
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
    }
    expect(await violations(page), "answers").toEqual([]);
    for (const name of [/^Retenir Maëlys/, /^Retenir Paul/]) {
      await page.getByRole("button", { name }).first().click();
    }
    await client.field.pressSequentially("Qui connaît Ku");
    await expect(page.getByRole("list", { name: "Propositions" })).toBeVisible();
    expect(await violations(page), "completions").toEqual([]);
    await client.field.fill("");
    await page.getByRole("button", { name: "Ma sélection" }).click();
    expect(await violations(page), "selection").toEqual([]);
    await page.getByRole("button", { name: "Comparer" }).click();
    expect(await violations(page), "comparison").toEqual([]);
    await page.keyboard.press("Escape");
    await client.openMenu();
    expect(await violations(page)).toEqual([]);
  });
}

test("all of it by keyboard", async ({ client, page }) => {
  await client.signIn();
  await page.reload();
  await expect(client.field).toBeVisible();
  // The field has the focus, but for where that would bring a keyboard onto the screen.
  if (await page.evaluate(() => matchMedia("(pointer: fine)").matches)) {
    await expect(client.field).toBeFocused();
  }
  const skip = page.getByRole("link", { name: "Aller à la saisie" });
  await skip.focus();
  await expect(skip).toBeInViewport();
  await page.keyboard.press("Enter");
  await expect(client.field).toBeFocused();
  await page.keyboard.type("Qui est");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("Paul Martin ?");
  await expect(client.field).toHaveValue("Qui est\nPaul Martin ?");
  await page.keyboard.press("Enter");
  const choice = await client.answer(0);
  await expect(client.field).toBeFocused();
  const last = choice.locator(".person-row").last();
  await shiftTabTo(last);
  await page.keyboard.press("Enter");
  await client.answer(1);
  await expect(last).toBeFocused();

  async function shiftTabTo(target: Locator): Promise<void> {
    for (let tabs = 0; tabs < 12; tabs++) {
      await page.keyboard.press("Shift+Tab");
      if (await target.evaluate((element) => element === document.activeElement)) return;
    }
    await expect(target).toBeFocused();
  }
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
