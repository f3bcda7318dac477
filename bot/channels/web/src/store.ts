import type { Config, Person, Settings, Turn, UserMessage } from "./contract";

/** A message that has not been answered yet. */
export interface Queued {
  /** Its Idempotency-Key. */
  key: string;
  message: UserMessage;
  created_at: string;
}

export type Theme = "system" | "light" | "dark";

/** What is kept in the browser from one visit to the next. No token is. */
export interface Kept {
  /** Whose data the rest is: issuer and subject of the token. */
  account: string;
  config: Config;
  /** Who asked for a development token, and for which scopes. */
  development: { subject: string; scope: string };
  turns: Turn[];
  outbox: Queued[];
  /** The people set aside. */
  selection: Person[];
  settings: Settings;
  theme: Theme;
}

const PREFIX = "skills-bot:";
const MAX_TURNS = 100;
const PERSONAL: (keyof Kept)[] = ["account", "development", "turns", "outbox", "selection"];

export function read<K extends keyof Kept>(key: K): Kept[K] | null {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key) ?? "null") as Kept[K] | null;
  } catch {
    return null;
  }
}

export function write<K extends keyof Kept>(key: K, value: Kept[K]): void {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Full, or forbidden by the browser: everything works but the next visit's memory.
  }
}

/** Forget the user and all that was said. */
export function forget(): void {
  for (const key of PERSONAL) localStorage.removeItem(PREFIX + key);
}

/** Keep the latest of `turns`. */
export function writeTurns(turns: Turn[]): void {
  write("turns", turns.slice(-MAX_TURNS));
}

/** The turns kept, without those that the server has deleted by now. */
export function readTurns(): Turn[] {
  const turns = read("turns") ?? [];
  const days = read("config")?.retention_days ?? null;
  if (days === null) return turns;
  const oldest = Date.now() - days * 86_400_000;
  return turns.filter((turn) => Date.parse(turn.created_at) >= oldest);
}
