import * as api from "./api";
import type { Config } from "./contract";
import { ProblemError, SignInRequired } from "./problems";
import * as store from "./store";

// A token that ends within that time is not used any more.
const MARGIN_MS = 30_000;
const HOST_ANSWERS_MS = 10_000;

/** Where tokens come from. They are kept in memory only. */
export interface Session {
  /** Give a valid token; @throws SignInRequired there is none to be had without the user. */
  token(): Promise<string>;
  /** Say that the channel has refused the token. */
  refuse(): void;
}

/** Issuer and subject of a JWT, which tell one user from another; "" where it cannot be read. */
function accountOf(token: string): string {
  const { iss, sub } = claims(token);
  return sub === undefined ? "" : JSON.stringify([iss ?? null, sub]);
}

function isOver(token: string): boolean {
  const { exp } = claims(token);
  return exp !== undefined && exp * 1000 < Date.now() + MARGIN_MS;
}

function claims(token: string): { iss?: string; sub?: string; exp?: number } {
  try {
    const base64 = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as object;
  } catch {
    return {};
  }
}

/**
 * A token has come for another user than the last one: nothing of that one may be left.
 *
 * @param onOther called when so
 */
function keepApart(token: string, onOther: () => void): void {
  const account = accountOf(token);
  const last = store.read("account");
  if (last !== null && last !== account) {
    const development = store.read("development");
    store.forget();
    if (development) store.write("development", development);
    onOther();
  }
  store.write("account", account);
}

/** Tokens that the channel itself issues to whoever asks, on a developer's machine. */
class DevelopmentSession implements Session {
  private current: string | null = null;

  constructor(private readonly onOther: () => void) {}

  async token(): Promise<string> {
    if (this.current !== null && !isOver(this.current)) return this.current;
    const user = store.read("development");
    if (user === null) throw new SignInRequired();
    const token = (await api.developmentToken(user.subject, user.scope)).access_token;
    keepApart(token, this.onOther);
    this.current = token;
    return token;
  }

  refuse(): void {
    this.current = null;
  }
}

/** What a native app calls, by the web view's evaluation of scripts. */
declare global {
  interface Window {
    skillsBot?: { signIn(token: string): void; signOut(): void };
    /** Android: a web message listener of that name. */
    skillsBotHost?: { postMessage(message: string): void };
    /** iOS: a script message handler named `skillsBot`. */
    webkit?: { messageHandlers?: { skillsBot?: { postMessage(message: unknown): void } } };
  }
}

/** Tokens of the company's identity provider, handed over by the app around us (README.md). */
class HostSession implements Session {
  private current: string | null = null;
  private waiting: ((token: string | null) => void)[] = [];

  constructor(
    private readonly onOther: () => void,
    private readonly onSignIn: () => void,
    private readonly onSignOut: () => void,
  ) {
    window.skillsBot = {
      signIn: (token) => this.signIn(token),
      signOut: () => this.signOut(),
    };
    window.addEventListener("message", (event: MessageEvent<unknown>) => {
      // Our Content-Security-Policy has let the page around us in, so it is one of the hosts.
      if (window.parent === window || event.source !== window.parent) return;
      const message = event.data as { type?: unknown; token?: unknown } | null;
      if (message?.type === "skills-bot:sign-in" && typeof message.token === "string") {
        this.signIn(message.token);
      } else if (message?.type === "skills-bot:sign-out") {
        this.signOut();
      }
    });
  }

  async token(): Promise<string> {
    if (this.current !== null && !isOver(this.current)) return this.current;
    this.current = null;
    const token = await new Promise<string | null>((resolve) => {
      this.waiting.push(resolve);
      if (!this.ask()) resolve(null);
      else setTimeout(() => resolve(null), HOST_ANSWERS_MS);
    });
    if (token === null) throw new SignInRequired();
    return token;
  }

  refuse(): void {
    this.current = null;
  }

  /** Ask the app around us for a token; false where there is none. */
  private ask(): boolean {
    const message = { type: "skills-bot:token-required" };
    const native = window.webkit?.messageHandlers?.skillsBot;
    native?.postMessage(message);
    window.skillsBotHost?.postMessage(JSON.stringify(message));
    const embedded = window.parent !== window;
    if (embedded) window.parent.postMessage(message, "*"); // says nothing about anybody
    return Boolean(native ?? window.skillsBotHost) || embedded;
  }

  private signIn(token: string): void {
    keepApart(token, this.onOther);
    this.current = token;
    for (const resolve of this.waiting.splice(0)) resolve(token);
    this.onSignIn();
  }

  private signOut(): void {
    this.current = null;
    this.onSignOut();
  }
}

export function openSession(
  config: Config,
  listener: { onOther(): void; onSignIn(): void; onSignOut(): void },
): Session {
  return config.sign_in.mode === "development"
    ? new DevelopmentSession(listener.onOther)
    : new HostSession(listener.onOther, listener.onSignIn, listener.onSignOut);
}

/** Call with a token; where the channel refuses it, once more with a new one. */
export async function authorized<T>(
  session: Session,
  call: (token: string) => Promise<T>,
): Promise<T> {
  for (let first = true; ; first = false) {
    const token = await session.token();
    try {
      return await call(token);
    } catch (error) {
      if (!(error instanceof ProblemError && error.kind === "unauthenticated")) throw error;
      session.refuse();
      if (!first) throw new SignInRequired();
    }
  }
}
