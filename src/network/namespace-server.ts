// Client of `vitrine-helper netns`: docs/flows/monitor-protocol.md, "The netns helper".
import { EngineError } from "../common/index.ts";
import { SystemError, closeDescriptor, receiveDescriptor, sendDescriptors, socketPair } from "../kernel/index.ts";

const answerTimeoutMs = 30_000;
/** An answer takes some 50 µs: this many turns of the event loop are tried before a millisecond's sleep. */
const eagerTurns = 64;
/** Requests that may be on their way at once; the helper answers them in order. */
const maxInFlight = 64;

interface Answer {
  readonly errno: number;
  readonly descriptors: readonly number[];
}

interface Request {
  readonly packet: Uint8Array;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Makes network namespaces, and sockets inside them, in a process of its own: no thread of the engine ever enters another
 * namespace. The process starts with the first request, again after it was lost, and ends with `close`.
 *
 *     await server.create("/run/x/netns"); const fd = await server.socket("/run/x/netns", { family: 16, type: 3, protocol: 0 });
 */
export class NamespaceServer {
  readonly #helperPath: string;
  #connection: { readonly socket: number; readonly process: Bun.Subprocess } | undefined;
  /** Not sent yet, and sent, in order. */
  readonly #waiting: Request[] = [];
  readonly #sent: Request[] = [];
  #pumping: Promise<void> | undefined;

  constructor(options: { helperPath: string }) {
    this.#helperPath = options.helperPath;
  }

  /** A new network namespace with `lo` up, held by a mount at `path`, which must not exist while its folder does. */
  async create(path: string): Promise<void> {
    const { errno } = await this.#ask(["create", path]);
    if (errno !== 0) throw new SystemError("unshare", errno, `Cannot make network namespace "${path}"`);
  }

  /** A socket that was born in the namespace at `path`; its descriptor is yours to close. Numbers as for socket(2). */
  async socket(path: string, options: { family: number; type: number; protocol: number }): Promise<number> {
    const numbers = [options.family, options.type, options.protocol].map(String);
    const { errno, descriptors } = await this.#ask(["socket", path, ...numbers]);
    if (errno !== 0) throw new SystemError("socket", errno, `Cannot open a socket in network namespace "${path}"`);
    const [descriptor, ...rest] = descriptors;
    for (const extra of rest) closeDescriptor(extra);
    if (descriptor === undefined) throw new EngineError("internal", "The helper answered without a socket");
    return descriptor;
  }

  /** Lazily unmounts `path` and deletes it. What is not there is well. */
  async remove(path: string): Promise<void> {
    const { errno } = await this.#ask(["remove", path]);
    if (errno === 0) return;
    const failure = new SystemError("umount2", errno, `Cannot remove network namespace "${path}"`);
    if (failure.code !== "notFound") throw failure;
  }

  /** Ends the helper once the requests before were answered. */
  async close(): Promise<void> {
    await this.#pumping;
    const connection = this.#connection;
    this.#disconnect();
    await connection?.process.exited;
  }

  #ask(fields: readonly string[]): Promise<Answer> {
    if (fields.some((field) => field.includes("\0"))) {
      throw new EngineError("invalidArgument", `path ${JSON.stringify(fields[1])} holds a NUL byte`);
    }
    const packet = Buffer.from(fields.map((field) => `${field}\0`).join(""), "utf8");
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#waiting.push({ packet, resolve, reject });
    this.#pumping ??= this.#pump().finally(() => {
      this.#pumping = undefined;
    });
    return promise;
  }

  /** Sends what waits and hands out answers until nobody waits for one. */
  async #pump(): Promise<void> {
    let idleSince = Date.now();
    for (let turn = 0; this.#waiting.length + this.#sent.length > 0; turn++) {
      try {
        if (this.#sendWaiting() + this.#receiveAnswers() > 0) {
          idleSince = Date.now();
          turn = 0;
        }
        if (Date.now() - idleSince > answerTimeoutMs) throw lost(`it did not answer within ${answerTimeoutMs} ms`);
      } catch (thrown) {
        this.#disconnect();
        const failure = thrown instanceof SystemError ? lost(thrown.message) : thrown;
        for (const request of [...this.#sent.splice(0), ...this.#waiting.splice(0)]) request.reject(failure);
      }
      if (turn < eagerTurns) await new Promise((resolve) => setImmediate(resolve));
      else await Bun.sleep(1);
    }
  }

  #sendWaiting(): number {
    let count = 0;
    for (; this.#waiting[0] && this.#sent.length < maxInFlight; count++) {
      try {
        sendDescriptors(this.#connect().socket, this.#waiting[0].packet, []);
      } catch (thrown) {
        // Only when nobody waits for the one that died is it certain that it did nothing of this.
        if (!(thrown instanceof SystemError) || this.#sent.length > 0) throw thrown;
        this.#disconnect();
        sendDescriptors(this.#connect().socket, this.#waiting[0].packet, []);
      }
      this.#sent.push(...this.#waiting.splice(0, 1));
    }
    return count;
  }

  #receiveAnswers(): number {
    let count = 0;
    for (; this.#sent.length > 0; count++) {
      const message = receiveDescriptor(this.#connect().socket);
      if (!message) break;
      const text = Buffer.from(message.data).toString("latin1").split("\0")[0] ?? "";
      if (!/^\d+$/.test(text)) throw lost("it ended or spoke another protocol");
      this.#sent.shift()?.resolve({ errno: Number(text), descriptors: message.descriptors });
    }
    return count;
  }

  #connect(): { readonly socket: number } {
    if (this.#connection) return this.#connection;
    const [ours, theirs] = socketPair("seqpacket");
    try {
      const child = Bun.spawn([this.#helperPath, "netns"], {
        stdio: ["ignore", "ignore", "inherit", theirs],
        // A Ctrl-C at the engine's terminal must not take it away before the engine has cleaned up.
        detached: true,
      });
      child.unref();
      this.#connection = { socket: ours, process: child };
      return this.#connection;
    } catch (cause) {
      closeDescriptor(ours);
      throw new EngineError("unavailable", `Cannot start the network namespace helper "${this.#helperPath}"`, {
        cause,
      });
    } finally {
      closeDescriptor(theirs);
    }
  }

  #disconnect(): void {
    if (this.#connection) closeDescriptor(this.#connection.socket);
    this.#connection = undefined;
  }
}

function lost(cause: string): EngineError {
  return new EngineError("unavailable", `The network namespace helper failed: ${cause}`);
}
