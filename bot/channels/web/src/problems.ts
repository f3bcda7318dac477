import type { Problem } from "./contract";

const PREFIX = "urn:skills-bot:problem:";

/** The channel refused a request; `kind` is the last part of the problem's type. */
export class ProblemError extends Error {
  readonly kind: string;
  readonly traceId: string;
  /** Seconds. */
  readonly retryAfter: number | null;

  constructor(problem: Partial<Problem>) {
    super(problem.title ?? "problem");
    const type = problem.type ?? "";
    this.kind = type.startsWith(PREFIX) ? type.slice(PREFIX.length) : kindOf(problem.status ?? 500);
    this.traceId = problem.trace_id ?? "";
    this.retryAfter = problem.retry_after ?? null;
  }
}

/** Nothing came, or not all of it. */
export class NetworkError extends Error {}

/** Nobody is signed in, or no longer. */
export class SignInRequired extends Error {}

/** For answers of something between us and the channel, such as a proxy's 502. */
function kindOf(status: number): string {
  if (status === 413) return "payload-too-large";
  if (status === 429) return "rate-limited";
  return status >= 500 ? "unavailable" : "internal";
}

const TEXTS: Record<string, string> = {
  "invalid-request": "Ce message n’a pas pu être compris. Reformulez-le, s’il vous plaît.",
  unauthenticated: "Votre session a expiré. Reconnectez-vous pour continuer.",
  forbidden: "Votre compte n’a pas accès à cet assistant.",
  "not-found": "Ce service n’existe pas ici.",
  "request-timeout": "L’envoi a pris trop de temps.",
  "payload-too-large": "Ce message est trop long.",
  "idempotency-key-reused": "Ce message n’a pas pu être renvoyé tel quel. Posez-le à nouveau.",
  "rate-limited": "Vous allez trop vite pour moi.",
  internal: "Une erreur s’est produite de notre côté.",
  unavailable: "L’assistant est momentanément indisponible.",
};

/** What to tell the user about an error, in French; with what finds a defect in the bot's log. */
export function explain(error: unknown): string {
  if (error instanceof NetworkError) return "Pas de connexion.";
  if (error instanceof SignInRequired) return TEXTS["unauthenticated"]!;
  if (error instanceof ProblemError) {
    const text = TEXTS[error.kind] ?? TEXTS["internal"]!;
    return error.kind === "internal" && error.traceId ? `${text} Référence : ${error.traceId}` : text;
  }
  return TEXTS["internal"]!;
}

/** Whether the same request, sent again by itself, may well succeed. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ProblemError) {
    return ["rate-limited", "request-timeout", "unavailable"].includes(error.kind);
  }
  return error instanceof NetworkError;
}
