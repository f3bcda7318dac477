import { expect, test } from "./page";

test("the three questions", async ({ client }) => {
  await client.signIn();
  const hello = await client.ask("Bonjour, comment ça va ?");
  await expect(hello.locator(".bubble.bot")).toContainText(/bien|forme/);

  const person = await client.ask("Qui est Maëlys Kerguelen ?");
  const card = person.getByRole("article", { name: "Fiche de Maëlys Kerguelen" });
  await expect(card).toContainText("Architecte cloud");
  await expect(card.getByRole("link", { name: "maelys.kerguelen@example.com" })).toHaveAttribute(
    "href",
    "mailto:maelys.kerguelen@example.com",
  );
  await expect(card.getByRole("link", { name: "06 39 98 05 48" })).toHaveAttribute(
    "href",
    "tel:0639980548",
  );
  const skill = card.getByRole("listitem").filter({ hasText: "Kubernetes" });
  await expect(skill.getByRole("img")).toHaveAccessibleName("niveau 5 sur 5");

  const experts = await client.ask("Qui connaît Kubernetes à Nantes ?");
  const list = experts.getByRole("article", { name: "Kubernetes à Nantes" });
  await expect(list.getByRole("button", { name: /Maëlys Kerguelen/ })).toBeVisible();
  await list.getByRole("button", { name: /Maëlys Kerguelen/ }).click();
  await expect((await client.answer(3)).getByRole("article")).toContainText("Architecte cloud");
});

test("a condition is taken back", async ({ client }) => {
  await client.signIn();
  const there = await client.ask("Qui connaît Kubernetes à Nantes ?");
  await there.getByRole("button", { name: "Retirer le critère Nantes" }).click();
  const everywhere = await client.answer(1);
  await expect(everywhere.locator(".bubble.user")).toContainText("Sans « Nantes »");
  await expect(everywhere.getByRole("article", { name: "Kubernetes" })).toContainText("Rennes");
});

test("a homonym is tapped", async ({ client }) => {
  await client.signIn();
  const question = await client.ask("Qui est Paul Martin ?");
  await expect(question).toContainText("Je connais 2 personnes de ce nom");
  const choice = question.getByRole("list", { name: "Personnes proposées" });
  await expect(choice.getByRole("button")).toHaveCount(2);
  await expect(question.locator(".chip")).toHaveCount(0); // the reply's buttons are the card's
  await choice.getByRole("button", { name: /Lyon/ }).click();
  const answer = await client.answer(1);
  await expect(answer.locator(".bubble.user")).toContainText("Paul Martin — Consultant data, Lyon");
  await expect(answer.getByRole("article", { name: "Fiche de Paul Martin" })).toContainText("Lyon");
});

test("a long list goes on", async ({ client }) => {
  await client.signIn();
  const first = await client.ask("Qui connaît Python ?");
  await expect(first.locator(".people > li")).toHaveCount(5);
  await expect(first).toContainText(/1 à 5 sur \d+ personnes/);
  await expect(first.getByText(/Il reste \d+ personnes/)).toHaveCount(1);
  await first.getByRole("button", { name: "Voir la suite" }).click();
  const next = await client.answer(1);
  await expect(next).toContainText(/6 à \d+ sur \d+ personnes/);
  await expect(next.locator("ol.people")).toHaveAttribute("start", "6");
});

test("skill checks, details, and what is not visible to everybody", async ({ client, page }) => {
  await client.signIn();
  const yes = await client.ask("Est-ce que Maëlys Kerguelen connaît Docker ?");
  await expect(yes.getByRole("img", { name: "niveau 5 sur 5" })).toBeVisible();
  const phone = await client.ask("et son téléphone ?");
  await expect(phone.getByRole("link", { name: "06 39 98 05 48" })).toBeVisible();

  await client.openMenu();
  await page.getByRole("button", { name: /Se déconnecter/ }).click();
  await page.getByLabel("Identifiant").fill(client.subject);
  await page.getByLabel("Droits").fill("");
  await page.getByRole("button", { name: "Entrer" }).click();
  await expect(client.turns).toHaveCount(2); // the history has come back
  const hidden = await client.ask("Quel est le téléphone de Maëlys Kerguelen ?");
  await expect(hidden).toContainText("Téléphone : vous n’y avez pas accès");
});

test("the answer is streamed while the assistant is seen to write", async ({ client, page }) => {
  await client.signIn();
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  await page.route("**/messages", async (route) => {
    expect(route.request().headers()["accept"]).toBe("text/event-stream");
    await released;
    await route.continue();
  });
  await client.write("Bonjour, comment ça va ?");
  await expect(page.locator(".typing")).toContainText("L’assistant écrit…");
  release();
  await client.answer(0);
});

test("history: a page at a time, the latest first", async ({ client, page }) => {
  for (let number = 1; number <= 23; number++) {
    const payload = '/WHO_IS{"collaborator_id": "C0001", "detail": "agency"}';
    await client.say({ type: "postback", payload, title: `Question ${number}` });
  }
  await client.signIn();
  await expect(client.turns).toHaveCount(20);
  await expect(client.turns.last()).toContainText("Question 23");
  await expect(client.turns.last()).toBeInViewport();
  await page.getByRole("button", { name: "Messages précédents" }).click();
  await expect(client.turns).toHaveCount(23);
  await expect(client.turns.first()).toContainText("Question 1");
  await expect(page.getByRole("button", { name: "Messages précédents" })).toHaveCount(0);
  await expect(client.turns.nth(3)).toBeInViewport(); // one goes on reading where one was
});

test("one's own conversation is deleted, here and there", async ({ client, page }) => {
  await client.signIn();
  await client.ask("Qui est Maëlys Kerguelen ?");
  await client.openMenu();
  await page.getByRole("button", { name: "Effacer la conversation" }).click();
  await page.getByRole("button", { name: "Annuler" }).click();
  await expect(client.turns).toHaveCount(1);
  await client.openMenu();
  await page.getByRole("button", { name: "Effacer la conversation" }).click();
  await page.getByRole("button", { name: "Tout effacer" }).click();
  await expect(page.getByRole("heading", { name: "Bonjour !" })).toBeVisible();
  expect(await client.history()).toEqual([]);
  await page.reload();
  await expect(page.getByRole("heading", { name: "Bonjour !" })).toBeVisible();
});

test("nothing of one user is left for the next", async ({ client, page }) => {
  await client.signIn();
  await client.ask("Qui est Maëlys Kerguelen ?");
  await client.openMenu();
  await page.getByRole("button", { name: /Se déconnecter/ }).click();
  expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain("Kerguelen");
  await client.signIn(`other-${client.subject}`.slice(0, 64));
  await expect(page.getByRole("heading", { name: "Bonjour !" })).toBeVisible();
});
