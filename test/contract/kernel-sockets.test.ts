import { describe, expect, test } from "bun:test";
import { readFileSync, readlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  SystemError,
  bindReserved,
  boundPort,
  closeDescriptor,
  connectUnix,
  formatEndpoint,
  listenTcp,
  receiveDescriptor,
  sendDescriptors,
  socketPair,
} from "../../src/kernel/index.ts";
import { ipv6Bytes } from "../../src/kernel/sockets.ts";
import { newScratch } from "../support/scratch.ts";

describe("descriptors sent over a socket", () => {
  test("arrive in order, as copies, with the bytes of their message", () => {
    const [near, far] = socketPair("seqpacket");
    const [left, right] = socketPair("stream");
    expect(receiveDescriptor(far)).toBeUndefined();
    sendDescriptors(near, Buffer.from("two"), [left, right]);
    sendDescriptors(near, Buffer.from("none"), []);
    const first = receiveDescriptor(far);
    expect(Buffer.from(first?.data ?? []).toString()).toBe("two");
    const [copyOfLeft = -1, copyOfRight = -1] = first?.descriptors ?? [];
    expect(readlinkSync(`/proc/self/fd/${copyOfLeft}`)).toBe(readlinkSync(`/proc/self/fd/${left}`));
    writeSync(copyOfLeft, "through the copy");
    expect(Buffer.from(receiveDescriptor(right)?.data ?? []).toString()).toBe("through the copy");
    expect(receiveDescriptor(far)).toMatchObject({ descriptors: [] });
    // Octal 02000000: nothing of ours passes to a program that is started.
    expect(readFileSync(`/proc/self/fdinfo/${copyOfRight}`, "utf8")).toMatch(/^flags:\s+02\d{6}$/m);
    for (const descriptor of [copyOfLeft, copyOfRight, left, right, near]) closeDescriptor(descriptor);
    expect(receiveDescriptor(far)?.data.length).toBe(0);
    closeDescriptor(far);
  });

  test("a message needs a byte, and a peer", () => {
    const [near, far] = socketPair("stream");
    expect(() => sendDescriptors(near, new Uint8Array(), [near])).toThrow(RangeError);
    closeDescriptor(far);
    expect(() => sendDescriptors(near, Buffer.from("x"), [])).toThrow("broken pipe");
    closeDescriptor(near);
  });
});

describe("a reserved port", () => {
  test.each(["tcp", "udp"] as const)("of %s is nobody else's, on all addresses", (protocol) => {
    const reserved = bindReserved("0.0.0.0", 0, protocol);
    const port = boundPort(reserved);
    for (const address of ["0.0.0.0", "127.0.0.1"]) {
      let refusal: unknown;
      try {
        closeDescriptor(bindReserved(address, port, protocol));
      } catch (thrown) {
        refusal = thrown;
      }
      expect(refusal).toBeInstanceOf(SystemError);
      expect((refusal as SystemError).data).toMatchObject({ errnoName: "EADDRINUSE" });
    }
    closeDescriptor(reserved);
    closeDescriptor(bindReserved("127.0.0.1", port, protocol));
  });

  test("answers no connection", async () => {
    const reserved = bindReserved("127.0.0.1", 0, "tcp");
    const socket = { data: () => undefined };
    await expect(Bun.connect({ hostname: "127.0.0.1", port: boundPort(reserved), socket })).rejects.toThrow();
    closeDescriptor(reserved);
  });

  test("of an address that is none is refused", () => {
    for (const address of ["localhost", "1.2.3", "fe80::1%lo", ""]) {
      expect(() => bindReserved(address, 80, "tcp")).toThrow(`"${address}" is not a numeric IP address`);
    }
  });
});

test("a TCP listener takes connections; an IPv6 one leaves IPv4's port alone", async () => {
  const listener = listenTcp("::1", 0);
  const port = boundPort(listener);
  closeDescriptor(bindReserved("127.0.0.1", port, "tcp"));
  const client = await Bun.connect({ hostname: "::1", port, socket: { data: () => undefined } });
  client.end();
  closeDescriptor(listener);
});

test("connectUnix reaches a listener, and says which path has none", async () => {
  await using scratch = newScratch();
  const path = join(scratch.path, "s");
  expect(() => connectUnix(path)).toThrow(`Cannot connect to "${path}": no such file or directory`);
  expect(() => connectUnix("x".repeat(108))).toThrow("must have 1 to 107 bytes");
  using listener = Bun.listen({ unix: path, socket: { data: (socket, data) => void socket.write(data) } });
  const descriptor = connectUnix(path);
  const answer = Promise.withResolvers<string>();
  const options = { fd: descriptor, socket: { data: (_: unknown, data: Buffer) => answer.resolve(data.toString()) } };
  const socket = await Bun.connect(options as unknown as Parameters<typeof Bun.connect>[0]);
  socket.write("echo");
  expect(await answer.promise).toBe("echo");
  socket.end();
  listener.stop(true);
});

test("IPv6 addresses are read in all their spellings", () => {
  const hex = (address: string) => Buffer.from(ipv6Bytes(address)).toString("hex");
  expect(hex("::")).toBe("0".repeat(32));
  expect(hex("::1")).toBe(`${"0".repeat(31)}1`);
  expect(hex("fe80::1:2")).toBe("fe800000000000000000000000010002");
  expect(hex("1:2:3:4:5:6:7:8")).toBe("00010002000300040005000600070008");
  expect(hex("::ffff:192.0.2.1")).toBe("00000000000000000000ffffc0000201");
  expect([formatEndpoint("::1", 80), formatEndpoint("1.2.3.4", 80)]).toEqual(["[::1]:80", "1.2.3.4:80"]);
});
