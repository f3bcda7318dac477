import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Button, Person, Settings } from "../contract";

/** What can be done with an answer, wherever it is drawn. */
export interface Desk {
  /** Say a button: its payload goes to the bot, its title to the conversation. */
  tap(button: Button): void;
  /** Look at somebody of a list. */
  open(person: Person): void;
  /** Who is shown beside the list, where there is room for it. */
  shown: Person | null;
  /** Set somebody aside, or no longer. */
  select(person: Person): void;
  selection: Person[];
  settings: Settings;
  /** Tell everybody, also those who do not see it, that something was done. */
  announce(text: string): void;
}

export const DeskContext = createContext<Desk | null>(null);

export function useDesk(): Desk {
  return useContext(DeskContext)!;
}
