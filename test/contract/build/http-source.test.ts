import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { httpAuthorization } from "../../../src/build/http-authorization.ts";
import { HttpSource } from "../../../src/build/http-source.ts";
import { EngineError, Paths } from "../../../src/common/index.ts";
import { newScratch } from "../../support/scratch.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A web server on a loopback port whose answer the test sets; it remembers what was asked. */
async function serve(answer: Answer): Promise<AsyncDisposable & { url: string; seen: string[]; answer: Answer }> {
  const server = createServer((request, response) => {
    served.seen.push(`${request.method} ${request.url}`);
    served.answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const served = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [] as string[],
    answer,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return served;
}

function newSource(folder: string, limits: ConstructorParameters<typeof HttpSource>[0]["limits"] = {}): HttpSource {
  const paths = new Paths(join(folder, "root"), join(folder, "run"));
  mkdirSync(paths.temporary, { recursive: true });
  return new HttpSource({ db: new Database(":memory:"), paths, limits: { firstBackOffMs: 1, ...limits } });
}

const leftIn = (folder: string): string[] => readdirSync(join(folder, "root", "tmp"));

function sha256sum(path: string): string {
  return `sha256:${Bun.spawnSync(["sha256sum", path]).stdout.toString().slice(0, 64)}`;
}

async function digestTwice(source: HttpSource, url: string): Promise<void> {
  for (let round = 0; round < 2; round++) await (await source.open({ url }))[Symbol.asyncDispose]();
}

async function failure(work: Promise<unknown>): Promise<EngineError> {
  const error: unknown = await work.then(
    () => new Error("It was to fail and did not"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof EngineError) return error;
  throw error;
}

test("a download has the digest, the name and the time that the server's file has, and is deleted when it is let go", async () => {
  await using scratch = newScratch();
  await using server = await serve((_, response) => {
    response.setHeader("Last-Modified", "Wed, 01 Jan 2020 10:00:00 GMT");
    response.end("hello\n");
  });
  const source = newSource(scratch.path);
  writeFileSync(join(scratch.path, "same"), "hello\n");
  {
    await using download = await source.open({ url: `${server.url}/dir/app.txt?token=1#part` });
    expect(download.digest).toBe(sha256sum(join(scratch.path, "same")));
    expect(download.fileName).toBe("app.txt");
    expect(new Date(download.lastModifiedMs ?? 0).toISOString()).toBe("2020-01-01T10:00:00.000Z");
    const path = await download.file();
    expect(sha256sum(path)).toBe(download.digest);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(server.seen).toEqual(["GET /dir/app.txt?token=1"]);
  }
  expect(leftIn(scratch.path)).toEqual([]);
});

test("a file is named by Content-Disposition, never with a way out of its folder", async () => {
  await using scratch = newScratch();
  const names: [header: string | undefined, path: string, name: string][] = [
    ['attachment; filename="report v2.txt"', "/x", "report v2.txt"],
    ["attachment; filename*=UTF-8''na%C3%AFve.txt; filename=plain", "/x", "naïve.txt"],
    ['attachment; filename="../../etc/passwd"', "/x", "passwd"],
    ['attachment; filename=".."', "/x.tar", "x.tar"],
    ['attachment; filename="a\tb"', "/x.tar", "x.tar"],
    [undefined, "/", "download"],
    [undefined, "/a/%2e%2e%2fb%2fc.txt", "c.txt"],
    [undefined, "/caf%C3%A9", "café"],
  ];
  await using server = await serve(() => {});
  for (const [header, path, name] of names) {
    server.answer = (_, response) => {
      if (header !== undefined) response.setHeader("Content-Disposition", header);
      response.end("x");
    };
    await using download = await newSource(scratch.path).open({ url: server.url + path });
    expect(download.fileName).toBe(name);
  }
});

test("a file that its ETag calls unchanged is not downloaded again until its bytes are needed", async () => {
  await using scratch = newScratch();
  let text = "one";
  await using server = await serve((request, response) => {
    response.setHeader("ETag", `"${text}"`);
    if (request.headers["if-none-match"] === `"${text}"`) response.writeHead(304).end();
    else response.end(request.method === "HEAD" ? undefined : text);
  });
  const source = newSource(scratch.path);
  const url = `${server.url}/file`;
  const digests: string[] = [];
  for (const next of ["one", "one", "two"]) {
    text = next;
    await using download = await source.open({ url });
    digests.push(download.digest);
  }
  expect(server.seen).toEqual(["GET /file", "HEAD /file", "HEAD /file", "GET /file"]);
  expect(digests[1]).toBe(digests[0] ?? "");
  expect(digests[2]).not.toBe(digests[0] ?? "");

  await using again = await source.open({ url });
  server.seen.length = 0;
  expect(await Bun.file(await again.file()).text()).toBe("two");
  expect(server.seen).toEqual(["GET /file"]);
});

test("a time of modification stands for the content only when it is a minute older than the answer", async () => {
  await using scratch = newScratch();
  let modified = new Date(Date.now() - 3600_000);
  await using server = await serve((request, response) => {
    response.setHeader("Last-Modified", modified.toUTCString());
    response.end(request.method === "HEAD" ? undefined : "content");
  });
  const source = newSource(scratch.path);
  await digestTwice(source, `${server.url}/old`);
  modified = new Date();
  await digestTwice(source, `${server.url}/new`);
  expect(server.seen).toEqual(["GET /old", "HEAD /old", "GET /new", "GET /new"]);
});

test("a checksum asks for nothing until the bytes are needed, and other bytes are refused", async () => {
  await using scratch = newScratch();
  await using server = await serve((_, response) => void response.end("hello\n"));
  const source = newSource(scratch.path);
  writeFileSync(join(scratch.path, "same"), "hello\n");
  const checksum = sha256sum(join(scratch.path, "same"));
  const url = `${server.url}/file`;
  await using right = await source.open({ url, checksum });
  expect([right.digest, ...server.seen]).toEqual([checksum]);
  expect(await Bun.file(await right.file()).text()).toBe("hello\n");

  const zeros = `sha256:${"0".repeat(64)}`;
  await using wrong = await source.open({ url, checksum: zeros });
  const before = leftIn(scratch.path);
  const error = await failure(wrong.file());
  expect(error.message).toBe(`digest mismatch for ${url}: ${checksum} (expected: ${zeros})`);
  expect(leftIn(scratch.path)).toEqual(before);
  expect((await failure(source.open({ url, checksum: "md5:1" }))).code).toBe("invalidArgument");
});

test("no other scheme than http and https is read, by name or by a redirect", async () => {
  await using scratch = newScratch();
  await using server = await serve(
    (_, response) => void response.writeHead(302, { Location: "file:///etc/passwd" }).end(),
  );
  const source = newSource(scratch.path);
  for (const url of ["file:///etc/passwd", "ftp://host/x", "unix:/run/x.sock", "not a url", "data:,x"]) {
    expect([url, (await failure(source.open({ url }))).code]).toEqual([url, "invalidArgument"]);
  }
  const error = await failure(source.open({ url: `${server.url}/x` }));
  expect(error.code).toBe("permissionDenied");
  expect(error.message).toBe(
    `Cannot download "${server.url}/x": it redirects to "file:", and only http and https are followed`,
  );
});

test("redirects are followed to their limit, and what authorises is shown to the first server only", async () => {
  await using scratch = newScratch();
  const shown: (string | undefined)[] = [];
  await using other = await serve((request, response) => {
    shown.push(request.headers.authorization);
    response.end("there");
  });
  await using server = await serve((request, response) => {
    shown.push(request.headers.authorization);
    const location = request.url === "/loop" ? "/loop" : `${other.url}/end.txt`;
    response.writeHead(307, { Location: location }).end();
  });
  const source = newSource(scratch.path, { redirects: 3 });
  const { port } = new URL(server.url);
  {
    await using download = await source.open({ url: `http://me:pass%20word@127.0.0.1:${port}/start` });
    expect(await Bun.file(await download.file()).text()).toBe("there");
    expect(download.fileName).toBe("start");
  }
  expect(shown).toEqual([`Basic ${Buffer.from("me:pass word").toString("base64")}`, undefined]);
  const error = await failure(source.open({ url: `${server.url}/loop` }));
  expect(error.message).toContain("it redirects more than 3 times");
});

test("a refusal says the status, without what a query may hide, and a passing one is asked again", async () => {
  await using scratch = newScratch();
  let failures = 2;
  await using server = await serve((request, response) => {
    if (request.url?.startsWith("/missing")) response.writeHead(404).end("no");
    else if (failures-- > 0) response.writeHead(503).end();
    else response.end("at last");
  });
  const source = newSource(scratch.path);
  const error = await failure(source.open({ url: `${server.url}/missing?secret=1` }));
  expect(error.code).toBe("notFound");
  expect(error.message).toBe(`Cannot download "${server.url}/missing": the server answered 404 Not Found`);
  await using download = await source.open({ url: `${server.url}/flaky` });
  expect(await Bun.file(await download.file()).text()).toBe("at last");
  expect(server.seen.filter((line) => line.endsWith("/flaky"))).toHaveLength(3);
});

test("a download that is too large, cut short or silent ends with its reason and leaves nothing", async () => {
  await using scratch = newScratch();
  await using server = await serve((request, response) => {
    if (request.url === "/large") response.end("x".repeat(5000));
    else if (request.url === "/endless") {
      const more = (): void => void (response.destroyed || response.write("x".repeat(4096), more));
      more();
    } else if (request.url === "/cut") {
      response.writeHead(200, { "Content-Length": "1000" });
      response.write("part", () => response.destroy());
    } else if (request.url === "/silent") response.writeHead(200).write("part");
  });
  const source = newSource(scratch.path, { sizeBytes: 4500, attempts: 1 });
  const impatient = newSource(scratch.path, { idleTimeoutMs: 300, attempts: 1 });
  const words = async (path: string, by = source): Promise<string> =>
    (await failure(by.open({ url: server.url + path }))).message;
  expect(await words("/large")).toBe(`Cannot download "${server.url}/large": it is larger than 4500 bytes`);
  expect(await words("/endless")).toBe(`Cannot download "${server.url}/endless": it is larger than 4500 bytes`);
  expect(await words("/cut")).toStartWith(`Cannot download "${server.url}/cut": `);
  expect(await words("/silent", impatient)).toBe(`Cannot download "${server.url}/silent": nothing came for 0.3 s`);
  expect(await words("/mute", impatient)).toBe(`Cannot download "${server.url}/mute": no answer within 0.3 s`);
  expect(leftIn(scratch.path)).toEqual([]);
});

test("an unknown host and a closed port are named", async () => {
  await using scratch = newScratch();
  const source = newSource(scratch.path, { attempts: 2 });
  const unknown = await failure(source.open({ url: "http://no-such-host.invalid/x" }));
  expect([unknown.code, unknown.message.startsWith('Cannot download "http://no-such-host.invalid/x": ')]).toEqual([
    "unavailable",
    true,
  ]);
  let closed = "";
  {
    await using server = await serve(() => {});
    closed = server.url;
  }
  const refused = await failure(source.open({ url: `${closed}/x` }));
  expect([refused.code, refused.message]).toEqual([
    "unavailable",
    `Cannot download "${closed}/x": connection to ${new URL(closed).host} refused`,
  ]);
});

test("secrets of the client authorise at their host only", async () => {
  const secrets = new Map([
    ["HTTP_AUTH_TOKEN_example.com", "token\n"],
    ["HTTP_AUTH_HEADER_other.example", "Basic eHg="],
    ["HTTP_AUTH_TOKEN_lines.example", "one\ntwo"],
  ]);
  const secret = async (id: string): Promise<Uint8Array | undefined> => {
    const text = secrets.get(id);
    return text === undefined ? undefined : Buffer.from(text);
  };
  expect(await httpAuthorization("https://example.com:8443/x", secret)).toBe("Bearer token");
  expect(await httpAuthorization("https://other.example/x", secret)).toBe("Basic eHg=");
  expect(await httpAuthorization("https://elsewhere.example/x", secret)).toBeUndefined();
  expect((await failure(httpAuthorization("https://lines.example/", secret))).code).toBe("invalidArgument");
  await using scratch = newScratch();
  const shown: (string | undefined)[] = [];
  await using server = await serve((request, response) => {
    shown.push(request.headers.authorization);
    response.end("x");
  });
  await using _ = await newSource(scratch.path).open({ url: `${server.url}/x`, authorization: "Bearer token" });
  expect(shown).toEqual(["Bearer token"]);
});

test("a cancelled download stops and leaves nothing", async () => {
  await using scratch = newScratch();
  const abort = new AbortController();
  await using server = await serve((_, response) => {
    response.write("part", () => abort.abort(new EngineError("cancelled", "The client has left")));
  });
  const error = await failure(newSource(scratch.path).open({ url: `${server.url}/x` }, abort.signal));
  expect(error.code).toBe("cancelled");
  expect(leftIn(scratch.path)).toEqual([]);
});
