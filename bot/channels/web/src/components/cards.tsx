import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import {
  type Card,
  type Detail,
  type ExpertList,
  type Person,
  type PersonCard,
  type PersonChoice,
  personButton,
  type SkillCheck,
} from "../contract";
import * as format from "../format";
import { Comparison } from "./comparison";
import { useDesk } from "./desk";
import { Icon } from "./icons";
import {
  Actions,
  Availability,
  Contacts,
  Level,
  Missing,
  PersonDetails,
  PersonHeader,
  Skills,
  Who,
} from "./person";

interface Props<T> {
  card: T;
  /** What the reply says, for cards that are drawn beneath their sentence. */
  text: string;
  /** Put at the card's end. */
  children?: ComponentChildren;
}

export function CardView({ card, ...rest }: Props<Card>) {
  switch (card.type) {
    case "person_card":
      return card.detail === null ? <FullCard card={card} /> : <DetailCard card={card} />;
    case "person_choice":
      return <ChoiceCard card={card} {...rest} />;
    case "expert_list":
      if (card.compared) return <ComparisonCard card={card} people={card.compared} {...rest} />;
      return card.experts.length > 0 ? (
        <ExpertCard card={card} {...rest} />
      ) : (
        <NobodyCard card={card} {...rest} />
      );
    case "skill_check":
      return <SkillCard card={card} {...rest} />;
  }
}

/** Payloads that the card itself offers: the reply's buttons with the same need not be drawn. */
export function payloadsOf(card: Card): string[] {
  return card.type === "person_choice" ? card.people.map((person) => person.payload) : [];
}

export function Sentence({ text }: { text: string }) {
  return <p class="bubble bot">{format.typeset(text)}</p>;
}

// --- a person -----------------------------------------------------------------------------------

function FullCard({ card: { person } }: { card: PersonCard }) {
  return (
    <article class="card" aria-label={`Fiche de ${person.name}`}>
      <PersonHeader person={person} />
      <PersonDetails person={person} />
    </article>
  );
}

function DetailCard({ card: { person, detail } }: { card: PersonCard }) {
  return (
    <article class="card" aria-label={`Fiche de ${person.name}`}>
      <PersonHeader person={person} />
      {detail !== null && <DetailOf person={person} detail={detail} />}
      <footer class="card-footer">
        <OpenCard person={person}>Voir toute la fiche</OpenCard>
      </footer>
    </article>
  );
}

function OpenCard({ person, children }: { person: Person; children: ComponentChildren }) {
  const { tap } = useDesk();
  return (
    <button type="button" class="link" onClick={() => tap(personButton(person))}>
      {children}
    </button>
  );
}

function DetailOf({ person, detail }: { person: Person; detail: Detail }) {
  switch (detail) {
    case "email":
    case "phone":
      return <Contacts person={person} only={detail} />;
    case "skills":
      return <Skills skills={person.skills} all />;
    case "availability":
      return person.available_from ? (
        <Availability person={person} />
      ) : (
        <Missing person={person} field="available_from" what="Disponibilité" />
      );
    default:
      return null; // agency and job title are in the header
  }
}

// --- several people -----------------------------------------------------------------------------

function ChoiceCard({ card, text, children }: Props<PersonChoice>) {
  const { tap } = useDesk();
  return (
    <>
      <Sentence text={text} />
      <div class="card list-card">
        <ul class="people" aria-label="Personnes proposées">
          {card.people.map((person) => (
            <li key={person.id}>
              <PersonRow
                person={person}
                open={() =>
                  tap({
                    title: `${person.name} — ${person.job_title}, ${person.agency}`,
                    payload: person.payload,
                  })
                }
              />
            </li>
          ))}
        </ul>
        {children}
      </div>
    </>
  );
}

function ExpertCard({ card, children }: Props<ExpertList>) {
  const { open, shown } = useDesk();
  const several = card.technologies.length > 1;
  const list = useRef<HTMLOListElement>(null);
  const count = useRef(card.experts.length);
  useLayoutEffect(() => {
    // Whoever asked for more by a button that is now gone goes on at what has come.
    const added = list.current?.children[count.current];
    if (document.activeElement === document.body) {
      added?.querySelector("button")?.focus({ preventScroll: true });
    }
    count.current = card.experts.length;
  }, [card.experts.length]);
  return (
    <article class="card list-card" aria-label={titleOf(card)}>
      <header class="list-header">
        <h3>{titleOf(card)}</h3>
        <p>{countOf(card)}</p>
      </header>
      <Conditions card={card} />
      <ol class="people" start={card.offset + 1} ref={list}>
        {card.experts.map(({ person, levels }) => (
          <li key={person.id} class={person.id === shown?.id ? "current" : ""}>
            <PersonRow
              person={person}
              open={() => open(person)}
              current={person.id === shown?.id}
              levels={levels}
              named={several || Object.keys(levels).length > 1}
            />
          </li>
        ))}
      </ol>
      {children}
    </article>
  );
}

function NobodyCard({ card, text }: Props<ExpertList>) {
  return (
    <>
      <Sentence text={text} />
      <Conditions card={card} />
    </>
  );
}

function ComparisonCard({ card, text, people }: Props<ExpertList> & { people: Person[] }) {
  const names = format.list(people.map(({ name }) => name));
  return (
    <article class="card" aria-label={`Comparaison de ${names}`}>
      <p>{format.typeset(text.split("\n")[0] ?? "")}</p>
      <Comparison people={people} first={card.technologies[0]} />
    </article>
  );
}

/** Each condition of the list as a chip: a tap asks again without it. */
function Conditions({ card }: { card: ExpertList }) {
  const { tap } = useDesk();
  const parts = (card.query ?? []).filter((part) => part.without !== null);
  if (parts.length === 0) return null;
  return (
    <ul class="chips conditions" aria-label="Critères">
      {parts.map(({ label, without }) => (
        <li key={label}>
          <button
            type="button"
            class="chip"
            aria-label={`Retirer le critère ${label}`}
            onClick={() => tap({ title: `Sans « ${label} »`, payload: without! })}
          >
            {label}
            <Icon name="cross" />
          </button>
        </li>
      ))}
    </ul>
  );
}

function titleOf(card: ExpertList): string {
  const plain = [...card.technologies, card.agency];
  const labels = (card.query ?? []).map((part) => part.label);
  if (labels.some((label) => !plain.includes(label))) return labels.join(", ");
  const names = format.list(card.technologies);
  return card.agency ? `${names} à ${card.agency}` : names;
}

function countOf({ total, offset, experts }: ExpertList): string {
  if (total === 1) return "Une personne";
  if (offset === 0 && experts.length === total) return `${total} personnes`;
  return `${offset + 1} à ${offset + experts.length} sur ${total} personnes`;
}

interface RowProps {
  person: Person;
  open: () => void;
  current?: boolean;
  levels?: Record<string, number>;
  /** Whether each level says of what. */
  named?: boolean;
}

function PersonRow({ person, open, current = false, levels = {}, named = false }: RowProps) {
  const { available_from: from } = person;
  const shown = Object.entries(levels);
  return (
    <>
      <button
        type="button"
        class="person-row"
        onClick={open}
        {...(current && { "aria-current": true })}
      >
        <Who person={person}>
          {named && (
            <span class="named-levels">
              {shown.map(([name, level]) => (
                <small key={name}>
                  {name} <Level level={level} />
                </small>
              ))}
            </span>
          )}
        </Who>
        {!named && shown.map(([name, level]) => <Level key={name} level={level} />)}
      </button>
      <div class="row-end">
        {from !== null && (
          <p class={format.isPast(from) ? "free good" : "free"}>
            {format.isPast(from) ? "Disponible" : `Dès le ${format.shortDay(from)}`}
          </p>
        )}
        <Actions person={person} />
      </div>
    </>
  );
}

// --- does this person know that? ----------------------------------------------------------------

function SkillCard({ card: { person, technology, level }, text }: Props<SkillCheck>) {
  return (
    <article class="card skill-check" aria-label={`${person.name} et ${technology}`}>
      <span class={level === null ? "verdict no" : "verdict yes"}>
        <Icon name={level === null ? "cross" : "check"} />
      </span>
      <div>
        <p>{format.typeset(text)}</p>
        {level !== null && <Level level={level} />}
        <OpenCard person={person}>{`Voir la fiche de ${person.first_name}`}</OpenCard>
      </div>
    </article>
  );
}
