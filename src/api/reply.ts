import type { Duplex } from "node:stream";
import type { StdioSession } from "../engine/index.ts";

/** What a route answers; `server.ts` alone writes it to a connection, so that routes are tested without a socket. */
export type ApiReply =
  | {
      readonly kind: "json";
      readonly status: number;
      readonly body: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: "empty"; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  | {
      readonly kind: "text";
      readonly status: number;
      readonly body: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "stream";
      readonly contentType: string;
      readonly body: AsyncIterable<Uint8Array | string>;
      /** The head goes out before the first value: clients of wait, events and logs act on seeing it. Else an early failure has its own status. */
      readonly eager?: boolean;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "hijack";
      readonly session: StdioSession;
      readonly readsInput: boolean;
      /** Bytes by which a client at a terminal leaves it. */
      readonly detachKeys: readonly number[];
    }
  | {
      /** After the 101 answer the connection speaks another protocol until it closes. */
      readonly kind: "takeover";
      readonly upgrade: string;
      readonly serve: (connection: Duplex) => Promise<void>;
    };

export function json(body: unknown, status = 200): ApiReply {
  return { kind: "json", status, body };
}

export function empty(status = 204): ApiReply {
  return { kind: "empty", status };
}

export function stream(contentType: string, body: AsyncIterable<Uint8Array | string>): ApiReply {
  return { kind: "stream", contentType, body };
}

/** A stream whose client waits for the head; see `eager`. */
export function eagerStream(contentType: string, body: AsyncIterable<Uint8Array | string>): ApiReply {
  return { kind: "stream", contentType, body, eager: true };
}

/** A stream of JSON values, one a line, as build, load, events and stats send them. */
export function jsonLines(values: AsyncIterable<unknown>): ApiReply {
  return stream("application/json", linesOf(values));
}

/** As `jsonLines`, with the head at once. */
export function eagerJsonLines(values: AsyncIterable<unknown>): ApiReply {
  return eagerStream("application/json", linesOf(values));
}

async function* linesOf(values: AsyncIterable<unknown>): AsyncGenerator<string> {
  for await (const value of values) yield `${JSON.stringify(value)}\r\n`;
}
