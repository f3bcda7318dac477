import { readFile } from "node:fs/promises";
import type { Browser, Locator } from "@playwright/test";
import { initials } from "../src/format";
import { asCsv } from "../src/selection";
import type { Person } from "../src/contract";
import { Client, expect, test } from "./page";

const LIST = "Qui connaît Kubernetes à Nantes ?";

test("people can be called, written to, and copied, from a row as from a card", async ({
  client,
  page,
  context,
}) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await client.signIn();
  const row = client.row(await client.ask(LIST), "Maëlys Kerguelen");
  const name = "Maëlys Kerguelen";
  const link = (label: string) => row.getByRole("link", { name: label });
  await expect(link(`Appeler ${name}`)).toHaveAttribute("href", "tel:0639980548");
  const mail = "maelys.kerguelen@example.com";
  await expect(link(`Écrire un mail à ${name}`)).toHaveAttribute("href", `mailto:${mail}`);
  const teams = `https://teams.microsoft.com/l/chat/0/0?users=${encodeURIComponent(mail)}`;
  await expect(link(`Écrire à ${name} sur Teams`)).toHaveAttribute("href", teams);
  await expect(row.locator(".free")).toHaveText(/Dès le|Disponible/);
  await row.getByRole("button", { name: `Copier la fiche de ${name}` }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toContain(`${name} — Architecte cloud, Nantes`);
  expect(copied).toContain(`${mail} · 06 39 98 05 48`);

  await row.locator(".person-row").click();
  const card = client.card(name);
  await expect(card.getByRole("link", { name: mail })).toHaveAttribute("href", `mailto:${mail}`);
  await expect(card.getByRole("link", { name: "sur Teams" })).toHaveAttribute("href", teams);
  await expect(card.getByRole("button", { name: "Copier la fiche" })).toBeVisible();
});

test("a selection grows over several questions, and is handed on", async ({
  client,
  page,
  browser,
  context,
}) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await client.signIn();
  await retain(client, await client.ask(LIST), "Maëlys Kerguelen");
  await retain(client, await client.ask("Qui est Paul Martin ?"), "Lyon");
  const open = page.getByRole("button", { name: "Ma sélection (2)" });
  await page.reload(); // it is kept
  await open.click();
  const dialog = page.getByRole("dialog", { name: "Ma sélection" });
  await expect(dialog.locator(".people > li")).toHaveText([
    /Maëlys Kerguelen/,
    /Paul Martin.*Lyon/,
  ]);

  await dialog.getByRole("button", { name: "Copier le texte" }).click();
  const text = await page.evaluate(() => navigator.clipboard.readText());
  expect(text).toMatch(
    /Maëlys Kerguelen — Architecte cloud, Nantes\n[^]*\n\nPaul Martin — Consultant data, Lyon\n/,
  );

  const download = page.waitForEvent("download");
  await dialog.getByRole("button", { name: "CSV" }).click();
  const file = await download;
  expect(file.suggestedFilename()).toBe("selection.csv");
  const [header, first, second] = (await readFile(await file.path(), "utf8")).split("\r\n");
  expect(header).toBe("\ufeffNom;Poste;Agence;Mail;Téléphone;Disponible le;Compétences");
  expect(first).toContain(
    "Maëlys Kerguelen;Architecte cloud;Nantes;maelys.kerguelen@example.com;06 39 98 05 48;",
  );
  expect(second).toMatch(/^Paul Martin;Consultant data;Lyon;/);

  await dialog.getByRole("button", { name: "Copier un lien" }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  await opensElsewhere(browser, client, link);

  await dialog.getByRole("button", { name: "Ne plus retenir Paul Martin" }).click();
  await expect(dialog.locator(".people > li")).toHaveCount(1);
  await dialog.getByRole("button", { name: "Vider" }).click();
  await expect(dialog.getByText("Retenez des personnes")).toBeVisible();
});

async function retain(client: Client, answer: Locator, row: string): Promise<void> {
  await client.row(answer, row).getByRole("button", { name: "Retenir" }).click();
}

/** Somebody else opens a link, and sees what they may. */
async function opensElsewhere(browser: Browser, client: Client, link: string): Promise<void> {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await page.getByLabel("Identifiant").fill(`other-${client.subject}`.slice(0, 64));
  await page.getByText("Essayer d’autres droits").click();
  await page.getByLabel("Droits").fill("");
  await page.getByRole("button", { name: "Entrer" }).click();
  const dialog = page.getByRole("dialog", { name: "Ma sélection" });
  await expect(dialog.locator(".people > li")).toHaveText([
    /Maëlys Kerguelen/,
    /Paul Martin.*Lyon/,
  ]);
  expect(new URL(page.url()).hash).toBe("");
  const kept = await page.evaluate(() => localStorage.getItem("skills-bot:selection"));
  expect(kept).toContain("maelys.kerguelen@example.com");
  expect(kept).not.toContain("06 39 98 05 48");
  await context.close();
}

test("two people side by side, whichever of the selection", async ({ client, page }) => {
  await client.signIn();
  const list = await client.ask("Qui connaît Python ?");
  const names = await list.locator(".who strong").allTextContents();
  for (const name of names.slice(0, 3)) await retain(client, list, name);
  await page.getByRole("button", { name: "Ma sélection (3)" }).click();
  await page.getByRole("button", { name: "Comparer" }).click();
  const table = page.getByRole("dialog", { name: "Comparer" }).getByRole("table");
  await expect(table.getByRole("columnheader")).toHaveText(
    names.slice(0, 2).map((name) => new RegExp(name)),
  );
  const python = table.getByRole("row").filter({ hasText: "Python" }).first();
  await expect(python.getByRole("img", { name: /niveau \d sur 5/ })).toHaveCount(2);
  await page.getByLabel("La seconde personne").selectOption({ label: names[2]! });
  await expect(table.getByRole("columnheader").last()).toContainText(names[2]!);
});

test("people whom the bot compares are side by side, with what it says", async ({ client }) => {
  await client.signIn();
  const answer = await client.ask("Qui est meilleur en Python, Amadou Ba ou Aminata N'Diaye ?");
  const card = answer.getByRole("article", { name: "Comparaison de Amadou Ba et Aminata N'Diaye" });
  await expect(card).toContainText(/Python\s: .*(meilleur niveau|même niveau)/);
  await expect(card.getByRole("columnheader")).toHaveCount(2);
});

test("where there is room, people are beside their list", async ({ client, page }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  await client.signIn();
  const list = await client.ask("Qui connaît Kubernetes ?");
  const names = await list.locator(".who strong").allTextContents();
  const panel = page.getByRole("complementary");
  await expect(panel.getByRole("heading")).toHaveText(names[0]!); // the best, unasked
  expect(await client.history()).toHaveLength(1);
  const third = client.row(list, names[2]!);
  const before = await client.top(third);
  await third.locator(".person-row").click();
  await expect(panel.getByRole("heading")).toHaveText(names[2]!);
  await expect(third.locator(".person-row")).toHaveAttribute("aria-current", "true");
  await expect(page.getByRole("button", { name: `Fiche de ${names[2]}`, exact: true })).toBeVisible();
  expect(Math.abs((await client.top(third)) - before)).toBeLessThanOrEqual(1);
  // The bot knows whom one looks at.
  await client.say({ type: "postback", payload: '/WHO_IS{"detail": "email"}', title: "Son mail" });
  const card = (await client.history()).at(-1)?.replies[0]?.card;
  expect(card).toMatchObject({ type: "person_card", person: { name: names[2] } });
  await page.setViewportSize({ width: 390, height: 844 });
  await expect(panel).toHaveCount(0);
  await expect(
    client.turns.nth(1).getByRole("article", { name: `Fiche de ${names[2]}` }),
  ).toBeVisible();
});

test("photos where there are any, else initials", async ({ client, page }) => {
  const settings = { teams: false, voice: false, photos: "/photos/{id}.svg" };
  await page.route("**/client.json", (route) => route.fulfill({ json: settings }));
  await page.route("**/photos/*", (route) => {
    if (!route.request().url().endsWith("/C0001.svg")) return route.fulfill({ status: 404 });
    const body = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>';
    return route.fulfill({ contentType: "image/svg+xml", body });
  });
  await client.signIn();
  const list = await client.ask("Qui connaît Kubernetes à Nantes ?");
  const avatar = (name: string) => client.row(list, name).locator(".avatar");
  await expect(avatar("Maëlys Kerguelen").locator("img")).toHaveJSProperty("naturalWidth", 9);
  await expect(avatar("Mehdi Benkirane")).toHaveText("MB");
});

test("initials leave particles out, and nothing that only begins like one", () => {
  const of = (name: string) => initials(...(name.split("|") as [string, string]));
  expect(["Zoé|Durand", "Océane|Delmas", "Stéphane|Lemoine", "Lou|Desprez"].map(of)).toEqual([
    "ZD",
    "OD",
    "SL",
    "LD",
  ]);
  expect(
    ["Maud|Le Bihan", "Ana|de la Tour", "Léo|d’Arc", "Awa|N'Diaye", "Ali|Ben Salah"].map(of),
  ).toEqual(["MB", "AT", "LA", "AN", "AS"]);
  expect([initials("", ""), initials("Élodie", "du"), initials("éa", "le ")]).toEqual([
    "",
    "ÉD",
    "ÉL",
  ]);
});

test("no cell of a table that is handed on is a formula", () => {
  const person: Person = {
    ...{
      id: "1",
      first_name: "A",
      last_name: "B",
      agency: "@X",
      job_title: "-1+1",
      updated_at: null,
    },
    ...{ name: '=HYPERLINK("x";"y")', email: null, phone: "+33 6 12 34 56 78", hidden: [] },
    ...{ skills: [{ name: "Java", level: 5 }], available_from: null, biography: null },
  };
  expect(asCsv([person]).split("\r\n")[1]).toBe(
    `"'=HYPERLINK(""x"";""y"")";-1+1;'@X;;+33 6 12 34 56 78;;Java (5)`.replace("-1+1", "'-1+1"),
  );
});
