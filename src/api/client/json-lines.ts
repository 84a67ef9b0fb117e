import { EngineError } from "../../common/index.ts";

const maxLineBytes = 16 * 1024 * 1024;

/** Decodes a stream of JSON objects, one a line, as events, stats, build and load answer. */
export async function* readJsonLines<T>(source: AsyncIterable<Uint8Array>): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let buffered = "";
  for await (const chunk of source) {
    buffered += decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end; (end = buffered.indexOf("\n", start)) >= 0; start = end + 1) {
      yield* parseLine<T>(buffered.slice(start, end));
    }
    buffered = buffered.slice(start);
    if (buffered.length > maxLineBytes) {
      throw new EngineError("resourceExhausted", `The engine sent a line of more than ${maxLineBytes} bytes`);
    }
  }
  yield* parseLine<T>(buffered + decoder.decode());
}

function* parseLine<T>(line: string): Generator<T> {
  if (line.trim() === "") return;
  try {
    yield JSON.parse(line) as T;
    return;
  } catch {
    // Go's encoder does not promise line ends between objects, and older engines leave them out.
  }
  for (const part of line.split(/(?<=\})(?=\{)/)) yield JSON.parse(part) as T;
}
