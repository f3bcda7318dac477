import type { UserMessage } from "../src/contract";
import { faults } from "./layout";
import { expect, test } from "./page";

const WIDTHS = [320, 390, 768, 1440];
/** So high that nothing has to be scrolled. */
const HEIGHT = 9000;

const tap = (payload: string, title = "Question"): UserMessage => ({
  type: "postback",
  payload,
  title,
});
const ask = (text: string): UserMessage => ({ type: "text", text });
const query = (constraints: object[]) =>
  `/WHO_KNOWS_ABOUT${JSON.stringify({ query: { constraints } })}`;

/** An answer of each type, and of each shape that one may have. */
const MESSAGES: UserMessage[] = [
  tap("/HOW_ARE_YOU", "Bonjour"),
  tap("/OUT_OF_SCOPE", "x".repeat(80)),
  tap('/WHO_IS{"collaborator_id": "C0001"}'),
  tap('/WHO_IS{"collaborator_id": "C0001", "detail": "phone"}'),
  tap('/WHO_IS{"collaborator_id": "C0001", "detail": "skills"}'),
  tap('/WHO_IS{"collaborator_id": "C0003", "detail": "availability"}'),
  tap('/WHO_IS{"person": "Paul Martin"}'),
  tap('/WHO_IS{"person": "Kergulen"}'),
  tap('/WHO_KNOWS_ABOUT{"technology": "Python"}'),
  tap('/WHO_KNOWS_ABOUT{"technology": ["Java", "Docker", "PostgreSQL"]}'),
  tap('/WHO_KNOWS_ABOUT{"technology": "COBOL", "agency": "Rennes"}'),
  tap('/WHO_KNOWS_ABOUT{"technology": "Fortran"}'),
  tap('/WHO_KNOWS_ABOUT{"collaborator_id": "C0001", "technology": "Docker"}'),
  tap('/WHO_KNOWS_ABOUT{"collaborator_id": "C0001", "technology": "COBOL"}'),
  ask("Qui est meilleur en Python, Amadou Ba ou Aminata N'Diaye ?"),
  // Every title that the directory has, long ones among them.
  tap(
    query([
      {
        terms: [
          ["agency", "Lyon"],
          ["agency", "Nantes"],
          ["agency", "Lille"],
        ],
      },
    ]),
  ),
  tap(
    query([
      {
        terms: [
          ["technology", "Java"],
          ["technology", "Python"],
        ],
        minimum: 3,
      },
      { terms: [["agency", "Paris"]], excluded: true },
      { terms: [["availability", "2999"]], until: "2999-12-31" },
    ]),
  ),
];

test("nothing is cut off and nothing lies on anything else, at any width", async ({
  client,
  page,
}) => {
  test.skip(test.info().project.name !== "desktop", "it sets widths of its own");
  test.slow();
  for (const message of MESSAGES) await client.say(message);
  const check = async (what: string) => {
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: HEIGHT });
      expect.soft(await faults(page), `${what}, ${width} pixels`).toEqual([]);
    }
  };
  await page.goto("/");
  await check("sign-in");
  await client.signIn(`new-${client.subject}`.slice(0, 64));
  await expect(page.getByRole("button", { name: /^Qui connaît .* à/ })).toBeVisible();
  await check("welcome");
  await client.openMenu();
  await page.getByRole("button", { name: /Se déconnecter/ }).click();
  await client.signIn();
  await expect(client.turns).toHaveCount(MESSAGES.length);
  await page
    .locator("main details")
    .evaluateAll((all) => all.forEach((details) => details.toggleAttribute("open", true)));
  await check("answers");
  for (const index of [0, 4, 6]) {
    await page
      .getByRole("button", { name: /^Retenir/ })
      .nth(index)
      .click();
  }
  await client.field.pressSequentially("Qui connaît Ja");
  await expect(page.getByRole("list", { name: "Propositions" })).toBeVisible();
  await page.setViewportSize({ width: 320, height: HEIGHT });
  await page.getByRole("button", { name: "Ma sélection" }).click();
  await check("selection");
  await page.getByRole("button", { name: "Comparer" }).click();
  await check("comparison");
  // What is looked for is found where it is.
  const title = page.locator("dialog h2");
  await title.evaluate(
    (element: HTMLElement) => (element.style.cssText = "overflow: hidden; height: 8px"),
  );
  expect((await faults(page)).join()).toContain("cut off: « Comparer »");
  await title.evaluate((element: HTMLElement) => (element.style.cssText = "margin-top: 4em"));
  await page
    .locator("dialog th")
    .last()
    .evaluate((cell: HTMLElement) => {
      cell.style.cssText = "position: relative; top: -3em";
    });
  expect((await faults(page)).join()).toContain("on each other");
});
