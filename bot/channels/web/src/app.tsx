import { useEffect, useMemo, useState } from "preact/hooks";
import * as api from "./api";
import { Chat } from "./components/chat";
import { Menu } from "./components/dialogs";
import { SignIn } from "./components/sign-in";
import type { Config } from "./contract";
import { Conversation } from "./conversation";
import { openSession } from "./session";
import * as store from "./store";
import { applyTheme, currentTheme } from "./theme";

const RETRY_MS = 3_000;

/** The page: at first without settings, then with, signed in or not. */
export function App() {
  const config = useConfig();
  return config ? <SignedApp key={config.sign_in.mode} config={config} /> : <Waiting />;
}

/** The channel's settings: those of the last visit until the present ones have come. */
function useConfig(): Config | null {
  const [config, setConfig] = useState(() => store.read("config"));
  useEffect(() => {
    let timer = 0;
    const load = async () => {
      try {
        const loaded = await api.config();
        store.write("config", loaded);
        setConfig(loaded);
      } catch {
        timer = window.setTimeout(() => void load(), RETRY_MS);
      }
    };
    void load();
    return () => clearTimeout(timer);
  }, []);
  return config;
}

function Waiting() {
  return (
    <main class="sign-in">
      <p role="status">Connexion à l’assistant…</p>
    </main>
  );
}

function SignedApp({ config }: { config: Config }) {
  const [signedOut, setSignedOut] = useState(false);
  const [menu, setMenu] = useState(false);
  const [theme, setTheme] = useState(currentTheme);
  const install = useInstallation();

  const [conversation, session] = useMemo(() => {
    const session = openSession(config, {
      onOther: () => conversation.reset(),
      onSignIn: () => {
        setSignedOut(false);
        void conversation.start();
      },
      onSignOut: () => signOut(),
    });
    const conversation = new Conversation(session);
    return [conversation, session];
  }, []);

  useEffect(() => {
    const unsubscribe = conversation.subscribe(() => {
      // Whoever was here before may read on, and sign in from there.
      if (conversation.state.signInRequired && !store.read("account")) setSignedOut(true);
    });
    void conversation.start();
    return () => void unsubscribe();
  }, []);

  const signOut = () => {
    store.forget();
    session.refuse();
    conversation.reset();
    setMenu(false);
    setSignedOut(true);
  };

  if (signedOut) {
    return (
      <SignIn
        config={config}
        signIn={async (subject, scope) => {
          store.write("development", { subject, scope });
          session.refuse();
          await session.token();
          setSignedOut(false);
          void conversation.start();
        }}
        ask={() => {
          setSignedOut(false);
          void conversation.start();
        }}
      />
    );
  }
  return (
    <>
      <Chat conversation={conversation} config={config} openMenu={() => setMenu(true)} />
      {menu && (
        <Menu
          config={config}
          theme={theme}
          setTheme={(chosen) => {
            applyTheme(chosen);
            setTheme(chosen);
          }}
          install={install}
          signOut={config.sign_in.mode === "development" ? signOut : null}
          deleteAll={() => {
            setMenu(false);
            void conversation.deleteAll();
          }}
          close={() => setMenu(false)}
        />
      )}
    </>
  );
}

/** Chromium's event, not in TypeScript's library. */
interface InstallEvent extends Event {
  prompt(): Promise<unknown>;
}

/** What installs the page as an app; null where the browser does not offer it, or it is done. */
function useInstallation(): (() => void) | null {
  const [event, setEvent] = useState<InstallEvent | null>(null);
  useEffect(() => {
    const keep = (offered: Event) => {
      offered.preventDefault();
      setEvent(offered as InstallEvent);
    };
    const done = () => setEvent(null);
    window.addEventListener("beforeinstallprompt", keep);
    window.addEventListener("appinstalled", done);
    return () => {
      window.removeEventListener("beforeinstallprompt", keep);
      window.removeEventListener("appinstalled", done);
    };
  }, []);
  return event && (() => void event.prompt());
}
