// The sending side of fsutil's file protocol (tonistiigi/fsutil, send.go).
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../common/index.ts";
import { packetTypes, statMessage, type Packet } from "./session-messages.ts";
import { hasContent, walkFolder, type FolderFilter } from "./walk-folder.ts";

const pieceBytes = 64 * 1024;

/**
 * Tells the folder's entries, then sends the content of those that the other side asks for, until it is content. A file that cannot be
 * read any more is sent empty: the other side knows how long it was.
 */
export async function* sendFolder(
  root: string,
  options: { filter: FolderFilter; packets: AsyncIterable<Packet>; signal: AbortSignal },
): AsyncGenerator<Partial<Packet>> {
  const requests = new Requests(options.packets);
  const files: (string | undefined)[] = [];
  for (const stat of walkFolder(root, options.filter)) {
    if (options.signal.aborted) return;
    files.push(hasContent(stat) ? stat.path : undefined);
    yield { type: packetTypes.stat, stat: statMessage.encode(stat) };
  }
  yield { type: packetTypes.stat };
  for (;;) {
    const id = await requests.next();
    if (id === "finish") break;
    const path = files[id];
    if (path === undefined) throw new EngineError("invalidArgument", `The engine asked for file ${id}, which is none`);
    files[id] = undefined;
    for (const data of pieces(join(root, path))) yield { type: packetTypes.data, id, data };
    yield { type: packetTypes.data, id };
  }
  yield { type: packetTypes.finish };
}

function* pieces(path: string): Generator<Uint8Array> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return;
  }
  try {
    const piece = Buffer.allocUnsafe(pieceBytes);
    for (let length; (length = readSync(fd, piece, 0, pieceBytes, null)) > 0;) yield piece.subarray(0, length);
  } catch {
    // What is missing is told by the length.
  } finally {
    closeSync(fd);
  }
}

/** Reads the other side's packets all the time, since it writes while it is written to. */
class Requests {
  readonly #ids: number[] = [];
  #finished = false;
  #failure: unknown;
  #wake = Promise.withResolvers<void>();

  constructor(packets: AsyncIterable<Packet>) {
    void this.#read(packets);
  }

  async next(): Promise<number | "finish"> {
    for (;;) {
      const id = this.#ids.shift();
      if (id !== undefined) return id;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#finished) return "finish";
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
  }

  async #read(packets: AsyncIterable<Packet>): Promise<void> {
    try {
      for await (const packet of packets) {
        if (packet.type === packetTypes.error) {
          throw new EngineError(
            "invalidArgument",
            `The other side cannot take the files: ${Buffer.from(packet.data).toString()}`,
          );
        }
        if (packet.type === packetTypes.request) this.#ids.push(packet.id);
        if (packet.type === packetTypes.finish) break;
        this.#wake.resolve();
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#finished = true;
    this.#wake.resolve();
  }
}
