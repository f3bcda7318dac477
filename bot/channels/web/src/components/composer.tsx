import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Completion } from "../contract";
import { canListen, listen } from "../voice";
import { Icon } from "./icons";

const NEARLY_FULL = 0.9;
const PAUSE_MS = 180;

export const COMPOSER_ID = "composer";

interface Props {
  maxLength: number;
  /** What was asked before, the latest last. */
  asked: string[];
  voice: boolean;
  /** Brings the end of the conversation into view; null where it is. */
  toEnd: (() => void) | null;
  complete: (text: string, signal: AbortSignal) => Promise<Completion[]>;
  send: (text: string) => void;
}

/** The field in which the user writes; Enter sends, Shift+Enter begins a new line. */
export function Composer({ maxLength, asked, voice, toEnd, complete, send }: Props) {
  const [text, setText] = useState("");
  /** Which question of before is shown, from the end; 0 for none. */
  const [recalled, setRecalled] = useState(0);
  const field = useRef<HTMLTextAreaElement>(null);
  const [offers, dismiss] = useCompletions(text, recalled > 0, complete);

  useEffect(() => {
    // Not where it would bring a keyboard onto the screen.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, []);

  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text, toEnd === null]);

  const write = (written: string) => {
    setText(written.slice(0, maxLength));
    setRecalled(0);
  };
  const submit = (event: Event) => {
    event.preventDefault();
    field.current?.focus();
    if (!text.trim()) return;
    send(text.trim());
    write("");
  };
  const recall = (back: number) => {
    setText(asked.at(-back) ?? "");
    setRecalled(back);
  };
  const take = ({ text: completed, replaces }: Completion) => {
    write(`${[...text].slice(0, -replaces).join("")}${completed} `);
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const { key } = event;
    if (key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    else if (key === "Escape" && offers.length > 0) dismiss();
    else if (key === "ArrowUp" && (!text || recalled > 0) && recalled < asked.length) {
      event.preventDefault();
      recall(recalled + 1);
    } else if (key === "ArrowDown" && recalled > 0) {
      event.preventDefault();
      if (recalled === 1) write("");
      else recall(recalled - 1);
    } else if (key === "ArrowDown" && offers.length > 0) {
      event.preventDefault();
      document.querySelector<HTMLElement>(".offers button")?.focus();
    }
  };

  return (
    <form class="composer" aria-label="Poser une question" onSubmit={submit}>
      <Offers offers={offers} take={take} leave={() => field.current?.focus()} />
      {toEnd && (
        <button type="button" class="round" aria-label="Aller au dernier message" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
      <div class="field">
        <label class="hidden" for={COMPOSER_ID}>
          Votre question
        </label>
        <textarea
          id={COMPOSER_ID}
          ref={field}
          rows={1}
          maxLength={maxLength}
          value={text}
          placeholder="Qui connaît… ?"
          autocomplete="off"
          enterkeyhint="send"
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {text.length > maxLength * NEARLY_FULL && (
          <p class="count">{`${text.length} caractères sur ${maxLength}`}</p>
        )}
      </div>
      {voice && canListen() && <Microphone onText={write} />}
      <button type="submit" class="send" aria-label="Envoyer" aria-disabled={!text.trim()}>
        <Icon name="send" />
      </button>
    </form>
  );
}

/** What `text` may be the beginning of, asked for whenever the user pauses; and a way out. */
function useCompletions(
  text: string,
  off: boolean,
  complete: Props["complete"],
): [Completion[], () => void] {
  const [offers, setOffers] = useState<Completion[]>([]);
  useEffect(() => {
    setOffers([]);
    if (off || !/\S$/.test(text)) return;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      complete(text, abort.signal).then(
        (found) => !abort.signal.aborted && setOffers(found),
        () => undefined, // one writes on without them
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text, off]);
  return [offers, () => setOffers([])];
}

function Offers(props: {
  offers: Completion[];
  take: (offer: Completion) => void;
  leave: () => void;
}) {
  const { offers, take, leave } = props;
  const onKeyDown = (event: KeyboardEvent) => {
    const [here, key] = [document.activeElement?.parentElement, event.key];
    const next = key === "ArrowRight" ? here?.nextElementSibling : here?.previousElementSibling;
    if (key === "ArrowRight" || key === "ArrowLeft") next?.querySelector("button")?.focus();
    else if (key === "ArrowUp" || key === "Escape") leave();
    else return;
    event.preventDefault();
  };
  const number = offers.length;
  return (
    <>
      <p class="hidden" role="status">
        {number > 0 && `${number} proposition${number > 1 ? "s" : ""}, flèche bas pour choisir`}
      </p>
      {number > 0 && (
        <ul class="offers" aria-label="Propositions" onKeyDown={onKeyDown}>
          {offers.map((offer) => (
            <li key={offer.text}>
              <button type="button" class="chip" onClick={() => take(offer)}>
                {offer.text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Microphone({ onText }: { onText: (text: string) => void }) {
  const [stop, setStop] = useState<(() => void) | null>(null);
  const toggle = async () => {
    if (stop) return stop();
    const end = await listen(onText, () => setStop(null));
    setStop(() => end);
  };
  return (
    <button
      type="button"
      class={stop ? "round listening" : "round"}
      aria-label="Dicter la question"
      aria-pressed={stop !== null}
      onClick={() => void toggle()}
    >
      <Icon name="voice" />
    </button>
  );
}
