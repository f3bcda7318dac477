const DAY = new Intl.DateTimeFormat("fr-FR", { day: "numeric", month: "long", year: "numeric" });
const SHORT_DAY = new Intl.DateTimeFormat("fr-FR", {
  weekday: "long",
  day: "numeric",
  month: "long",
});
const TIME = new Intl.DateTimeFormat("fr-FR", { hour: "2-digit", minute: "2-digit" });

/** « 1er décembre 2026 » */
export function day(iso: string): string {
  return DAY.format(new Date(iso)).replace(/^1 /, "1er ");
}

/** « Aujourd’hui », « Hier », « lundi 2 novembre » */
export function relativeDay(iso: string): string {
  const date = new Date(iso);
  const yesterday = new Date();
  yesterday.setDate(yesterday.getDate() - 1);
  if (date.toDateString() === new Date().toDateString()) return "Aujourd’hui";
  if (date.toDateString() === yesterday.toDateString()) return "Hier";
  return SHORT_DAY.format(date);
}

export function time(iso: string): string {
  return TIME.format(new Date(iso));
}

/** Whether a date without time has come. */
export function isPast(date: string): boolean {
  return new Date(date) <= new Date();
}

/** « Disponible », « Disponible dès le 1er décembre 2026 » */
export function availability(from: string): string {
  return isPast(from) ? "Disponible" : `Disponible dès le ${day(from)}`;
}

/** « 1er déc. », with the year where it is another one. */
export function shortDay(date: string): string {
  const when = new Date(date);
  const year =
    when.getFullYear() === new Date().getFullYear() ? {} : ({ year: "numeric" } as const);
  const form = new Intl.DateTimeFormat("fr-FR", { day: "numeric", month: "short", ...year });
  return form.format(when).replace(/^1 /, "1er ");
}

/** « Java et Docker » */
export function list(names: string[]): string {
  return new Intl.ListFormat("fr-FR").format(names);
}

/** « MB » of Maud Le Bihan: particles do not count, what only begins like one does. */
export function initials(first: string, last: string): string {
  const name = last.replace(/^(?:(?:le|la|les|du|des?|van|von|el|ben)\s+|[dl]['’])+(?=.)/i, "");
  return ((first[0] ?? "") + (name[0] ?? "")).toUpperCase();
}

/** A number from 0 to `count` - 1, the same for the same text. */
export function bucket(text: string, count: number): number {
  let hash = 0;
  for (const character of text) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % count;
}

/** `text` with the spaces that French puts before some signs made unbreakable. */
export function typeset(text: string): string {
  return text.replace(/ (?=[?!:;»])/g, "\u00a0").replace(/« /g, "«\u00a0");
}
