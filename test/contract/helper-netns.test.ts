import { afterAll, beforeAll, expect, test } from "bun:test";
import { closeSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  closeDescriptor,
  listenTcp,
  boundPort,
  receiveDescriptor,
  sendDescriptors,
  socketPair,
} from "../../src/kernel/index.ts";
import { frame } from "../support/frames.ts";
import { sanitizedHelper } from "../support/helper-binary.ts";
import { containerOps, makeBusyboxRoot, startMonitored } from "../support/monitored.ts";
import { mountsBelow, newScratch } from "../support/scratch.ts";

const scratch = newScratch();
const folder = scratch.path;
beforeAll(() => sanitizedHelper(), 60_000);
afterAll(() => scratch[Symbol.asyncDispose]());

interface Netns extends AsyncDisposable {
  ask(...fields: string[]): Promise<{ errno: number; descriptor: number | undefined }>;
}

async function startNetns(): Promise<Netns> {
  const [ours, theirs] = socketPair("seqpacket");
  const helper = Bun.spawn([await sanitizedHelper(), "netns"], { stdio: ["ignore", "ignore", "inherit", theirs] });
  closeDescriptor(theirs);
  return {
    async ask(...fields) {
      sendDescriptors(ours, Buffer.from(fields.map((field) => `${field}\0`).join("")), []);
      let answer = receiveDescriptor(ours);
      while (!answer) {
        await Bun.sleep(1);
        answer = receiveDescriptor(ours);
      }
      return { errno: parseInt(Buffer.from(answer.data).toString(), 10), descriptor: answer.descriptors[0] };
    },
    async [Symbol.asyncDispose]() {
      closeDescriptor(ours);
      expect(await helper.exited).toBe(0);
    },
  };
}

const inNamespace = (path: string, ...words: string[]) =>
  Bun.spawnSync(["nsenter", `--net=${path}`, ...words]).stdout.toString();

test("a network namespace is made with lo up, found by its path, and removed", async () => {
  await using netns = await startNetns();
  const path = join(folder, "n1");
  expect((await netns.ask("create", path)).errno).toBe(0);
  expect(mountsBelow(path)).toEqual([path]);
  expect(inNamespace(path, "ip", "-o", "link", "show", "up")).toMatch(/^1: lo: <LOOPBACK,UP/);
  expect((await netns.ask("remove", path)).errno).toBe(0);
  expect(existsSync(path)).toBe(false);
  expect(mountsBelow(path)).toEqual([]);
});

test("a socket is born in the namespace, and the helper is back outside afterwards", async () => {
  await using netns = await startNetns();
  const path = join(folder, "n2");
  await netns.ask("create", path);
  const answer = await netns.ask("socket", path, "2", "1", "0");
  expect(answer.errno).toBe(0);
  const inode = (target: string) => Bun.spawnSync(["stat", "-Lc", "%i", target]).stdout.toString().trim();
  // SIOCGSKNS would tell; an unbound socket shows in its own namespace only once it listens.
  closeSync(answer.descriptor ?? -1);
  const second = join(folder, "n3");
  await netns.ask("create", second);
  expect(inode(second)).not.toBe(inode(path));
  expect(inode(second)).not.toBe(inode("/proc/self/ns/net"));
  await netns.ask("remove", path);
  await netns.ask("remove", second);
});

test("what cannot be done answers with its errno and leaves nothing", async () => {
  await using netns = await startNetns();
  writeFileSync(join(folder, "taken"), "");
  expect((await netns.ask("create", join(folder, "taken"))).errno).toBe(17);
  expect((await netns.ask("create", join(folder, "no/where"))).errno).toBe(2);
  expect((await netns.ask("socket", join(folder, "taken"), "2", "1", "0")).errno).toBe(22);
  expect((await netns.ask("socket", join(folder, "absent"), "2", "1", "0")).errno).toBe(2);
  expect((await netns.ask("socket", join(folder, "absent"), "2", "x", "0")).errno).toBe(22);
  expect((await netns.ask("remove", join(folder, "absent"))).errno).toBe(2);
  expect((await netns.ask("dance")).errno).toBe(22);
  expect((await netns.ask("create", ...Array<string>(20).fill("x"))).errno).toBe(22);
});

test("a relayed port copies both ways with half-close, many connections at once", async () => {
  const root = makeBusyboxRoot(folder);
  const backend = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      data: (socket, bytes) => void socket.write(Buffer.from(bytes.toString().toUpperCase())),
      end: (socket) => void socket.end("bye"),
    },
  });
  const listener = listenTcp("::1", 0);
  const settings = { "relay.0": `5 127.0.0.1 ${backend.port}` };
  await using container = await startMonitored({
    folder,
    settings,
    descriptors: [listener],
    ops: containerOps({ root, words: ["sleep", "60"] }),
  });
  const port = boundPort(listener);
  closeDescriptor(listener);
  await container.go();
  const answers = await Promise.all(
    Array.from({ length: 10 }, async (_, number) => {
      const heard: Buffer[] = [];
      await new Promise<void>((resolve, reject) => {
        void Bun.connect({
          hostname: "::1",
          port,
          allowHalfOpen: true,
          socket: {
            open: (socket) => void socket.write(`hello ${number}`),
            data: (socket, bytes) => {
              heard.push(Buffer.from(bytes));
              if (Buffer.concat(heard).toString() === `HELLO ${number}`) socket.shutdown();
            },
            end: (socket) => (socket.end(), resolve()),
            close: () => resolve(),
            error: (_socket, error) => reject(error),
          },
        }).catch(reject);
      });
      return Buffer.concat(heard).toString();
    }),
  );
  expect(answers).toEqual(answers.map((_, number) => `HELLO ${number}bye`));
  backend.stop(true);
  container.start.send(frame.signal, ["9"]);
  await container.start.untilClosed();
  await expect(Bun.connect({ hostname: "::1", port, socket: { data() {} } })).rejects.toThrow();
});

test("a relay that is not understood is refused before anything is done", async () => {
  for (const relay of [
    "5 127.0.0.1",
    "2 127.0.0.1 80",
    "5 localhost 80",
    "5 127.0.0.1 0",
    "5 127.0.0.1 80 x",
    "99 127.0.0.1 80",
  ]) {
    await using container = await startMonitored({
      folder,
      settings: { "relay.0": relay },
      ops: containerOps({ root: folder, words: ["true"] }),
    });
    expect((await container.start.next(frame.failed)).fields[2]).toBe("relay.0");
  }
});
