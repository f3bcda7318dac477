import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons";

const NEARLY_FULL = 0.9;

export const COMPOSER_ID = "composer";

interface Props {
  maxLength: number;
  send: (text: string) => void;
}

/** The field in which the user writes; Enter sends, Shift+Enter begins a new line. */
export function Composer({ maxLength, send }: Props) {
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);

  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  const submit = (event: Event) => {
    event.preventDefault();
    field.current?.focus();
    if (!text.trim()) return;
    send(text.trim());
    setText("");
  };

  return (
    <form class="composer" aria-label="Poser une question" onSubmit={submit}>
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
          placeholder="Qui est… ? Qui connaît… ?"
          enterkeyhint="send"
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
          }}
        />
        {text.length > maxLength * NEARLY_FULL && (
          <p class="count">{`${text.length} caractères sur ${maxLength}`}</p>
        )}
      </div>
      <button type="submit" class="send" aria-label="Envoyer" aria-disabled={!text.trim()}>
        <Icon name="send" />
      </button>
    </form>
  );
}
