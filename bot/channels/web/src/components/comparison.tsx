import type { Person } from "../contract";
import * as format from "../format";
import { Avatar, Level } from "./person";

/** More people than that have numbers instead of dots. */
const DOTTED = 2;

/** People side by side: who they are, when they are free, and how well they know what. */
export function Comparison({ people, first }: { people: Person[]; first?: string | undefined }) {
  const skills = rowsOf(people, first);
  const facts: [string, (person: Person) => string][] = [
    ["Poste", ({ job_title }) => job_title],
    ["Agence", ({ agency }) => agency],
    ["Disponible", ({ available_from: from }) => (from === null ? "—" : free(from))],
  ];
  return (
    <table class="comparison">
      <thead>
        <tr>
          <td />
          {people.map((person) => (
            <th key={person.id} scope="col">
              <Avatar person={person} />
              {person.name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {facts.map(([title, fact]) => (
          <tr key={title}>
            <th scope="row">{title}</th>
            {people.map((person) => (
              <td key={person.id}>{fact(person)}</td>
            ))}
          </tr>
        ))}
        {skills.map(({ name, levels }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            {levels.map((level, index) => (
              <td key={index} class={level === Math.max(...levels) ? "best" : ""}>
                {level === 0 ? (
                  <span role="img" aria-label="non">
                    –
                  </span>
                ) : people.length <= DOTTED ? (
                  <Level level={level} />
                ) : (
                  `${level}/5`
                )}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const free = (from: string) => (format.isPast(from) ? "oui" : format.shortDay(from));

/** The skill asked for, those that several have, then what each knows best; 0 where they do not. */
function rowsOf(people: Person[], first?: string): { name: string; levels: number[] }[] {
  const names = new Set(people.flatMap(({ skills }) => skills.map(({ name }) => name)));
  const rows = [...names].map((name) => ({
    name,
    levels: people.map(({ skills }) => skills.find((skill) => skill.name === name)?.level ?? 0),
  }));
  const shared = (levels: number[]) => levels.filter((level) => level > 0).length;
  const sum = (levels: number[]) => levels.reduce((total, level) => total + level, 0);
  return rows.sort(
    (one, other) =>
      Number(other.name === first) - Number(one.name === first) ||
      shared(other.levels) - shared(one.levels) ||
      sum(other.levels) - sum(one.levels),
  );
}
