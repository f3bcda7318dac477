import type {
  Completion,
  Config,
  Examples,
  History,
  Person,
  Problem,
  Reply,
  Settings,
  Token,
  Turn,
  UserMessage,
  Verdict,
} from "./contract";
import { NetworkError, ProblemError } from "./problems";
import { serverEvents } from "./sse";

const BASE = "/webhooks/mobile/v1";

// The channel takes up to 30 s before the first byte, then says every 10 s that it lives.
const FIRST_BYTE_MS = 45_000;
const SILENCE_MS = 25_000;

/** What comes while a message is being answered. */
export interface Progress {
  onTurn(turn: Turn): void;
  onReply(reply: Reply): void;
}

export const config = (): Promise<Config> => json("/config", {});

export async function settings(): Promise<Settings> {
  const response = await fetch("/client.json", { credentials: "omit" });
  if (!response.ok) throw new NetworkError("no settings");
  return (await response.json()) as Settings;
}

export const developmentToken = (subject: string, scope: string): Promise<Token> =>
  json("/development/token", post({ subject, scope }));

export function history(token: string, limit: number, before: string | null): Promise<History> {
  const query = new URLSearchParams({ limit: String(limit), ...(before ? { before } : {}) });
  return json(`/history?${query}`, { headers: authorization(token) });
}

export async function deleteConversation(token: string): Promise<void> {
  await request("/conversation", { method: "DELETE", headers: authorization(token) });
}

/** What `text` may be the beginning of. */
export async function completions(
  token: string,
  text: string,
  signal: AbortSignal,
): Promise<Completion[]> {
  const options = { ...post({ text }, token), signal };
  return (await json<{ completions: Completion[] }>("/completions", options)).completions;
}

export async function people(token: string, ids: string[]): Promise<Person[]> {
  return (await json<{ people: Person[] }>("/people", post({ ids }, token))).people;
}

export const examples = (token: string): Promise<Examples> =>
  json("/examples", { headers: authorization(token) });

export async function judge(token: string, turn: string, verdict: Verdict): Promise<void> {
  await request("/feedback", post({ turn, verdict }, token));
}

/**
 * Send a message, and give its turn, as soon as that is complete.
 *
 * @param key the Idempotency-Key: the same whenever this message is sent
 * @throws ProblemError the channel refuses it
 * @throws NetworkError the connection was lost: whether the message arrived is unknown
 */
export async function send(
  token: string,
  key: string,
  message: UserMessage,
  progress: Progress,
  signal: AbortSignal,
): Promise<Turn> {
  const patience = new Patience(signal);
  try {
    const response = await request("/messages", {
      method: "POST",
      headers: {
        ...authorization(token),
        "Content-Type": "application/json",
        Accept: "text/event-stream",
        "Idempotency-Key": key,
      },
      body: JSON.stringify(message),
      signal: patience.signal,
    });
    if (response.body === null) throw new NetworkError("no body");
    for await (const event of serverEvents(response.body, () => patience.renew())) {
      switch (event.name) {
        case "turn":
          progress.onTurn(JSON.parse(event.data) as Turn);
          break;
        case "reply":
          progress.onReply(JSON.parse(event.data) as Reply);
          break;
        case "done":
          return JSON.parse(event.data) as Turn;
        case "error":
          throw new ProblemError(JSON.parse(event.data) as Problem);
      }
    }
    throw new NetworkError("the stream was cut");
  } catch (error) {
    throw error instanceof ProblemError ? error : new NetworkError(String(error));
  } finally {
    patience.end();
  }
}

/** Aborts a request on which nothing has come for a while, as on a network that swallows it. */
class Patience {
  private readonly controller = new AbortController();
  private timer = this.start(FIRST_BYTE_MS);
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.controller.signal]);
  }

  renew(): void {
    clearTimeout(this.timer);
    this.timer = this.start(SILENCE_MS);
  }

  end(): void {
    clearTimeout(this.timer);
  }

  private start(ms: number): number {
    return window.setTimeout(() => this.controller.abort(), ms);
  }
}

function post(body: unknown, token?: string): RequestInit {
  const headers = { "Content-Type": "application/json", ...(token && authorization(token)) };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

function authorization(token: string): Record<string, string> {
  return { Authorization: `Bearer ${token}` };
}

async function json<T>(path: string, options: RequestInit): Promise<T> {
  const response = await request(path, { signal: AbortSignal.timeout(FIRST_BYTE_MS), ...options });
  try {
    return (await response.json()) as T;
  } catch (error) {
    throw new NetworkError(String(error));
  }
}

async function request(path: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(BASE + path, { credentials: "omit", cache: "no-store", ...options });
  } catch (error) {
    throw new NetworkError(String(error));
  }
  if (response.ok) return response;
  const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
  const problem = isProblem ? ((await response.json().catch(() => ({}))) as Problem) : {};
  throw new ProblemError({ status: response.status, ...problem });
}
