/** How turns are laid out: what goes on with a list is drawn in that list, not after it. */

import {
  type ExpertList,
  isKnown,
  type Person,
  type Reply,
  type Turn,
  type UserMessage,
} from "./contract";
import type { Pending, State } from "./conversation";

/** A question with its answer, as far as it has come. */
export interface Entry {
  id: string;
  question: UserMessage;
  created_at: string;
  turn: Turn | null;
  /** Only of a message that is not answered yet. */
  pending?: Pending;
}

export interface Item extends Entry {
  /** Further pages of the list of this turn. */
  pages: Entry[];
  /** Somebody of a list before, who was looked at: drawn beside it, where there is room. */
  aside: Person | null;
  /** The day that the answer is of, where it is another one than that of the answer before. */
  asOf: string | null;
}

/** All that was said, in order. */
function entriesOf({ turns, pending }: State): Entry[] {
  const known = new Set(turns.map(({ id }) => id));
  return [
    ...turns.map((turn) => ({
      id: turn.id,
      question: turn.question,
      created_at: turn.created_at,
      turn,
    })),
    ...pending
      .filter(({ turn }) => turn === null || !known.has(turn.id))
      .map((one) => ({
        id: one.turn?.id ?? one.key,
        question: one.message,
        created_at: one.created_at,
        turn: one.turn,
        pending: one,
      })),
  ];
}

export function fold(state: State): Item[] {
  const items: Item[] = [];
  let asOf: string | null = null;
  for (const entry of entriesOf(state)) {
    const list = items.findLast((item) => item.aside === null);
    const payload = entry.question.type === "postback" ? entry.question.payload : null;
    if (list && payload !== null && payload === nextOf(list) && isPage(entry)) {
      list.pages.push(entry);
      continue;
    }
    const day = dayOf(entry.turn);
    items.push({
      ...entry,
      pages: [],
      aside: payload === null ? null : lookedAt(payload, items),
      asOf: day === asOf ? null : day,
    });
    asOf = day ?? asOf;
  }
  return items;
}

/** The list that a turn answers with. */
function listOf(turn: Turn | null): ExpertList | null {
  for (const { card } of turn?.replies ?? []) {
    if (isKnown(card) && card.type === "expert_list") return card;
  }
  return null;
}

/** The list of an item with all of its pages as one. */
export function wholeList(item: Pick<Item, "turn" | "pages">): ExpertList | null {
  const lists = [item, ...item.pages]
    .map(({ turn }) => listOf(turn))
    .filter((list) => list !== null);
  const [first, last] = [lists[0], lists.at(-1)];
  if (!first || !last) return null;
  return { ...first, experts: lists.flatMap(({ experts }) => experts), next: last.next };
}

/** What is to be drawn: the pages as one list, and apart from it what is said of its next page. */
export function repliesOf(item: Item): { replies: Reply[]; more: string } {
  let [card, more] = [wholeList(item), ""];
  const replies: Reply[] = [];
  for (const { turn } of [item, ...item.pages]) {
    const next = listOf(turn)?.next ?? null;
    more = "";
    for (const reply of turn?.replies ?? []) {
      if (isMore(reply, next)) more = reply.text;
      else if (reply.card?.type !== "expert_list") replies.push(reply);
      else if (card) {
        replies.push({ ...reply, card });
        card = null;
      }
    }
  }
  return { replies, more };
}

/** Whether `reply` offers nothing but the next page, which the list itself does. */
function isMore({ card, buttons }: Reply, next: string | null): boolean {
  return card === null && buttons.length > 0 && buttons.every(({ payload }) => payload === next);
}

function nextOf({ turn, pages }: Item): string | null {
  return listOf((pages.at(-1) ?? { turn }).turn)?.next ?? null;
}

/** Whether it is a page, or may become one. */
function isPage({ turn }: Entry): boolean {
  return !turn?.replies.length || listOf(turn) !== null;
}

function lookedAt(payload: string, items: Item[]): Person | null {
  const id = /^\/WHO_IS\{"collaborator_id": ?"([^"]+)"\}$/.exec(payload)?.[1];
  for (const item of id === undefined ? [] : items) {
    const row = wholeList(item)?.experts.find(({ person }) => person.id === id);
    if (row) return row.person;
  }
  return null;
}

function dayOf(turn: Turn | null): string | null {
  for (const { card } of turn?.replies ?? []) {
    if (!isKnown(card)) continue;
    const moment = card.type === "expert_list" ? card.updated_at : null;
    const iso =
      card.type === "person_card" && card.detail === null ? card.person.updated_at : moment;
    if (iso !== null) return iso.slice(0, 10);
  }
  return null;
}
