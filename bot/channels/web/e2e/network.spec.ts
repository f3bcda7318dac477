import { expect, test } from "./page";

const PROBLEM = "urn:skills-bot:problem:";

test("offline: past answers are shown, questions wait and are then answered once", async ({
  client,
  page,
  context,
}) => {
  await client.signIn();
  await client.ask("Qui est Maëlys Kerguelen ?");
  await client.serviceWorker();

  await context.setOffline(true);
  await expect(page.getByText("Hors ligne.")).toBeVisible();
  await client.write("Qui connaît Kubernetes à Nantes ?");
  await expect(page.getByText("Pas de connexion.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Réessayer" })).toHaveCount(0); // it cannot help
  const [icon, words] = [page.locator(".banner .icon"), page.locator(".banner span")];
  const [one, other] = [await icon.boundingBox(), await words.boundingBox()];
  expect(one!.x + one!.width).toBeLessThan(other!.x);

  await page.reload();
  await expect(page.getByText("Hors ligne.")).toBeVisible();
  await expect(page.getByRole("article", { name: "Fiche de Maëlys Kerguelen" })).toBeVisible();
  await expect(client.turns.last()).toContainText("Qui connaît Kubernetes à Nantes ?");
  await expect(page.getByText("Pas de connexion.")).toBeVisible();

  await context.setOffline(false);
  const answer = await client.answer(1);
  await expect(answer.getByRole("article", { name: "Kubernetes à Nantes" })).toBeVisible();
  await expect(page.getByText("Hors ligne.")).toHaveCount(0);
  expect(await client.history()).toHaveLength(2);
});

test("an answer that is cut is asked for again under the same key", async ({ client, page }) => {
  await client.signIn();
  const keys: (string | undefined)[] = [];
  const replayed: (string | undefined)[] = [];
  await page.route("**/messages", async (route) => {
    keys.push(route.request().headers()["idempotency-key"]);
    const response = await route.fetch();
    replayed.push(response.headers()["idempotency-replayed"]);
    const whole = await response.text();
    const cut = whole.slice(0, whole.indexOf("event: done") + 20);
    await route.fulfill({ response, body: keys.length === 1 ? cut : whole });
  });
  const answer = await client.ask("Qui est Maëlys Kerguelen ?");
  await expect(answer.getByRole("article")).toHaveCount(1);
  expect(keys).toHaveLength(2);
  expect(keys[0]).toMatch(/^[\da-f-]{36}$/);
  expect(keys[1]).toBe(keys[0]);
  expect(replayed).toEqual([undefined, "true"]);
  expect(await client.history()).toHaveLength(1);
  await expect(client.turns).toHaveCount(1);
});

test("a busy server is asked again when it wants to be", async ({ client, page }) => {
  await client.signIn();
  let refusals = 0;
  await page.route("**/messages", async (route) => {
    if (refusals++ > 0) return route.continue();
    const retry_after = 1;
    const type = `${PROBLEM}rate-limited`;
    const body = { type, title: "", status: 429, trace_id: "", retry_after };
    return route.fulfill({ status: 429, contentType: "application/problem+json", json: body });
  });
  await client.write("Bonjour, comment ça va ?");
  await expect(page.getByText("Vous allez trop vite pour moi.")).toBeVisible();
  await client.answer(0);
  expect(refusals).toBe(2);
});

test("a message that is refused is told apart, retried or taken back", async ({ client, page }) => {
  await client.signIn();
  await page.route("**/messages", (route) => {
    const trace_id = "4bf92f3577b34da6";
    const body = { type: `${PROBLEM}internal`, title: "", status: 500, trace_id };
    return route.fulfill({ status: 500, contentType: "application/problem+json", json: body });
  });
  await client.write("Bonjour, comment ça va ?");
  await expect(client.turns.first()).toContainText("Une erreur s’est produite de notre côté.");
  await expect(client.turns.first()).toContainText("Référence : 4bf92f3577b34da6");
  await client.write("Qui est Maëlys Kerguelen ?");
  await expect(page.getByRole("button", { name: "Retirer" })).toHaveCount(2);
  await client.turns.first().getByRole("button", { name: "Retirer" }).click();
  await page.unroute("**/messages");
  await page.getByRole("button", { name: "Réessayer" }).click();
  await client.answer(0);
  expect(await client.history()).toHaveLength(1);
});

test("a token that the server no longer takes is renewed", async ({ client, page }) => {
  await client.signIn();
  let refused = 0;
  await page.route("**/messages", (route) => {
    if (refused++ > 0) return route.continue();
    const body = { type: `${PROBLEM}unauthenticated`, title: "", status: 401, trace_id: "" };
    return route.fulfill({ status: 401, contentType: "application/problem+json", json: body });
  });
  await client.ask("Bonjour, comment ça va ?");
  expect(refused).toBe(2);
});

test("it can be installed", async ({ client, page, context }) => {
  await client.signIn();
  await client.serviceWorker();
  const devtools = await context.newCDPSession(page);
  const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
  expect(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito")).toEqual([]);
  const { errors, data } = await devtools.send("Page.getAppManifest");
  expect(errors).toEqual([]);
  const { icons } = JSON.parse(data ?? "") as { icons: { src: string; sizes: string }[] };
  for (const { src, sizes } of icons) {
    const size = await page.evaluate(async (address) => {
      const image = new Image();
      image.src = address;
      await image.decode();
      return `${image.naturalWidth}x${image.naturalHeight}`;
    }, src);
    if (sizes !== "any") expect(size).toBe(sizes);
  }
});

test("tokens stay out of the browser's storage", async ({ client, page }) => {
  await client.signIn();
  await client.ask("Bonjour, comment ça va ?");
  const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage]));
  expect(kept).toContain(client.subject);
  expect(kept).not.toContain("eyJ"); // as every JWT begins
});
