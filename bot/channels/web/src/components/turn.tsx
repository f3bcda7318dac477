import type { ComponentChildren } from "preact";
import { memo } from "preact/compat";
import { type Button, isKnown, type Reply, textOf, type Verdict } from "../contract";
import type { Conversation, Pending } from "../conversation";
import { type Entry, type Item, repliesOf } from "../folding";
import * as format from "../format";
import { CardView, payloadsOf, Sentence } from "./cards";
import { useDesk } from "./desk";
import { Icon } from "./icons";

interface Props {
  item: Item;
  /** Whether this is the last turn: suggestions are shown there alone. */
  last: boolean;
  /** Whether people are shown beside the conversation. */
  wide: boolean;
  online: boolean;
  conversation: Conversation;
}

/** A question, and the answer as far as it has come. */
export const TurnView = memo(function TurnView({ item, last, wide, ...delivery }: Props) {
  const { open } = useDesk();
  const { question, turn, pending, pages, aside, asOf } = item;
  const current = pages.at(-1) ?? item;
  const offered = current.turn?.replies.flatMap(({ buttons }) => buttons.map(({ title }) => title));
  const suggestions =
    last && !current.pending
      ? (current.turn?.suggestions ?? []).filter(({ title }) => !offered?.includes(title))
      : [];
  const beside = wide ? aside : null;
  return (
    <>
      {beside ? (
        <button type="button" class="chip beside" onClick={() => open(beside)}>
          {`Fiche de ${beside.name}`}
        </button>
      ) : (
        <div class="question">
          <h2 class="hidden">Vous</h2>
          <p class="bubble user">{format.typeset(textOf(question))}</p>
          <p class="time">{format.time(item.created_at)}</p>
        </div>
      )}
      <div class="answer">
        {!beside && turn && turn.replies.length > 0 && <h2 class="hidden">Assistant</h2>}
        {!beside && turn && <Replies item={item} {...delivery} />}
        {pending && <Progress pending={pending} {...delivery} />}
        {asOf && !beside && <p class="updated">{`À jour du ${format.day(asOf)}`}</p>}
        {suggestions.length > 0 && <Chips buttons={suggestions} label="Suggestions" />}
        {turn && !pending && !beside && question.type === "text" && (last || turn.verdict) && (
          <Judgement
            verdict={turn.verdict ?? null}
            judge={(verdict) => void delivery.conversation.judge(turn.id, verdict)}
          />
        )}
      </div>
    </>
  );
});

type Delivery = Pick<Props, "online" | "conversation">;

function Replies({ item, ...delivery }: { item: Item } & Delivery) {
  const { replies, more } = repliesOf(item);
  return (
    <>
      {replies.map((reply) => (
        <ReplyView key={reply.id} reply={reply}>
          {isKnown(reply.card) && reply.card.type === "expert_list" && (
            <ListEnd next={reply.card.next} text={more} page={item.pages.at(-1)} {...delivery} />
          )}
        </ReplyView>
      ))}
    </>
  );
}

function ReplyView({ reply, children }: { reply: Reply; children: ComponentChildren }) {
  const { card, text } = reply;
  const drawn = isKnown(card) ? payloadsOf(card) : [];
  const buttons = reply.buttons.filter(({ payload }) => !drawn.includes(payload));
  return (
    <>
      {isKnown(card) ? (
        <CardView card={card} text={text}>
          {children}
        </CardView>
      ) : (
        text && <Sentence text={text} />
      )}
      {buttons.length > 0 && <Chips buttons={buttons} label="Réponses possibles" />}
    </>
  );
}

/** How a list goes on: its next page is put at its end. */
function ListEnd(props: { next: string | null; text: string; page: Entry | undefined } & Delivery) {
  const { tap } = useDesk();
  const { next, text, page, ...delivery } = props;
  if (page?.pending) {
    return (
      <footer class="card-footer">
        <Progress pending={page.pending} {...delivery} />
      </footer>
    );
  }
  if (next === null) return null;
  return (
    <footer class="card-footer">
      <span>{text}</span>
      <button
        type="button"
        class="link"
        onClick={() => tap({ title: "Voir la suite", payload: next })}
      >
        Voir la suite
      </button>
    </footer>
  );
}

function Chips({ buttons, label }: { buttons: Button[]; label: string }) {
  const { tap } = useDesk();
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

/** A thumb down: whoever trains the bot reviews the question, without knowing whose it was. */
function Judgement(props: { verdict: Verdict; judge: (verdict: Verdict) => void }) {
  const bad = props.verdict === "bad";
  return (
    <p class="judgement">
      <button
        type="button"
        class={bad ? "act on" : "act"}
        aria-pressed={bad}
        aria-label="Cette réponse ne va pas"
        onClick={() => props.judge(bad ? null : "bad")}
      >
        <Icon name="thumb" />
      </button>
      {bad && "Merci, la question sera revue."}
    </p>
  );
}

function Progress({ pending, online, conversation }: { pending: Pending } & Delivery) {
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
        <span>{state === "failed" ? reason : `${reason} Nouvel essai automatique.`}</span>
      </p>
      {online && (
        <button type="button" class="chip" onClick={() => conversation.retry(key)}>
          <Icon name="retry" />
          Réessayer
        </button>
      )}
      <button type="button" class="chip" onClick={() => conversation.drop(key)}>
        Retirer
      </button>
    </div>
  );
}
