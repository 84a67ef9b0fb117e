import { connect, type Socket } from "node:net";
import type { TestEngine } from "./test-engine.ts";

/** Sends bytes as they are and answers all that came back until the server closed, or until `isEnough` says so. */
export async function exchange(
  socketPath: string,
  bytes: string | Uint8Array,
  isEnough: (text: string) => boolean = () => false,
): Promise<string> {
  const socket = connect(socketPath);
  let text = "";
  const ended = new Promise<void>((resolve, reject) => {
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (isEnough(text)) socket.destroy();
    });
    socket.on("close", () => resolve());
    socket.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "EPIPE" || error.code === "ECONNRESET" ? resolve() : reject(error),
    );
  });
  socket.write(bytes);
  await ended;
  return text;
}

/** One piece of multiplexed output. */
export interface Piece {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
}

/** Takes Docker's stream headers off. Throws when bytes are left over. */
export function demultiplex(bytes: Uint8Array): Piece[] {
  const all = Buffer.from(bytes);
  const pieces: Piece[] = [];
  for (let at = 0; at < all.length;) {
    const kind = all[at];
    const length = all.readUInt32BE(at + 4);
    if ((kind !== 1 && kind !== 2) || at + 8 + length > all.length) throw new Error(`No stream header at byte ${at}`);
    pieces.push({ stream: kind === 1 ? "stdout" : "stderr", data: all.subarray(at + 8, at + 8 + length) });
    at += 8 + length;
  }
  return pieces;
}

/** All bytes of one stream, or of both. */
export function textOf(pieces: readonly Piece[], stream?: "stdout" | "stderr"): string {
  return Buffer.concat(
    pieces.filter((piece) => !stream || piece.stream === stream).map((piece) => piece.data),
  ).toString();
}

/** A connection that was taken over, as `docker attach` has it. */
export class Hijacked {
  readonly head: string;
  /** All output, once the engine has closed the connection. */
  readonly output: Promise<Buffer>;
  readonly #chunks: Buffer[] = [];

  private constructor(
    readonly socket: Socket,
    opened: { head: string; rest: Buffer },
  ) {
    this.head = opened.head;
    if (opened.rest.length > 0) this.#chunks.push(opened.rest);
    this.output = new Promise((resolve) => {
      socket.on("data", (data: Buffer) => this.#chunks.push(data));
      socket.on("end", () => socket.end());
      socket.on("close", () => resolve(Buffer.concat(this.#chunks)));
    });
  }

  /** What has come so far. */
  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  /** `POST path` with an upgrade; resolves when the answer's head is there. */
  static async open(engine: TestEngine, path: string, body?: unknown): Promise<Hijacked> {
    const socket = connect({ path: engine.socket, allowHalfOpen: true });
    const json = body === undefined ? "" : JSON.stringify(body);
    socket.on("error", () => {});
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
    );
    let bytes = Buffer.alloc(0);
    const opened = await new Promise<{ head: string; rest: Buffer }>((resolve, reject) => {
      const take = (data: Buffer): void => {
        bytes = Buffer.concat([bytes, data]);
        const end = bytes.indexOf("\r\n\r\n");
        if (end < 0) return;
        socket.off("data", take);
        resolve({ head: bytes.subarray(0, end).toString(), rest: Buffer.from(bytes.subarray(end + 4)) });
      };
      socket.on("data", take);
      socket.once("close", () => reject(new Error(`Closed before an answer came: ${bytes.toString()}`)));
    });
    return new Hijacked(socket, opened);
  }
}
