import * as api from "./api";
import type { Completion, Examples, Person, Reply, Turn, UserMessage, Verdict } from "./contract";
import { explain, isPassing, NetworkError, ProblemError, SignInRequired } from "./problems";
import { authorized, type Session } from "./session";
import * as store from "./store";

const PAGE = 20;
const MAX_PAGE = 100;
const PROBE_MS = 5_000;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

/** A message on its way: to be sent, being answered, or refused. */
export interface Pending extends store.Queued {
  /** `waiting` is tried again by itself, `failed` is not. */
  state: "queued" | "sending" | "waiting" | "failed";
  /** Why it waits or has failed. */
  reason: string | null;
  /** As far as it has come. */
  turn: Turn | null;
}

export interface State {
  turns: Turn[];
  pending: Pending[];
  /** Where the turns before `turns` begin; null where there are none, or none can be had. */
  older: string | null;
  loadingOlder: boolean;
  signInRequired: boolean;
  /** Whether the server was reached the last time. */
  online: boolean;
  /** Told to screen readers. */
  announcements: { id: string; text: string }[];
  /** A failure that belongs to no message. */
  notice: string | null;
}

/**
 * The conversation as the user sees it.
 *
 * Messages go through an outbox that outlives a reload: one after the other, each under an
 * Idempotency-Key of its own until it is answered, so that none is lost and none answered twice.
 */
export class Conversation {
  state: State;
  private readonly listeners = new Set<() => void>();
  private sending = false;
  private failures = 0;
  private probe = 0;
  private wake: () => void = () => undefined;
  private abort = new AbortController();

  constructor(private readonly session: Session) {
    this.state = initialState();
    window.addEventListener("online", () => this.comeBack());
    window.addEventListener("offline", () => this.lose());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.comeBack();
    });
  }

  /** Have `listener` called whenever `state` is another one; what is returned ends it. */
  subscribe(listener: () => void): () => unknown {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // --- what the user does ----------------------------------------------------------------------

  say(message: UserMessage): void {
    const queued = { key: newKey(), message, created_at: new Date().toISOString() };
    this.setPending([...this.state.pending, pendingOf(queued)]);
    this.set({ notice: null });
    void this.flush();
  }

  /** Try a waiting or failed message again, now. */
  retry(key: string): void {
    this.update(key, { state: "queued", reason: null });
    this.failures = 0;
    this.wake();
    void this.flush();
  }

  /** Take a message back that has not been sent. */
  drop(key: string): void {
    this.setPending(this.state.pending.filter((pending) => pending.key !== key));
    this.wake();
  }

  dismissNotice(): void {
    this.set({ notice: null });
  }

  /** Say what an answer was worth. */
  async judge(id: string, verdict: Verdict): Promise<void> {
    const former = this.state.turns.find((turn) => turn.id === id)?.verdict ?? null;
    this.setVerdict(id, verdict);
    try {
      await authorized(this.session, (token) => api.judge(token, id, verdict));
      if (verdict === "bad") this.tell("Merci, la question sera revue.");
    } catch (error) {
      this.setVerdict(id, former);
      this.report(error, "Votre avis n’a pas pu être noté.");
    }
  }

  private setVerdict(id: string, verdict: Verdict): void {
    this.setTurns(this.state.turns.map((turn) => (turn.id === id ? { ...turn, verdict } : turn)));
  }

  async deleteAll(): Promise<void> {
    this.interrupt();
    try {
      await authorized(this.session, api.deleteConversation);
      this.setPending([]);
      this.setTurns([]);
      this.set({ older: null, notice: null });
      this.tell("La conversation est effacée.");
    } catch (error) {
      this.report(error, "La conversation n’a pas pu être effacée.");
    }
  }

  /** Show nothing of the last user any more. */
  reset(): void {
    this.interrupt();
    this.set({ ...initialState(), turns: [], pending: [] });
  }

  // --- beside it -------------------------------------------------------------------------------

  completions(text: string, signal: AbortSignal): Promise<Completion[]> {
    return authorized(this.session, (token) => api.completions(token, text, signal));
  }

  examples(): Promise<Examples> {
    return authorized(this.session, api.examples);
  }

  /** The people with these ids; null where they cannot be had, which is said. */
  async people(ids: string[]): Promise<Person[] | null> {
    try {
      return await authorized(this.session, (token) => api.people(token, ids));
    } catch (error) {
      this.report(error, "La sélection n’a pas pu être ouverte.");
      return null;
    }
  }

  tell(text: string): void {
    this.announce(newKey(), text);
  }

  // --- history ---------------------------------------------------------------------------------

  /** Begin, or go on after somebody has signed in: show what was said, send what was not. */
  async start(): Promise<void> {
    this.set({ signInRequired: false });
    await Promise.all([this.loadHistory(), this.flush()]);
  }

  /** Replace what is shown by what the server has: some of it may have been deleted meanwhile. */
  private async loadHistory(): Promise<void> {
    const before = new Set(this.state.turns.map((turn) => turn.id));
    const limit = Math.min(MAX_PAGE, Math.max(PAGE, before.size));
    try {
      const page = await authorized(this.session, (token) => api.history(token, limit, null));
      const listed = new Set(page.turns.map((turn) => turn.id));
      const meanwhile = this.state.turns.filter((turn) => !before.has(turn.id));
      this.setTurns([...page.turns, ...meanwhile.filter((turn) => !listed.has(turn.id))]);
      this.set({ older: page.next });
      this.find();
    } catch (error) {
      this.report(error, null);
    }
  }

  async loadOlder(): Promise<void> {
    const { older, loadingOlder } = this.state;
    if (older === null || loadingOlder) return;
    this.set({ loadingOlder: true });
    try {
      const page = await authorized(this.session, (token) => api.history(token, PAGE, older));
      this.setTurns([...page.turns, ...this.state.turns]);
      this.set({ older: page.next });
    } catch (error) {
      this.report(error, "Les messages précédents n’ont pas pu être chargés.");
    } finally {
      this.set({ loadingOlder: false });
    }
  }

  // --- the network -----------------------------------------------------------------------------

  /** Nothing gets through: try from time to time, as the browser does not always notice. */
  private lose(): void {
    this.set({ online: false });
    clearTimeout(this.probe);
    this.probe = window.setTimeout(() => this.comeBack(), PROBE_MS);
  }

  private find(): void {
    clearTimeout(this.probe);
    if (!this.state.online) this.set({ online: true });
  }

  private comeBack(): void {
    this.failures = 0;
    this.wake();
    void this.loadHistory();
  }

  // --- the outbox ------------------------------------------------------------------------------

  private async flush(): Promise<void> {
    if (this.sending) return;
    this.sending = true;
    try {
      for (let next = this.next(); next !== undefined; next = this.next()) {
        await this.deliver(next);
      }
    } finally {
      this.sending = false;
    }
  }

  private next(): Pending | undefined {
    if (this.state.signInRequired) return undefined;
    return this.state.pending.find((pending) => pending.state !== "failed");
  }

  private async deliver({ key, message }: Pending): Promise<void> {
    this.update(key, { state: "sending", reason: null });
    const { signal } = this.abort;
    try {
      const turn = await authorized(this.session, (token) =>
        api.send(token, key, message, this.progressOf(key), signal),
      );
      this.failures = 0;
      this.complete(key, turn);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof SignInRequired) {
        this.update(key, { state: "waiting", reason: explain(error) });
        this.set({ signInRequired: true });
      } else if (isPassing(error)) {
        this.update(key, { state: "waiting", reason: explain(error) });
        if (error instanceof NetworkError) this.lose();
        await this.pause(error);
      } else {
        this.update(key, { state: "failed", reason: explain(error) });
        this.announce(key, explain(error));
      }
    }
  }

  private progressOf(key: string): api.Progress {
    return {
      onTurn: (turn) => {
        this.find();
        this.update(key, { turn });
      },
      onReply: (reply) => {
        const turn = this.state.pending.find((pending) => pending.key === key)?.turn;
        if (!turn || turn.replies.some((known) => known.id === reply.id)) return;
        this.update(key, { turn: { ...turn, replies: [...turn.replies, reply] } });
        this.announceReply(reply);
      },
    };
  }

  private complete(key: string, turn: Turn): void {
    const others = this.state.turns.filter((known) => known.id !== turn.id);
    this.setPending(this.state.pending.filter((pending) => pending.key !== key));
    this.setTurns([...others, turn]);
    turn.replies.forEach((reply) => this.announceReply(reply));
  }

  /** Wait as long as the server wants, else twice as long as the last time; or until woken. */
  private async pause(error: unknown): Promise<void> {
    const wanted = (error as { retryAfter?: number | null }).retryAfter ?? null;
    const backoff = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.failures++);
    // Many clients that lost the same server do not come back in step.
    const wait = wanted === null ? backoff * (0.5 + Math.random() / 2) : wanted * 1000;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private interrupt(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.wake();
  }

  // --- state -----------------------------------------------------------------------------------

  private set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }

  private setTurns(turns: Turn[]): void {
    turns.sort((one, other) => Date.parse(one.created_at) - Date.parse(other.created_at));
    store.writeTurns(turns);
    this.set({ turns });
  }

  private setPending(pending: Pending[]): void {
    const queue = pending.map(({ key, message, created_at }) => ({ key, message, created_at }));
    store.write("outbox", queue);
    this.set({ pending });
  }

  private update(key: string, change: Partial<Pending>): void {
    const { pending } = this.state;
    this.set({ pending: pending.map((one) => (one.key === key ? { ...one, ...change } : one)) });
  }

  private announceReply(reply: Reply): void {
    this.announce(reply.id, [reply.text, ...reply.buttons.map(({ title }) => title)].join("\n"));
  }

  private announce(id: string, text: string): void {
    if (this.state.announcements.some((known) => known.id === id)) return;
    this.set({ announcements: [...this.state.announcements.slice(-9), { id, text }] });
  }

  private report(error: unknown, failed: string | null): void {
    if (error instanceof SignInRequired) return this.set({ signInRequired: true });
    if (error instanceof NetworkError) this.lose();
    else if (error instanceof ProblemError) this.find();
    if (failed !== null) this.set({ notice: `${failed} ${explain(error)}` });
    else if (!isPassing(error)) this.set({ notice: explain(error) });
  }
}

function initialState(): State {
  return {
    turns: store.readTurns(),
    pending: (store.read("outbox") ?? []).map(pendingOf),
    older: null,
    loadingOlder: false,
    signInRequired: false,
    online: navigator.onLine,
    announcements: [],
    notice: null,
  };
}

function pendingOf(queued: store.Queued): Pending {
  return { ...queued, state: "queued", reason: null, turn: null };
}

function newKey(): string {
  return crypto.randomUUID();
}
