import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Config } from "../contract";
import * as store from "../store";
import { THEMES } from "../theme";
import { Icon } from "./icons";

interface DialogProps {
  title: string;
  close: () => void;
  large?: boolean;
  children: ComponentChildren;
}

/** A modal dialog of the browser's own: it keeps the focus inside, and gives it back at the end. */
export function Dialog({ title, close, large = false, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      aria-label={title}
      class={large ? "large" : ""}
      onClose={close}
      onClick={(event) => event.target === event.currentTarget && close()}
    >
      <div class="sheet">
        <header>
          <h2>{title}</h2>
          <button type="button" class="round" aria-label="Fermer" onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

interface MenuProps {
  config: Config | null;
  theme: store.Theme;
  setTheme: (theme: store.Theme) => void;
  install: (() => void) | null;
  signOut: (() => void) | null;
  deleteAll: () => void;
  close: () => void;
}

export function Menu(props: MenuProps) {
  const [sure, setSure] = useState(false);
  const days = props.config?.retention_days ?? null;
  const user = store.read("development")?.subject;
  if (sure) {
    return (
      <Dialog title="Effacer la conversation ?" close={props.close}>
        <p>Vos questions et leurs réponses seront effacées pour de bon, ici et sur le serveur.</p>
        <div class="actions">
          <button type="button" class="button" onClick={props.close}>
            Annuler
          </button>
          <button type="button" class="button bad" onClick={props.deleteAll}>
            Tout effacer
          </button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title="Menu" close={props.close}>
      <fieldset class="themes">
        <legend>Apparence</legend>
        {THEMES.map(({ value, label }) => (
          <label key={value}>
            <input
              type="radio"
              name="theme"
              checked={props.theme === value}
              onChange={() => props.setTheme(value)}
            />
            <span>{label}</span>
          </label>
        ))}
      </fieldset>
      <ul class="menu">
        {props.install && (
          <li>
            <button type="button" onClick={props.install}>
              <Icon name="install" />
              Installer l’application
            </button>
          </li>
        )}
        <li>
          <button type="button" onClick={() => setSure(true)}>
            <Icon name="trash" />
            Effacer la conversation
          </button>
        </li>
        {props.signOut && (
          <li>
            <button type="button" onClick={props.signOut}>
              <Icon name="leave" />
              Se déconnecter{user ? ` (${user})` : ""}
            </button>
          </li>
        )}
      </ul>
      {days !== null && <p class="note">{`Vos échanges sont effacés au bout de ${days} jours.`}</p>}
    </Dialog>
  );
}
