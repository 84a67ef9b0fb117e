import type { Socket } from "node:net";
import { DetachWatcher, orGone } from "../common/index.ts";
import type { ApiReply } from "./reply.ts";
import { frame, multiplexedStreamType, rawStreamType } from "./multiplex.ts";

/** A client that has all output and does not close its side is cut off after this. */
const clientFarewellMs = 5000;

/**
 * Takes a connection over, as Docker's attach and exec do: after the 101 answer both directions carry the process's bytes,
 * output framed unless it is a terminal. The client's half-close ends the input; the end of the output closes the connection.
 */
export async function hijack(
  socket: Socket,
  reply: Extract<ApiReply, { kind: "hijack" }>,
  options: { signal: AbortSignal; upgrade: string },
): Promise<void> {
  using session = reply.session;
  const contentType = session.tty ? rawStreamType : multiplexedStreamType;
  socket.write(
    `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${contentType}\r\nConnection: Upgrade\r\nUpgrade: ${options.upgrade}\r\n\r\n`,
  );
  const left = new AbortController();
  const gone = AbortSignal.any([options.signal, left.signal]);
  if (reply.readsInput) feedInput(socket, reply, () => left.abort());
  else socket.resume();
  const iterator = session.output[Symbol.asyncIterator]();
  for (;;) {
    const next = await orGone(iterator.next(), gone);
    if (next === "gone") break;
    if (next.done) break;
    if (!socket.write(session.tty ? next.value.data : frame(next.value))) {
      const drained = new Promise<void>((resolve) => socket.once("drain", () => resolve()));
      if ((await orGone(drained, gone)) === "gone") break;
    }
  }
  void Promise.resolve(iterator.return?.()).catch(() => {});
  socket.end();
  // Not at once: input that nobody has read would turn the client's end of file into a reset.
  socket.resume();
  setTimeout(() => socket.destroy(), clientFarewellMs).unref();
}

function feedInput(
  socket: Socket,
  { session, detachKeys }: Extract<ApiReply, { kind: "hijack" }>,
  leave: () => void,
): void {
  // As in dockerd, only who types can leave by keys: in a pipe they are bytes like any other.
  const watcher = session.tty ? new DetachWatcher(detachKeys) : undefined;
  // One after the other: data, and the end above all, can come while an earlier piece is still being written.
  let turn: Promise<void> = Promise.resolve();
  socket.on("data", (data: Buffer) => {
    socket.pause();
    const { pass, detached } = watcher?.take(data) ?? { pass: data, detached: false };
    turn = turn
      .then(() => session.write(pass))
      .catch(() => {})
      .then(() => {
        if (detached) leave();
        socket.resume();
      });
  });
  socket.on("end", () => void turn.then(() => session.closeInput()));
}
