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
  await client.row(list, "Maëlys Kerguelen").locator(".person-row").click();
  await expect(client.card("Maëlys Kerguelen")).toContainText("Architecte cloud");
});

test("each condition is a chip with a cross: a tap asks again without it", async ({ client }) => {
  const constraints = [
    { terms: [["technology", "Java"]], minimum: 3 },
    { terms: [["agency", "Paris"]], excluded: true },
    { terms: [["availability", "31/12/2999"]], until: "2999-12-31" },
  ];
  const payload = `/WHO_KNOWS_ABOUT${JSON.stringify({ query: { constraints } })}`;
  await client.say({ type: "postback", payload, title: "Java" });
  await client.signIn();
  let answer = await client.answer(0);
  const labels = ["Java ≥ 3", "hors Paris", /^dispo/];
  for (let left = labels.length; left > 1; left--) {
    const chips = answer.getByRole("list", { name: "Critères" }).getByRole("button");
    await expect(chips).toHaveText(labels.slice(-left));
    const label = await chips.first().textContent();
    await expect(chips.first()).toHaveAccessibleName(`Retirer le critère ${label}`);
    await chips.first().click();
    answer = await client.answer(labels.length - left + 1);
    await expect(answer.locator(".bubble.user")).toContainText(/^Sans «\s/);
    await expect(answer.locator(".bubble.user")).toContainText(label!);
  }
  await expect(answer.getByRole("list", { name: "Critères" })).toHaveCount(0);
});

test("where nobody is left, the conditions can be taken back as well", async ({ client }) => {
  await client.signIn();
  const nobody = await client.ask("Qui connaît COBOL à Rennes ?");
  await expect(nobody.locator(".people")).toHaveCount(0);
  await nobody.getByRole("button", { name: "Retirer le critère Rennes" }).click();
  await expect((await client.answer(1)).getByRole("article", { name: "COBOL" })).toBeVisible();
});

test("what stands on a chip may be typed", async ({ client }) => {
  await client.signIn();
  const hello = await client.ask("Bonjour, comment ça va ?");
  const label = "Chercher une personne";
  await expect(hello.getByRole("button", { name: label })).toBeVisible();
  const answer = await client.ask(label);
  await expect(answer.locator(".bubble.user")).toHaveText(label);
  await expect(answer.locator(".bubble.bot")).toContainText(/nom/);
});

test("a homonym is tapped", async ({ client }) => {
  await client.signIn();
  const question = await client.ask("Qui est Paul Martin ?");
  await expect(question).toContainText("Je connais 2 personnes de ce nom");
  const choice = question.getByRole("list", { name: "Personnes proposées" });
  await expect(choice.locator(".person-row")).toHaveCount(2);
  await expect(question.locator(".chip")).toHaveCount(0); // the reply's buttons are the card's
  await client.row(question, "Lyon").locator(".person-row").click();
  const answer = await client.answer(1);
  await expect(answer.locator(".bubble.user")).toContainText("Paul Martin — Consultant data, Lyon");
  await expect(answer.getByRole("article", { name: "Fiche de Paul Martin" })).toContainText("Lyon");
});

test("a long list goes on in its place", async ({ client, page }) => {
  await client.signIn();
  const list = await client.ask("Qui connaît Python ?");
  await expect(list.locator(".people > li")).toHaveCount(5);
  await expect(list).toContainText(/1 à 5 sur \d+ personnes/);
  await expect(list.getByText(/Il reste \d+ personnes/)).toHaveCount(1);
  const total = Number(/sur (\d+)/.exec((await list.textContent()) ?? "")?.[1]);
  await list.getByRole("button", { name: "Voir la suite" }).focus();
  const first = list.locator(".people > li").first();
  const above = await client.top(first);
  await list.getByRole("button", { name: "Voir la suite" }).press("Enter");
  await expect(list.locator(".people > li")).toHaveCount(Math.min(10, total));
  await expect(client.turns).toHaveCount(1);
  await expect(list).toContainText(`1 à 10 sur ${total} personnes`);
  await client.answer(0);
  expect(Math.abs((await client.top(first)) - above)).toBeLessThanOrEqual(1);
  while (await list.getByRole("button", { name: "Voir la suite" }).count()) {
    const shown = await list.locator(".people > li").count();
    await list.getByRole("button", { name: "Voir la suite" }).press("Enter");
    await expect(list.locator(".people > li").nth(shown)).toBeVisible();
    await client.answer(0); // until then there is no button for the page after it
  }
  await expect(list.locator(".people > li")).toHaveCount(total);
  await expect(list.locator(".person-row:focus")).toHaveCount(1); // not lost with the button
  await expect(page.getByText(/À jour du/)).toHaveCount(1);
  await page.reload();
  await expect(client.turns.first().locator(".people > li")).toHaveCount(total);
  await expect(client.turns).toHaveCount(1);
});

test("the day that answers are of is told once", async ({ client, page }) => {
  await client.signIn();
  await client.ask("Qui connaît Kubernetes ?");
  await client.ask("Qui est Maëlys Kerguelen ?");
  await client.ask("Qui connaît Java ?");
  await expect(page.getByText(/À jour du/)).toHaveCount(1);
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
  await expect(page.getByLabel("Droits")).toBeHidden();
  await page.getByText("Essayer d’autres droits").click();
  await page.getByLabel("Droits").fill("");
  await page.getByRole("button", { name: "Entrer" }).click();
  await expect(client.turns).toHaveCount(2); // the history has come back
  const hidden = await client.ask("Quel est le téléphone de Maëlys Kerguelen ?");
  await expect(hidden).toContainText("Téléphone : vous n’y avez pas accès");
  const log = page.getByRole("log", { name: "Réponses de l’assistant" });
  await expect(log.locator("p").last()).toContainText("Vous n'avez pas accès à cette information");
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
