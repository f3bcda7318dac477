/** The part of the mobile channel's contract (../../openapi.yml) that this client uses. */

export type UserMessage =
  { type: "text"; text: string } | { type: "postback"; payload: string; title?: string };

export interface Turn {
  id: string;
  trace_id: string;
  created_at: string;
  question: UserMessage;
  replies: Reply[];
  suggestions: Button[];
  /** Missing in turns kept from an earlier version. */
  verdict?: Verdict;
}

/** What the user says of an answer. */
export type Verdict = "good" | "bad" | null;

export interface Reply {
  id: string;
  text: string;
  buttons: Button[];
  card: Card | null;
}

export interface Button {
  title: string;
  payload: string;
}

/** Cards of other types may come: see `isKnown`. */
export type Card = PersonCard | PersonChoice | ExpertList | SkillCheck;

export type Detail = "email" | "phone" | "agency" | "job_title" | "skills" | "availability";
export type HideableField = "email" | "phone" | "available_from" | "biography";

export interface PersonCard {
  type: "person_card";
  version: 1;
  person: Person;
  detail: Detail | null;
}

export interface PersonChoice {
  type: "person_choice";
  version: 1;
  total: number;
  people: (Person & { payload: string })[];
}

export interface ExpertList {
  type: "expert_list";
  version: 1;
  technologies: string[];
  agency: string | null;
  total: number;
  offset: number;
  experts: { person: Person; levels: Record<string, number> }[];
  next: string | null;
  updated_at: string | null;
  /** What was asked for; missing in lists of an earlier version of the bot. */
  query?: QueryPart[];
  /** Only where people were compared: all of them. */
  compared?: Person[];
}

/** One condition of a list; `without` asks again without it, null where nothing would be left. */
export interface QueryPart {
  kind: string;
  label: string;
  excluded: boolean;
  without: string | null;
}

export interface SkillCheck {
  type: "skill_check";
  version: 1;
  person: Person;
  technology: string;
  level: number | null;
}

export interface Person {
  id: string;
  name: string;
  first_name: string;
  last_name: string;
  agency: string;
  job_title: string;
  email: string | null;
  phone: string | null;
  skills: { name: string; level: number }[];
  available_from: string | null;
  biography: string | null;
  updated_at: string | null;
  hidden: HideableField[];
}

export interface Completion {
  kind: "technology" | "agency" | "job_title" | "person";
  text: string;
  /** Of so many characters (code points) at the end it takes the place. */
  replaces: number;
}

/** What could be asked of this directory. */
export interface Examples {
  technologies: string[];
  agency: string | null;
  person: string | null;
}

export interface History {
  turns: Turn[];
  next: string | null;
}

export interface Config {
  name: string;
  sign_in: { mode: "development" | "external"; issuer: string | null; audience: string | null };
  limits: { text_characters: number; body_bytes: number; requests_per_minute: number };
  retention_days: number | null;
}

/** What the page itself is told by the server that it comes from (../../client.py). */
export interface Settings {
  /** Whether people are written to by Microsoft Teams. */
  teams: boolean;
  /** Whether questions may be spoken. */
  voice: boolean;
  /** Address of somebody's photo, `{id}` and `{email}` standing for theirs. */
  photos: string | null;
}

export interface Token {
  access_token: string;
  token_type: "Bearer";
  expires_in: number;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail?: string;
  trace_id: string;
  retry_after?: number;
}

const KNOWN_CARDS: Record<Card["type"], number> = {
  person_card: 1,
  person_choice: 1,
  expert_list: 1,
  skill_check: 1,
};

/** Whether `card` can be drawn; where it cannot, the reply's text says it all. */
export function isKnown(card: Card | null): card is Card {
  return card !== null && KNOWN_CARDS[card.type] === card.version;
}

/** What the user typed, or read on what they tapped. */
export function textOf(message: UserMessage): string {
  return message.type === "text" ? message.text : (message.title ?? message.payload);
}

/** What asks for the card of a person, as the contract's example shows it. */
export function personButton({ id, name }: Person): Button {
  return { title: name, payload: `/WHO_IS${JSON.stringify({ collaborator_id: id })}` };
}
