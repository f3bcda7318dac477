import { useState } from "preact/hooks";
import type { Config } from "../contract";
import { explain } from "../problems";
import { Logo } from "./icons";

interface Props {
  config: Config;
  /** Sign in as somebody, in development. */
  signIn: (subject: string, scope: string) => Promise<void>;
  /** Ask the app around us again, elsewhere. */
  ask: () => void;
}

export function SignIn({ config, signIn, ask }: Props) {
  return (
    <main class="sign-in">
      <Logo />
      <h1>Qui sait quoi ?</h1>
      {config.sign_in.mode === "development" ? (
        <DevelopmentForm signIn={signIn} />
      ) : (
        <>
          <p>
            Pour vous connecter, ouvrez l’assistant depuis l’application de votre entreprise. Vous y
            êtes déjà ? Votre session a sans doute expiré.
          </p>
          <button type="button" class="button main" onClick={ask}>
            Réessayer
          </button>
        </>
      )}
    </main>
  );
}

function DevelopmentForm({ signIn }: Pick<Props, "signIn">) {
  const [failure, setFailure] = useState<string | null>(null);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    try {
      await signIn(String(form.get("subject")), String(form.get("scope")));
    } catch (error) {
      setFailure(explain(error));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <p>Version de développement : choisissez qui vous êtes.</p>
      <label>
        Identifiant
        <input
          name="subject"
          defaultValue="demo"
          required
          pattern="[A-Za-z0-9._@\-]{1,64}"
          title="Lettres sans accent, chiffres, point, tiret, arobase"
          autocomplete="username"
          autocapitalize="none"
          spellcheck={false}
        />
      </label>
      <details>
        <summary>Essayer d’autres droits</summary>
        <label>
          Droits
          <input
            name="scope"
            defaultValue="directory:phone"
            maxLength={200}
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
          />
        </label>
      </details>
      <button type="submit" class="button main">
        Entrer
      </button>
      {failure && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
    </form>
  );
}
