/** A server-sent event. */
export interface ServerEvent {
  name: string;
  data: string;
}

/**
 * Read the events of a response; ends with its body.
 *
 * The browser's EventSource cannot do it: it sends neither a body nor an Authorization header.
 * Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * @param onActivity called whenever bytes come, also those of comments
 */
export async function* serverEvents(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  onActivity: () => void,
): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onActivity();
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [, field, content] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
        if (line === "") {
          if (data.length > 0) yield { name: name || "message", data: data.join("\n") };
          name = "";
          data = [];
        } else if (field === "event") {
          name = content ?? "";
        } else if (field === "data") {
          data.push(content ?? "");
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
