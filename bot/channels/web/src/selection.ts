/** The people set aside over several questions, and how they are handed on. */

import { useEffect, useState } from "preact/hooks";
import type { Person } from "./contract";
import * as format from "./format";
import * as store from "./store";

const HASH = "#selection=";

/** What is kept of the selection, and a way to change it. */
export function useSelection(): [Person[], (people: Person[]) => void] {
  const [people, setPeople] = useState(() => store.read("selection") ?? []);
  useEffect(() => store.write("selection", people), [people]);
  return [people, setPeople];
}

/** `people` with `person`, or without where they are among them. */
export function toggled(people: Person[], person: Person): Person[] {
  const others = people.filter(({ id }) => id !== person.id);
  return others.length < people.length ? others : [...people, person];
}

/** A line of text about somebody, then how to reach them. */
export function asText(person: Person): string {
  const skills = person.skills.slice(0, 5).map(({ name, level }) => `${name} ${level}/5`);
  return [
    `${person.name} — ${person.job_title}, ${person.agency}`,
    skills.join(", "),
    [person.email, person.phone].filter(Boolean).join(" · "),
    person.available_from && format.availability(person.available_from),
  ]
    .filter(Boolean)
    .join("\n");
}

const COLUMNS: [string, (person: Person) => string | null][] = [
  ["Nom", ({ name }) => name],
  ["Poste", ({ job_title }) => job_title],
  ["Agence", ({ agency }) => agency],
  ["Mail", ({ email }) => email],
  ["Téléphone", ({ phone }) => phone],
  ["Disponible le", ({ available_from }) => available_from],
  ["Compétences", ({ skills }) => skills.map(({ name, level }) => `${name} (${level})`).join(", ")],
];

/** As a French Excel opens it: semicolons, a byte order mark, and no cell that is a formula. */
export function asCsv(people: Person[]): string {
  const cell = (text: string | null) => {
    const harmless = (text ?? "").replace(/^(?=[=@\t\r]|[+-](?![\d .()-]+$))/, "'");
    return /[";\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  };
  const rows = people.map((person) => COLUMNS.map(([, value]) => cell(value(person))));
  return (
    "\ufeff" +
    [COLUMNS.map(([title]) => title), ...rows].map((row) => row.join(";") + "\r\n").join("")
  );
}

/** An address that opens the page with these people; what is behind # goes to no server. */
export function asLink(people: Person[]): string {
  return location.origin + "/" + HASH + people.map(({ id }) => encodeURIComponent(id)).join(",");
}

/** The ids of the people in the page's own address. */
export function idsInAddress(): string[] {
  if (!location.hash.startsWith(HASH)) return [];
  const ids = location.hash.slice(HASH.length).split(",").filter(Boolean);
  try {
    return ids.map(decodeURIComponent);
  } catch {
    return [];
  }
}
