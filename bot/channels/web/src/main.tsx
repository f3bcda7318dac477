import { render } from "preact";
import { App } from "./app";
import "./styles.css";
import { applyTheme, currentTheme } from "./theme";

applyTheme(currentTheme());
render(<App />, document.getElementById("app")!);

if (import.meta.env.PROD && "serviceWorker" in navigator) {
  navigator.serviceWorker.register("/sw.js").catch((error: unknown) => {
    console.warn("The page will not open without network.", error);
  });
}
