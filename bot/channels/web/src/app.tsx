import { useEffect, useMemo, useState } from "preact/hooks";
import * as api from "./api";
import { Chat } from "./components/chat";
import { Menu } from "./components/dialogs";
import { SignIn } from "./components/sign-in";
import type { Config, Settings } from "./contract";
import { Conversation } from "./conversation";
import { openSession } from "./session";
import * as store from "./store";
import { applyTheme, currentTheme } from "./theme";

const RETRY_MS = 3_000;
const PLAIN: Settings = { teams: false, voice: false, photos: null };

/** The page: at first without settings, then with, signed in or not. */
export function App() {
  const config = useKept("config", api.config);
  const settings = useKept("settings", api.settings) ?? PLAIN;
  if (!config) return <Waiting />;
  return <SignedApp key={config.sign_in.mode} config={config} settings={settings} />;
}

/** What a server says of itself: what it said at the last visit until it has said it again. */
function useKept<K extends "config" | "settings">(key: K, ask: () => Promise<store.Kept[K]>) {
  const [kept, setKept] = useState(() => store.read(key));
  useEffect(() => {
    let timer = 0;
    const load = async () => {
      try {
        const loaded = await ask();
        store.write(key, loaded);
        setKept(loaded);
      } catch {
        timer = window.setTimeout(() => void load(), RETRY_MS);
      }
    };
    void load();
    return () => clearTimeout(timer);
  }, []);
  return kept;
}

function Waiting() {
  return (
    <main class="sign-in">
      <p role="status">Connexion à l’assistant…</p>
    </main>
  );
}

function SignedApp({ config, settings }: { config: Config; settings: Settings }) {
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
      <Chat
        conversation={conversation}
        config={config}
        settings={settings}
        openMenu={() => setMenu(true)}
      />
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
