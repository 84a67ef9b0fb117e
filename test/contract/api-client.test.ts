import { expect, test } from "bun:test";
import { join } from "node:path";
import { ApiClient, parseAddress, pathPart, readFrames, readJsonLines } from "../../src/api/client/index.ts";
import type { EngineError } from "../../src/common/index.ts";
import { newScratch } from "../support/scratch.ts";

async function* bytes(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}

/** A raw server: what arrives is given to `answer`, whose text goes back as it is. */
function rawServer(path: string, answer: (request: string, write: (text: string) => void, end: () => void) => void) {
  const requests: string[] = [];
  const listener = Bun.listen({
    unix: path,
    socket: {
      data(socket, data) {
        requests.push(data.toString());
        answer(
          data.toString(),
          (text) => socket.write(text),
          () => socket.end(),
        );
      },
    },
  });
  return { requests, [Symbol.dispose]: () => listener.stop(true) };
}

const ping = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";

test("the lower of both API versions is spoken, over one connection", async () => {
  await using scratch = newScratch();
  const path = join(scratch.path, "s");
  using server = rawServer(path, (request, write) => {
    write(
      request.startsWith("GET /_ping")
        ? ping
        : 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
    );
  });
  using client = new ApiClient({ kind: "unix", path });
  expect(await client.get<{ a: number }>("/x", { all: true, names: ["a b", "c"], none: undefined })).toEqual({ a: 1 });
  expect(server.requests[1]).toStartWith("GET /v1.41/x?all=1&names=a+b&names=c HTTP/1.1\r\n");
});

test("an engine's refusal carries its message, code and status", async () => {
  await using scratch = newScratch();
  const path = join(scratch.path, "s");
  using _server = rawServer(path, (_request, write) => {
    write('HTTP/1.1 409 Conflict\r\nContent-Length: 28\r\n\r\n{"message":"name is in use"}');
  });
  using client = new ApiClient({ kind: "unix", path }, { apiVersion: "1.51" });
  const failure = (await client.post("/containers/create").catch((thrown: unknown) => thrown)) as EngineError;
  expect(failure).toMatchObject({
    code: "conflict",
    message: "name is in use",
    data: { status: 409, fromEngine: true },
  });
});

test("an upload that the engine refuses early ends with the engine's reason, not with a broken pipe", async () => {
  await using scratch = newScratch();
  const path = join(scratch.path, "s");
  using _server = rawServer(path, (_request, write, end) => {
    write('HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\n{"message":"bad"}');
    end();
  });
  using client = new ApiClient({ kind: "unix", path }, { apiVersion: "1.51" });
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield new Uint8Array(65_536);
  }
  expect(client.call("POST", "/build", { upload: endless() })).rejects.toThrow("bad");
});

test("a connection that breaks within an answer is an error, not a short answer", async () => {
  await using scratch = newScratch();
  const path = join(scratch.path, "s");
  using _server = rawServer(path, (_request, write, end) => {
    write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
    end();
  });
  using client = new ApiClient({ kind: "unix", path }, { apiVersion: "1.51" });
  expect(client.get("/x")).rejects.toThrow("unexpected EOF");
});

test("frames are taken apart wherever the stream was cut", async () => {
  const stream = Buffer.from([1, 0, 0, 0, 0, 0, 0, 3, 97, 98, 99, 2, 0, 0, 0, 0, 0, 0, 2, 100, 101]);
  for (let size = 1; size <= stream.length; size++) {
    const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, index) =>
      stream.subarray(index * size, (index + 1) * size),
    );
    const got = { stdout: "", stderr: "" };
    for await (const frame of readFrames(bytes(...pieces))) got[frame.stream] += Buffer.from(frame.data).toString();
    expect(got).toEqual({ stdout: "abc", stderr: "de" });
  }
  const broken = (async () => {
    for await (const _frame of readFrames(bytes(stream.subarray(0, 10)))) continue;
  })();
  expect(broken).rejects.toThrow("unexpected EOF");
});

test("JSON objects are read whether lines end between them or not", async () => {
  const objects: unknown[] = [];
  for await (const object of readJsonLines(bytes('{"a":"é', '"}\n{"b":2}{"c":3}\r\n', '{"d":4}'))) objects.push(object);
  expect(objects).toEqual([{ a: "é" }, { b: 2 }, { c: 3 }, { d: 4 }]);
});

test("addresses are docker's, and what is not built is refused by name", () => {
  expect(parseAddress("unix:///run/x.sock")).toEqual({ kind: "unix", path: "/run/x.sock" });
  expect(parseAddress("/run/x.sock")).toEqual({ kind: "unix", path: "/run/x.sock" });
  expect(parseAddress("tcp://10.0.0.1:99")).toEqual({ kind: "tcp", host: "10.0.0.1", port: 99 });
  expect(parseAddress("tcp://[::1]:99")).toEqual({ kind: "tcp", host: "::1", port: 99 });
  expect(parseAddress("localhost:1")).toEqual({ kind: "tcp", host: "localhost", port: 1 });
  expect(() => parseAddress("ssh://me@host")).toThrow("ssh:// is not built yet");
  expect(() => parseAddress("tcp://host:99999")).toThrow("unable to parse docker host");
});

test("a name cannot climb out of its place in a path", () => {
  expect(pathPart("vitrine/base:latest")).toBe("vitrine/base:latest");
  expect(pathPart("../x?y#z")).toBe("%2E%2E/x%3Fy%23z");
});
