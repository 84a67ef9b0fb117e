// Clients that mean harm: what they send costs the daemon little, ends their connection, and nobody else notices.
import { expect, test } from "bun:test";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { contextIn, failureOf } from "../../support/buildkit-context.ts";
import { peerBuild, PeerControl, upgraded } from "../../support/buildkit-peer.ts";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { toWire } from "../../support/protobuf-wire.ts";
import { newScratch } from "../../support/scratch.ts";
import { receiveFolder } from "../../../src/api/buildkit/receive-folder.ts";
import { statMessage, type Packet } from "../../../src/api/buildkit/session-messages.ts";

const engine = busyboxEngine();
const allowedMB = 100;

/** One frame of HTTP/2 (RFC 9113, 4.1). */
function frame(type: number, payload: Uint8Array, { flags = 0, stream = 1 } = {}): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header as RFC 7541 has it without any table. */
function header(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

const types = { data: 0, headers: 1, reset: 3, settings: 4, continuation: 9 };
const endHeaders = { flags: 4 };
const opening = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame(types.settings, new Uint8Array(0), { stream: 0 }),
]);
const call = Buffer.concat([
  header(":method", "POST"),
  header(":path", "/moby.buildkit.v1.Control/Status"),
  header(":scheme", "http"),
  header(":authority", "x"),
  header("content-type", "application/grpc"),
]);

function* repeated(first: Buffer, next: (index: number) => Buffer): Generator<Buffer> {
  yield first;
  for (let index = 0; index < 20_000; index += 1) yield next(index);
}

const floods: Readonly<Record<string, () => Generator<Buffer>>> = {
  "bytes that are no HTTP/2": () => repeated(Buffer.alloc(0), () => Buffer.alloc(4096, 0xfe)),
  "a frame of 16 MB": () =>
    repeated(Buffer.concat([opening, Buffer.from("ffffff000000000001", "hex")]), () => Buffer.alloc(4096)),
  "headers without end": () =>
    repeated(Buffer.concat([opening, frame(types.headers, call)]), (index) =>
      frame(types.continuation, Buffer.concat(Array.from({ length: 40 }, () => header(`x-${index}`, "z".repeat(100))))),
    ),
  "calls without end": () =>
    repeated(opening, (index) => frame(types.headers, call, { ...endHeaders, stream: 2 * index + 1 })),
  "calls that are given up at once": () =>
    repeated(opening, (index) => {
      const stream = 2 * index + 1;
      const reset = frame(types.reset, Buffer.from([0, 0, 0, 8]), { stream });
      return Buffer.concat([frame(types.headers, call, { ...endHeaders, stream }), reset]);
    }),
  "a message of 4 GiB": () =>
    repeated(
      Buffer.concat([
        opening,
        frame(types.headers, call, endHeaders),
        frame(types.data, Buffer.from([0, 0xff, 0xff, 0xff, 0xff])),
      ]),
      () => frame(types.data, Buffer.alloc(8192)),
    ),
  "more data than its window holds": () =>
    repeated(
      Buffer.concat([
        opening,
        frame(types.headers, call, endHeaders),
        frame(types.data, Buffer.from([0, 0, 0xf0, 0, 0])),
      ]),
      () => frame(types.data, Buffer.alloc(8192)),
    ),
};

function residentMB(): number {
  const status = readFileSync(`/proc/${engine.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

for (const [name, flood] of Object.entries(floods)) {
  test(`${name}: the connection ends, and the daemon stays as it is`, async () => {
    // What the first call loads is not the flood's.
    using first = await PeerControl.open(engine.socket);
    await first.call("/moby.buildkit.v1.Control/Info", []);
    const before = residentMB();
    const connection = await upgraded(engine.socket, "/grpc");
    connection.on("error", () => {});
    connection.resume();
    const closed = once(connection, "close");
    for (const bytes of flood()) {
      if (connection.destroyed) break;
      if (!connection.write(bytes)) await Promise.race([once(connection, "drain").catch(() => {}), closed]);
    }
    await closed;
    expect(residentMB() - before).toBeLessThan(allowedMB);
    expect((await engine.api("GET", "/_ping")).status).toBe(200);
  });
}

test("a client that reads nothing of its build's progress holds up nobody, and leaves nothing", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, { Dockerfile: "FROM busybox\nRUN echo fine > /fine\n" });
  const connection = await upgraded(engine.socket, "/grpc");
  connection.on("error", () => {});
  // SETTINGS_INITIAL_WINDOW_SIZE 0: no answer may be sent.
  const noWindow = frame(types.settings, Buffer.from([0, 4, 0, 0, 0, 0]), { stream: 0 });
  connection.write(Buffer.concat([opening, noWindow, frame(types.headers, call, endHeaders)]));
  await peerBuild(engine.socket, { folders, exporter: { name: "fine:1" } });
  expect(await engine.must("run", "--rm", "fine:1", "cat", "/fine")).toBe("fine");
  connection.destroy();
});

test("a message that is none is refused as such", async () => {
  using calls = await PeerControl.open(engine.socket);
  // The session's id as a number.
  const failure = await failureOf(calls.call("/moby.buildkit.v1.Control/Solve", [[5, 1]]));
  expect(failure).toMatchObject({ code: 3, message: expect.stringContaining("Malformed protobuf message") });
});

test("a folder whose descriptions have no end is given up", async () => {
  await using scratch = newScratch();
  async function* endless(): AsyncGenerator<Packet> {
    for (let index = 0; ; index += 1) {
      const path = `link-${String(index).padStart(9, "0")}`;
      const told = statMessage.encode({ path, mode: 0o777 + 2 ** 27, linkname: "x" });
      // A field that nobody knows is part of what is kept.
      const stat = Buffer.concat([told, toWire([[99, Buffer.alloc(1024 * 1024)]])]);
      yield { type: 0, stat, id: 0, data: new Uint8Array(0) };
    }
  }
  const stream = { responses: endless(), write: async () => {}, end: () => {}, [Symbol.dispose]: () => {} };
  const received = receiveFolder(stream, { root: scratch.path, known: [], beforeChange: () => {} });
  expect(received).rejects.toMatchObject({ code: "resourceExhausted" });
  await received.catch(() => {});
}, 60_000);
