import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Config, type Examples, type Person, personButton, type Settings } from "../contract";
import type { Conversation } from "../conversation";
import { fold, wholeList } from "../folding";
import * as format from "../format";
import { idsInAddress, toggled, useSelection } from "../selection";
import { Composer, COMPOSER_ID } from "./composer";
import { type Desk, DeskContext } from "./desk";
import { Icon, Logo } from "./icons";
import { PersonDetails, PersonHeader } from "./person";
import { Selection } from "./selection";
import { TurnView } from "./turn";

const DEFAULT_LENGTH = 1000;
const MAX_TITLE = 300;
/** So close to the end, in pixels, somebody reads the end. */
const NEAR = 80;
/** Left free above a question that is scrolled to the top, in pixels. */
const MARGIN = 12;
/** From that width on people are shown beside the conversation. */
const WIDE = "(min-width: 64rem)";

interface Props {
  conversation: Conversation;
  config: Config | null;
  settings: Settings;
  openMenu: () => void;
}

export function Chat({ conversation, config, settings, openMenu }: Props) {
  const [state, setState] = useState(conversation.state);
  useEffect(() => {
    setState(conversation.state);
    const unsubscribe = conversation.subscribe(() => setState(conversation.state));
    return () => void unsubscribe();
  }, [conversation]);

  const wide = useMedia(WIDE);
  const items = useMemo(() => fold(state), [state.turns, state.pending]);
  // Who is looked at takes no place of their own.
  const main = wide ? items.filter(({ aside }) => aside === null) : items;
  const last = main.at(-1);
  const { scroller, atEnd, toEnd } = useScrolling(
    main[0]?.id,
    last?.id,
    last?.pending !== undefined,
    state,
  );
  const [selection, setSelection] = useSelection();
  const [choosing, setChoosing] = useState(false);
  const [opened, setOpened] = useState<Person | null>(null);
  const list = items.findLast((item) => wholeList(item)?.experts.length);
  useEffect(() => setOpened(null), [list?.id]);
  const best = list ? wholeList(list)?.experts[0]?.person : undefined;
  const shown = wide ? (opened ?? best ?? null) : null;

  useEffect(() => {
    const ids = state.signInRequired ? [] : idsInAddress();
    if (ids.length === 0) return;
    void conversation.people(ids).then((people) => {
      if (people === null) return; // perhaps once somebody has signed in
      history.replaceState(null, "", location.pathname);
      const known = new Set(selection.map(({ id }) => id));
      setSelection([...selection, ...people.filter(({ id }) => !known.has(id))]);
      setChoosing(true);
    });
  }, [state.signInRequired]);

  const desk = useMemo<Desk>(() => {
    const tap: Desk["tap"] = ({ title, payload }) =>
      conversation.say({ type: "postback", payload, title: title.slice(0, MAX_TITLE) });
    return {
      tap,
      open: (person) => {
        setOpened(person);
        tap(personButton(person));
      },
      shown,
      select: (person) => setSelection(toggled(selection, person)),
      selection,
      settings,
      announce: (text) => conversation.tell(text),
    };
  }, [conversation, shown, selection, settings]);
  const say = (text: string) => conversation.say({ type: "text", text });

  return (
    <DeskContext.Provider value={desk}>
      <div class={shown ? "chat with-person" : "chat"}>
        <a class="skip" href={`#${COMPOSER_ID}`}>
          Aller à la saisie
        </a>
        <header class="top">
          <Logo />
          <div class="title">
            <h1>Qui sait quoi ?</h1>
            <p>L’annuaire des compétences</p>
          </div>
          <button
            type="button"
            class="round counted"
            aria-label={`Ma sélection (${selection.length})`}
            onClick={() => setChoosing(true)}
          >
            <Icon name="bookmark" />
            {selection.length > 0 && <span>{selection.length}</span>}
          </button>
          <button type="button" class="round" aria-label="Menu" onClick={openMenu}>
            <Icon name="menu" />
          </button>
        </header>
        <Banners conversation={conversation} />

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
          {items.length === 0 && <Welcome say={say} conversation={conversation} />}
          <ol class="turns" aria-label="Conversation">
            {items.map((item, index) => (
              <li key={item.id} class={wide && item.aside ? "turn aside" : "turn"}>
                {startsDay(items, index) && (
                  <p class="day">{format.relativeDay(item.created_at)}</p>
                )}
                <TurnView
                  item={item}
                  last={index === items.length - 1}
                  wide={wide}
                  online={state.online}
                  conversation={conversation}
                />
              </li>
            ))}
          </ol>
        </main>
        {shown && (
          <aside class="panel" aria-label={`Fiche de ${shown.name}`}>
            <PersonHeader person={shown} />
            <PersonDetails person={shown} />
          </aside>
        )}

        <Composer
          maxLength={config?.limits.text_characters ?? DEFAULT_LENGTH}
          asked={items.flatMap(({ question }) => (question.type === "text" ? [question.text] : []))}
          voice={settings.voice}
          toEnd={atEnd ? null : toEnd}
          complete={(text, signal) => conversation.completions(text, signal)}
          send={say}
        />

        <div class="hidden" role="log" aria-live="polite" aria-label="Réponses de l’assistant">
          {state.announcements.map(({ id, text }) => (
            <p key={id}>{text}</p>
          ))}
        </div>
      </div>
      {choosing && (
        <Selection people={selection} setPeople={setSelection} close={() => setChoosing(false)} />
      )}
    </DeskContext.Provider>
  );
}

function Banners({ conversation }: { conversation: Conversation }) {
  const { online, signInRequired, notice } = conversation.state;
  return (
    <div class="notices">
      <div class="banners" role="status">
        {!online && (
          <p class="banner">
            <Icon name="cloud" />
            <span>Hors ligne. Vos messages partiront au retour du réseau.</span>
          </p>
        )}
      </div>
      {signInRequired && (
        <p class="banner">
          <span>Votre session a expiré.</span>
          <button type="button" class="link" onClick={() => void conversation.start()}>
            Se reconnecter
          </button>
        </p>
      )}
      {notice && (
        <p class="banner bad" role="alert">
          <span>{notice}</span>
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
    </div>
  );
}

function startsDay(items: { created_at: string }[], index: number): boolean {
  const [before, item] = [items[index - 1], items[index]];
  if (!before || !item) return true;
  return new Date(before.created_at).toDateString() !== new Date(item.created_at).toDateString();
}

function useMedia(query: string): boolean {
  const media = useMemo(() => matchMedia(query), [query]);
  const [matches, setMatches] = useState(media.matches);
  useEffect(() => {
    const listen = () => setMatches(media.matches);
    media.addEventListener("change", listen);
    return () => media.removeEventListener("change", listen);
  }, [media]);
  return matches;
}

/**
 * Keep the end in view: of the conversation when a question is asked, of an answer as it comes; but
 * never beyond the question of a long answer. What is added to a list that is there, and messages
 * added before the first, leave the rest where it was.
 */
function useScrolling(
  firstId: string | undefined,
  lastId: string | undefined,
  busy: boolean,
  content: unknown,
) {
  const scroller = useRef<HTMLElement>(null);
  const seen = useRef({ firstId, lastId: undefined as string | undefined, height: 0, busy: false });
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
    const before = seen.current;
    const grown = element.scrollHeight - before.height;
    const wasAtEnd = before.height - element.clientHeight - element.scrollTop < NEAR;
    seen.current = { firstId, lastId, height: element.scrollHeight, busy };
    if (lastId !== before.lastId || (before.busy && grown !== 0)) {
      const last = [...element.querySelectorAll<HTMLElement>(".turn:not(.aside)")].at(-1);
      const end = element.scrollHeight - element.clientHeight;
      element.scrollTop = last ? Math.min(end, last.offsetTop - MARGIN) : end;
    } else if (firstId !== before.firstId && grown > 0 && !wasAtEnd && element.scrollTop < NEAR) {
      element.scrollTop += grown; // older messages have come
    }
  }, [lastId, content]);

  const toEnd = () => {
    const element = scroller.current;
    element?.scrollTo({ top: element.scrollHeight, behavior: "smooth" });
  };
  return { scroller, atEnd, toEnd };
}

/** What to ask, out of this directory: without it there is a question that any directory has. */
function Welcome({
  say,
  conversation,
}: {
  say: (text: string) => void;
  conversation: Conversation;
}) {
  const [known, setKnown] = useState<Examples | null>(null);
  useEffect(() => {
    conversation.examples().then(setKnown, () => undefined);
  }, [conversation]);
  return (
    <section class="welcome">
      <Logo />
      <h2>Bonjour !</h2>
      <p>
        Je vous présente un collègue, ou je trouve qui maîtrise une technologie. Posez-moi la
        question comme elle vient.
      </p>
      <ul class="chips" aria-label="Exemples">
        {questionsOf(known).map((text) => (
          <li key={text}>
            <button type="button" class="chip" onClick={() => say(text)}>
              {format.typeset(text)}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function questionsOf(known: Examples | null): string[] {
  const [first, second] = known?.technologies ?? [];
  return [
    first && `Qui connaît ${first} ?`,
    second && known?.agency && `Qui connaît ${second} à ${known.agency} ?`,
    known?.person && `Qui est ${known.person} ?`,
    "Que sais-tu faire ?",
  ].filter((text) => typeof text === "string");
}
