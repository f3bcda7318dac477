import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Button, Config } from "../contract";
import type { Conversation } from "../conversation";
import * as format from "../format";
import { Composer, COMPOSER_ID } from "./composer";
import { Icon, Logo } from "./icons";
import { TurnView } from "./turn";

const DEFAULT_LENGTH = 1000;
const EXAMPLES = [
  "Qui connaît Python ?",
  "Qui connaît Kubernetes à Nantes ?",
  "Bonjour, comment ça va ?",
];
/** So close to the end, in pixels, somebody reads the end. */
const NEAR = 80;
/** Left free above a question that is scrolled to the top, in pixels. */
const MARGIN = 12;

interface Props {
  conversation: Conversation;
  config: Config | null;
  openMenu: () => void;
}

export function Chat({ conversation, config, openMenu }: Props) {
  const [state, setState] = useState(conversation.state);
  useEffect(() => {
    setState(conversation.state);
    const unsubscribe = conversation.subscribe(() => setState(conversation.state));
    return () => void unsubscribe();
  }, [conversation]);

  const shown = [
    ...state.turns.map((turn) => ({
      id: turn.id,
      question: turn.question,
      created_at: turn.created_at,
      turn,
      pending: undefined,
    })),
    ...state.pending
      .filter(({ turn }) => !state.turns.some(({ id }) => id === turn?.id))
      .map((pending) => ({
        id: pending.turn?.id ?? pending.key,
        question: pending.message,
        created_at: pending.created_at,
        turn: pending.turn,
        pending,
      })),
  ];
  const { scroller, atEnd, toEnd } = useScrolling(shown.at(-1)?.id, state);

  const tap = ({ title, payload }: Button) =>
    conversation.say({ type: "postback", payload, title: title.slice(0, 300) });
  const say = (text: string) => conversation.say({ type: "text", text });

  return (
    <div class="chat">
      <a class="skip" href={`#${COMPOSER_ID}`}>
        Aller à la saisie
      </a>
      <header class="top">
        <Logo />
        <div class="title">
          <h1>Qui sait quoi ?</h1>
          <p>L’annuaire des compétences</p>
        </div>
        <button type="button" class="round" aria-label="Menu" onClick={openMenu}>
          <Icon name="menu" />
        </button>
      </header>

      <div class="banners" role="status">
        {!state.online && (
          <p class="banner">
            <Icon name="cloud" />
            Hors ligne. Vos messages partiront au retour du réseau.
          </p>
        )}
      </div>
      {state.signInRequired && (
        <p class="banner">
          Votre session a expiré.
          <button type="button" class="link" onClick={() => void conversation.start()}>
            Se reconnecter
          </button>
        </p>
      )}
      {state.notice && (
        <p class="banner bad" role="alert">
          {state.notice}
          <button
            type="button"
            class="round small"
            aria-label="Fermer"
            onClick={() => conversation.dismissNotice()}
          >
            <Icon name="close" />
          </button>
        </p>
      )}

      <main class="scroller" ref={scroller} tabIndex={-1}>
        {state.older !== null && (
          <button
            type="button"
            class="chip older"
            aria-disabled={state.loadingOlder}
            onClick={() => void conversation.loadOlder()}
          >
            {state.loadingOlder ? "Chargement…" : "Messages précédents"}
          </button>
        )}
        {shown.length === 0 && <Welcome say={say} />}
        <ol class="turns" aria-label="Conversation">
          {shown.map((item, index) => (
            <li key={item.id} class="turn">
              {startsDay(shown, index) && <p class="day">{format.relativeDay(item.created_at)}</p>}
              <TurnView
                question={item.question}
                created_at={item.created_at}
                turn={item.turn}
                {...(item.pending && { pending: item.pending })}
                last={index === shown.length - 1}
                tap={tap}
                retry={(key) => conversation.retry(key)}
                drop={(key) => conversation.drop(key)}
              />
            </li>
          ))}
        </ol>
      </main>
      {!atEnd && (
        <button
          type="button"
          class="round to-end"
          aria-label="Aller au dernier message"
          onClick={toEnd}
        >
          <Icon name="down" />
        </button>
      )}

      <Composer maxLength={config?.limits.text_characters ?? DEFAULT_LENGTH} send={say} />

      <div class="hidden" role="log" aria-live="polite" aria-label="Réponses de l’assistant">
        {state.announcements.map(({ id, text }) => (
          <p key={id}>{text}</p>
        ))}
      </div>
    </div>
  );
}

function startsDay(shown: { created_at: string }[], index: number): boolean {
  const [before, item] = [shown[index - 1], shown[index]];
  if (!before || !item) return true;
  return new Date(before.created_at).toDateString() !== new Date(item.created_at).toDateString();
}

/**
 * Keep the end in view: of the conversation when a question is asked, of an answer as it comes,
 * unless the user reads elsewhere; but never beyond the question of a long answer. Messages that are
 * added before the first leave the rest where it was.
 */
function useScrolling(lastId: string | undefined, content: unknown) {
  const scroller = useRef<HTMLElement>(null);
  const seen = useRef({ lastId: undefined as string | undefined, height: 0 });
  const following = useRef(true);
  const [atEnd, setAtEnd] = useState(true);

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const onScroll = () => {
      const distance = element.scrollHeight - element.clientHeight - element.scrollTop;
      setAtEnd(distance < element.clientHeight / 2);
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => element.removeEventListener("scroll", onScroll);
  }, []);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const isNew = lastId !== seen.current.lastId;
    const grown = element.scrollHeight - seen.current.height;
    const wasAtEnd =
      seen.current.height - element.clientHeight - element.scrollTop < NEAR;
    seen.current = { lastId, height: element.scrollHeight };
    if (isNew) following.current = true;
    else if (grown > 0 && !wasAtEnd && element.scrollTop < NEAR) {
      element.scrollTop += grown; // older messages have come
      return;
    }
    if (following.current && (isNew || grown !== 0)) {
      const last = element.querySelector<HTMLElement>(".turn:last-child");
      const end = element.scrollHeight - element.clientHeight;
      element.scrollTop = last ? Math.min(end, last.offsetTop - MARGIN) : end;
    }
  }, [lastId, content]);

  const toEnd = () => {
    const element = scroller.current;
    element?.scrollTo({ top: element.scrollHeight, behavior: "smooth" });
  };
  return { scroller, atEnd, toEnd };
}

function Welcome({ say }: { say: (text: string) => void }) {
  return (
    <section class="welcome">
      <Logo />
      <h2>Bonjour !</h2>
      <p>
        Je vous présente un collègue, ou je trouve qui maîtrise une technologie. Posez-moi la question
        comme elle vient.
      </p>
      <ul class="chips" aria-label="Exemples">
        {EXAMPLES.map((text) => (
          <li key={text}>
            <button type="button" class="chip" onClick={() => say(text)}>
              {text}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
