import type { ComponentChildren } from "preact";
import {
  type Button,
  type Card,
  type Detail,
  type ExpertList,
  type HideableField,
  type Person,
  type PersonCard,
  type PersonChoice,
  type SkillCheck,
  personPayload,
} from "../contract";
import * as format from "../format";
import { Icon, type IconName } from "./icons";

const MAX_LEVEL = 5;
const MAIN_SKILLS = 6;
const HUES = 6;

/** Say a button: its payload goes to the bot, its title to the conversation. */
export type Tap = (button: Button) => void;

interface Props<T> {
  card: T;
  /** What the reply says, for cards that are drawn beneath their sentence. */
  text: string;
  tap: Tap;
  /** Put at the card's end. */
  children?: ComponentChildren;
}

export function CardView({ card, ...rest }: Props<Card>) {
  switch (card.type) {
    case "person_card":
      return card.detail === null ? (
        <FullCard card={card} {...rest} />
      ) : (
        <DetailCard card={card} {...rest} />
      );
    case "person_choice":
      return <ChoiceCard card={card} {...rest} />;
    case "expert_list":
      return card.experts.length > 0 ? <ExpertCard card={card} {...rest} /> : <Sentence {...rest} />;
    case "skill_check":
      return <SkillCard card={card} {...rest} />;
  }
}

/** Payloads that the card itself offers: the reply's buttons with the same need not be drawn. */
export function payloadsOf(card: Card): string[] {
  return card.type === "person_choice" ? card.people.map((person) => person.payload) : [];
}

function Sentence({ text }: { text: string }) {
  return <p class="bubble bot">{format.typeset(text)}</p>;
}

// --- a person -----------------------------------------------------------------------------------

function FullCard({ card: { person } }: Props<PersonCard>) {
  return (
    <article class="card" aria-label={`Fiche de ${person.name}`}>
      <PersonHeader person={person} />
      <Availability person={person} />
      {person.biography && <p class="biography">{person.biography}</p>}
      <Contacts person={person} />
      <Skills skills={person.skills} />
      <Updated iso={person.updated_at} />
    </article>
  );
}

function DetailCard({ card: { person, detail }, tap }: Props<PersonCard>) {
  return (
    <article class="card" aria-label={`Fiche de ${person.name}`}>
      <PersonHeader person={person} />
      {detail !== null && <DetailOf person={person} detail={detail} />}
      <footer class="card-footer">
        <button
          type="button"
          class="link"
          onClick={() => tap({ title: person.name, payload: personPayload(person.id) })}
        >
          Voir toute la fiche
        </button>
      </footer>
    </article>
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

function PersonHeader({ person }: { person: Person }) {
  return (
    <header class="person">
      <Avatar person={person} />
      <div>
        <h3>{person.name}</h3>
        <p class="job">{person.job_title}</p>
        <p class="place">
          <Icon name="pin" />
          {person.agency}
        </p>
      </div>
    </header>
  );
}

function Avatar({ person }: { person: Person }) {
  return (
    <span class={`avatar hue-${format.bucket(person.id, HUES)}`} aria-hidden="true">
      {format.initials(person.first_name, person.last_name)}
    </span>
  );
}

function Availability({ person: { available_from: from } }: { person: Person }) {
  if (from === null) return null;
  const now = format.isPast(from);
  return (
    <p class={now ? "badge good" : "badge"}>
      <Icon name="calendar" />
      {now ? "Disponible" : `Disponible à partir du ${format.day(from)}`}
    </p>
  );
}

function Contacts({ person, only }: { person: Person; only?: "email" | "phone" }) {
  const { email, phone } = person;
  return (
    <ul class="contacts">
      {only !== "phone" && (
        <li>
          {email ? (
            <Contact icon="mail" href={`mailto:${email}`} text={email} />
          ) : (
            <Missing person={person} field="email" what="Mail" />
          )}
        </li>
      )}
      {only !== "email" && (
        <li>
          {phone ? (
            <Contact icon="phone" href={`tel:${phone.replace(/[^+\d]/g, "")}`} text={phone} />
          ) : (
            <Missing person={person} field="phone" what="Téléphone" />
          )}
        </li>
      )}
    </ul>
  );
}

function Contact({ icon, href, text }: { icon: IconName; href: string; text: string }) {
  return (
    <a class="contact" href={href}>
      <Icon name={icon} />
      {text}
    </a>
  );
}

function Missing(props: { person: Person; field: HideableField; what: string }) {
  const hidden = props.person.hidden.includes(props.field);
  return (
    <p class="missing">
      {hidden && <Icon name="lock" />}
      {`${props.what} : ${hidden ? "vous n’y avez pas accès" : "non renseigné"}`}
    </p>
  );
}

function Skills({ skills, all = false }: { skills: Person["skills"]; all?: boolean }) {
  if (skills.length === 0) return <p class="missing">Aucune compétence renseignée</p>;
  const shown = all ? skills : skills.slice(0, MAIN_SKILLS);
  const others = skills.slice(shown.length);
  return (
    <section class="skills" aria-label="Compétences">
      <SkillList skills={shown} />
      {others.length > 0 && (
        <details>
          <summary>
            {others.length === 1 ? "Une autre compétence" : `${others.length} autres compétences`}
          </summary>
          <SkillList skills={others} />
        </details>
      )}
    </section>
  );
}

function SkillList({ skills }: { skills: Person["skills"] }) {
  return (
    <ul class="skill-list">
      {skills.map(({ name, level }) => (
        <li key={name}>
          <span>{name}</span>
          <Level level={level} />
        </li>
      ))}
    </ul>
  );
}

function Level({ level }: { level: number }) {
  return (
    <span class="level" role="img" aria-label={`niveau ${level} sur ${MAX_LEVEL}`}>
      {Array.from({ length: MAX_LEVEL }, (_, index) => (
        <i key={index} class={index < level ? "on" : ""} />
      ))}
    </span>
  );
}

function Updated({ iso }: { iso: string | null }) {
  return iso && <p class="updated">À jour du {format.day(iso)}</p>;
}

// --- several people -----------------------------------------------------------------------------

function ChoiceCard({ card, text, tap, children }: Props<PersonChoice>) {
  return (
    <>
      <Sentence text={text} />
      <div class="card list-card">
        <ul class="people" aria-label="Personnes proposées">
          {card.people.map((person) => (
            <li key={person.id}>
              <PersonRow
                person={person}
                tap={() =>
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

function ExpertCard({ card, tap, children }: Props<ExpertList>) {
  const several = card.technologies.length > 1;
  return (
    <article class="card list-card" aria-label={titleOf(card)}>
      <header class="list-header">
        <h3>{titleOf(card)}</h3>
        <p>{countOf(card)}</p>
      </header>
      <Conditions card={card} tap={tap} />
      <ol class="people" start={card.offset + 1}>
        {card.experts.map(({ person, levels }) => (
          <li key={person.id}>
            <PersonRow
              person={person}
              tap={() => tap({ title: person.name, payload: personPayload(person.id) })}
            >
              <span class="levels">
                {Object.entries(levels).map(([name, level]) => (
                  <span key={name} class="named-level">
                    {several && <small>{name}</small>}
                    <Level level={level} />
                  </span>
                ))}
              </span>
            </PersonRow>
          </li>
        ))}
      </ol>
      {children}
      <Updated iso={card.updated_at} />
    </article>
  );
}

/** Each condition of the list as a chip: a tap asks again without it. */
function Conditions({ card, tap }: { card: ExpertList; tap: Tap }) {
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

function PersonRow(props: {
  person: Person;
  tap: () => void;
  children?: ComponentChildren;
}) {
  return (
    <button type="button" class="person-row" onClick={props.tap}>
      <Avatar person={props.person} />
      <span class="who">
        <strong>{props.person.name}</strong>
        <small class="facts">
          <span>{props.person.job_title}</span>
          <span>{props.person.agency}</span>
        </small>
      </span>
      {props.children}
      <Icon name="chevron" />
    </button>
  );
}

// --- does this person know that? ----------------------------------------------------------------

function SkillCard({ card: { person, technology, level }, text, tap }: Props<SkillCheck>) {
  return (
    <article class="card skill-check" aria-label={`${person.name} et ${technology}`}>
      <span class={level === null ? "verdict no" : "verdict yes"}>
        <Icon name={level === null ? "cross" : "check"} />
      </span>
      <div>
        <p>{format.typeset(text)}</p>
        {level !== null && <Level level={level} />}
        <button
          type="button"
          class="link"
          onClick={() => tap({ title: person.name, payload: personPayload(person.id) })}
        >
          {`Voir la fiche de ${person.first_name}`}
        </button>
      </div>
    </article>
  );
}
