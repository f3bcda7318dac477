import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { HideableField, Person } from "../contract";
import * as format from "../format";
import { asText } from "../selection";
import { useDesk } from "./desk";
import { Icon, type IconName } from "./icons";

const MAX_LEVEL = 5;
const MAIN_SKILLS = 6;
const HUES = 6;
const DONE_MS = 2_000;

export function PersonHeader({ person }: { person: Person }) {
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

/** Their photo where there is one, else their initials on a colour that stays theirs. */
export function Avatar({ person }: { person: Person }) {
  const { photos } = useDesk().settings;
  const [missing, setMissing] = useState(false);
  const address = photos && photoOf(person, photos);
  return (
    <span class={`avatar hue-${format.bucket(person.id, HUES)}`} aria-hidden="true">
      {address && !missing ? (
        <img src={address} alt="" loading="lazy" onError={() => setMissing(true)} />
      ) : (
        format.initials(person.first_name, person.last_name)
      )}
    </span>
  );
}

/** Somebody in a row: who they are, and beneath it what else there is to say. */
export function Who({ person, children }: { person: Person; children?: ComponentChildren }) {
  return (
    <>
      <Avatar person={person} />
      <span class="who">
        <strong>{person.name}</strong>
        <small>{`${person.job_title} · ${person.agency}`}</small>
        {children}
      </span>
    </>
  );
}

function photoOf({ id, email }: Person, photos: string): string | null {
  if (photos.includes("{email}") && email === null) return null;
  return photos
    .replaceAll("{id}", encodeURIComponent(id))
    .replaceAll("{email}", encodeURIComponent(email ?? ""));
}

export function Availability({ person: { available_from: from } }: { person: Person }) {
  if (from === null) return null;
  return (
    <p class={format.isPast(from) ? "badge good" : "badge"}>
      <Icon name="calendar" />
      {format.availability(from)}
    </p>
  );
}

/** All of somebody but what is above it. */
export function PersonDetails({ person }: { person: Person }) {
  return (
    <>
      <Availability person={person} />
      {person.biography && <p class="biography">{person.biography}</p>}
      <Contacts person={person} />
      <Actions person={person} named />
      <Skills skills={person.skills} />
    </>
  );
}

// --- how to reach them, and what else to do -------------------------------------------------------

const telephone = (phone: string) => `tel:${phone.replace(/[^+\d]/g, "")}`;
const teamsChat = (email: string) =>
  `https://teams.microsoft.com/l/chat/0/0?users=${encodeURIComponent(email)}`;

export function Contacts({ person, only }: { person: Person; only?: "email" | "phone" }) {
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
            <Contact icon="phone" href={telephone(phone)} text={phone} />
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

export function Missing(props: { person: Person; field: HideableField; what: string }) {
  const hidden = props.person.hidden.includes(props.field);
  return (
    <p class="missing">
      {hidden && <Icon name="lock" />}
      {`${props.what} : ${hidden ? "vous n’y avez pas accès" : "non renseigné"}`}
    </p>
  );
}

/**
 * What can be done about somebody.
 *
 * @param named beside their contacts: with words, and without what those do already
 */
export function Actions({ person, named = false }: { person: Person; named?: boolean }) {
  const { settings, select, selection } = useDesk();
  const { name, email, phone } = person;
  const selected = selection.some(({ id }) => id === person.id);
  return (
    <ul class={named ? "acts named" : "acts"} aria-label={`Actions pour ${name}`}>
      {phone && !named && <Act icon="phone" label={`Appeler ${name}`} href={telephone(phone)} />}
      {email && !named && (
        <Act icon="mail" label={`Écrire un mail à ${name}`} href={`mailto:${email}`} />
      )}
      {email && settings.teams && (
        <Act
          icon="chat"
          label={`Écrire à ${name} sur Teams`}
          text={named && "Teams"}
          href={teamsChat(email)}
        />
      )}
      <li>
        <Copy
          text={asText(person)}
          label={`Copier la fiche de ${name}`}
          short={named && "Copier"}
        />
      </li>
      <li>
        <button
          type="button"
          class={selected ? "act on" : "act"}
          aria-pressed={selected}
          aria-label={`Retenir ${name}`}
          onClick={() => select(person)}
        >
          <Icon name="bookmark" />
          {named && (selected ? "Retenu" : "Retenir")}
        </button>
      </li>
    </ul>
  );
}

function Act(props: { icon: IconName; label: string; href: string; text?: string | false }) {
  const elsewhere = props.href.startsWith("https:") && { target: "_blank", rel: "noreferrer" };
  return (
    <li>
      <a class="act" href={props.href} aria-label={props.label} {...elsewhere}>
        <Icon name={props.icon} />
        {props.text}
      </a>
    </li>
  );
}

/** A button that copies `text`, and shows that it has. */
export function Copy(props: {
  text: string;
  label: string;
  short?: string | false;
  class?: string;
}) {
  const { announce } = useDesk();
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(props.text);
      setDone(true);
      setTimeout(() => setDone(false), DONE_MS);
      announce("Copié.");
    } catch {
      announce("La copie n’est pas permise ici.");
    }
  };
  return (
    <button
      type="button"
      class={`${props.class ?? "act"}${done ? " done" : ""}`}
      aria-label={done ? "Copié" : props.label}
      onClick={() => void copy()}
    >
      <Icon name={done ? "check" : "copy"} />
      {props.short && (done ? "Copié" : props.short)}
    </button>
  );
}

// --- skills -------------------------------------------------------------------------------------

export function Skills({ skills, all = false }: { skills: Person["skills"]; all?: boolean }) {
  if (skills.length === 0) return <p class="missing">Aucune compétence renseignée</p>;
  const shown = all ? skills : skills.slice(0, MAIN_SKILLS);
  const others = skills.slice(shown.length);
  return (
    <div class="skills" role="group" aria-label="Compétences">
      <SkillList skills={shown} />
      {others.length > 0 && (
        <details>
          <summary>
            {others.length === 1 ? "Une autre compétence" : `${others.length} autres compétences`}
          </summary>
          <SkillList skills={others} />
        </details>
      )}
    </div>
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

export function Level({ level }: { level: number }) {
  return (
    <span class="level" role="img" aria-label={`niveau ${level} sur ${MAX_LEVEL}`}>
      {Array.from({ length: MAX_LEVEL }, (_, index) => (
        <i key={index} class={index < level ? "on" : ""} />
      ))}
    </span>
  );
}
