/** Questions that are spoken, where the browser understands speech. */

/** The part of the browser's interface that is used; TypeScript's library does not have it. */
interface Recognition extends EventTarget {
  lang: string;
  interimResults: boolean;
  processLocally?: boolean;
  onresult: ((event: { results: ArrayLike<ArrayLike<{ transcript: string }>> }) => void) | null;
  onend: (() => void) | null;
  start(): void;
  stop(): void;
}
interface RecognitionClass {
  new (): Recognition;
  available?(wish: { langs: string[]; processLocally: boolean }): Promise<string>;
}

declare global {
  interface Window {
    SpeechRecognition?: RecognitionClass;
    webkitSpeechRecognition?: RecognitionClass;
  }
}

const LANGUAGE = "fr-FR";

export const canListen = (): boolean =>
  Boolean(window.SpeechRecognition ?? window.webkitSpeechRecognition);

/**
 * Listen until the speaker stops, on this device where the browser can.
 *
 * @param onText called with what was understood, again whenever that is more
 * @param onEnd called at the end, also where nothing was to be heard
 * @returns what ends it earlier
 */
export async function listen(
  onText: (text: string) => void,
  onEnd: () => void,
): Promise<() => void> {
  const Recognition = (window.SpeechRecognition ?? window.webkitSpeechRecognition)!;
  const recognition = new Recognition();
  recognition.lang = LANGUAGE;
  recognition.interimResults = true;
  const here = await Recognition.available?.({ langs: [LANGUAGE], processLocally: true }).catch(
    () => null,
  );
  if (here === "available") recognition.processLocally = true;
  recognition.onresult = ({ results }) =>
    onText(Array.from(results, (result) => result[0]?.transcript ?? "").join(""));
  recognition.onend = onEnd;
  recognition.start();
  return () => recognition.stop();
}
