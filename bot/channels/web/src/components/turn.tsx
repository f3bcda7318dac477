import { memo } from "preact/compat";
import { type Button, isKnown, type Reply, type Turn, textOf, type UserMessage } from "../contract";
import type { Pending } from "../conversation";
import * as format from "../format";
import { CardView, payloadsOf, type Tap } from "./cards";
import { Icon } from "./icons";

interface Props {
  question: UserMessage;
  created_at: string;
  turn: Turn | null;
  /** Only of a message that is not answered yet. */
  pending?: Pending;
  /** Whether this is the last turn: suggestions are shown there alone. */
  last: boolean;
  tap: Tap;
  retry: (key: string) => void;
  drop: (key: string) => void;
}

/** A question, and the answer as far as it has come. */
export const TurnView = memo(function TurnView(props: Props) {
  const { question, turn, pending, tap } = props;
  const suggestions = props.last && !pending ? (turn?.suggestions ?? []) : [];
  return (
    <>
      <div class="question">
        <h2 class="hidden">Vous</h2>
        <p class="bubble user">{format.typeset(textOf(question))}</p>
        <p class="time">{format.time(props.created_at)}</p>
      </div>
      <div class="answer">
        {turn && turn.replies.length > 0 && <h2 class="hidden">Assistant</h2>}
        {turn && <Replies replies={turn.replies} tap={tap} />}
        {pending && <Progress pending={pending} retry={props.retry} drop={props.drop} />}
        {suggestions.length > 0 && <Chips buttons={suggestions} tap={tap} label="Suggestions" />}
      </div>
    </>
  );
});

function Replies({ replies, tap }: { replies: Reply[]; tap: Tap }) {
  const more = replies.find((reply) => isMore(reply, replies));
  return (
    <>
      {replies
        .filter((reply) => reply !== more)
        .map((reply) => (
          <ReplyView key={reply.id} reply={reply} more={more} tap={tap} />
        ))}
    </>
  );
}

/** Whether `reply` offers nothing but the next page of a list: it is drawn as that list's end. */
function isMore(reply: Reply, replies: Reply[]): boolean {
  const next = replies.map(({ card }) => nextOf(card)).filter((payload) => payload !== null);
  return (
    reply.card === null &&
    reply.buttons.length > 0 &&
    reply.buttons.every(({ payload }) => next.includes(payload))
  );
}

function nextOf(card: Reply["card"]): string | null {
  return isKnown(card) && card.type === "expert_list" ? card.next : null;
}

function ReplyView({ reply, more, tap }: { reply: Reply; more: Reply | undefined; tap: Tap }) {
  const { card, text } = reply;
  const drawn = isKnown(card) ? payloadsOf(card) : [];
  const buttons = reply.buttons.filter(({ payload }) => !drawn.includes(payload));
  const next = nextOf(card);
  return (
    <>
      {isKnown(card) ? (
        <CardView card={card} text={text} tap={tap}>
          {next !== null && <NextPage payload={next} text={more?.text ?? ""} tap={tap} />}
        </CardView>
      ) : (
        text && <p class="bubble bot">{format.typeset(text)}</p>
      )}
      {buttons.length > 0 && <Chips buttons={buttons} tap={tap} label="Réponses possibles" />}
    </>
  );
}

function NextPage({ payload, text, tap }: { payload: string; text: string; tap: Tap }) {
  return (
    <footer class="card-footer">
      <span>{text}</span>
      <button type="button" class="link" onClick={() => tap({ title: "Voir la suite", payload })}>
        Voir la suite
      </button>
    </footer>
  );
}

function Chips({ buttons, tap, label }: { buttons: Button[]; tap: Tap; label: string }) {
  return (
    <ul class="chips" aria-label={label}>
      {buttons.map((button) => (
        <li key={button.payload + button.title}>
          <button type="button" class="chip" onClick={() => tap(button)}>
            {format.typeset(button.title)}
          </button>
        </li>
      ))}
    </ul>
  );
}

function Progress({ pending, retry, drop }: { pending: Pending } & Pick<Props, "retry" | "drop">) {
  const { key, state, reason } = pending;
  if (state === "queued") return <p class="status">En attente d’envoi…</p>;
  if (state === "sending") {
    return (
      <p class="bubble bot typing">
        <span class="hidden">L’assistant écrit…</span>
        <i />
        <i />
        <i />
      </p>
    );
  }
  return (
    <div class={`status ${state}`}>
      <p>
        <Icon name={state === "failed" ? "cross" : "cloud"} />
        {state === "failed" ? reason : `${reason} Nouvel essai automatique.`}
      </p>
      <button type="button" class="chip" onClick={() => retry(key)}>
        <Icon name="retry" />
        Réessayer
      </button>
      <button type="button" class="chip" onClick={() => drop(key)}>
        Retirer
      </button>
    </div>
  );
}
