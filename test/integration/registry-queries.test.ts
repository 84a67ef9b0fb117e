// What is asked of registries beside images: search, manifests, logins by token and by credential helpers. docker's client says how.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mediaTypes } from "../../src/spec/index.ts";
import { publish, publishIndex } from "../support/published-image.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";
import { runProgram, startTestEngine, vitrineCommand, type Outcome, type TestEngine } from "../support/test-engine.ts";

let engine: TestEngine;
let scratch: Scratch;
const clients = ["vitrine", "docker"] as const;

beforeAll(async () => {
  scratch = newScratch();
  engine = await startTestEngine();
}, 30_000);
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
}, 30_000);

/** One of the command lines, with a config folder and a path of programs of its own. */
function run(
  client: (typeof clients)[number],
  { folder, words, input = "" }: { folder: string; words: readonly string[]; input?: string },
): Promise<Outcome> {
  mkdirSync(folder, { recursive: true });
  const program = client === "vitrine" ? vitrineCommand : ["/usr/bin/timeout", "-s", "KILL", "30", "docker"];
  writeFileSync(join(folder, "input"), input);
  const environment = {
    DOCKER_HOST: `unix://${engine.socket}`,
    DOCKER_CONFIG: folder,
    PATH: `${join(folder, "programs")}:${process.env["PATH"]}`,
  };
  return runProgram(
    ["/bin/sh", "-c", `exec "$@" < "${join(folder, "input")}"`, "sh", ...program, ...words],
    environment,
  );
}

describe("search", () => {
  type Answer = (url: URL) => Response | undefined;
  let answer: Answer = () => undefined;
  let server: ReturnType<typeof Bun.serve>;
  const asked: string[] = [];

  beforeAll(() => {
    server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        const url = new URL(request.url);
        asked.push(url.pathname + url.search);
        if (url.pathname === "/v2/") return new Response("{}");
        return answer(url) ?? new Response("no", { status: 404 });
      },
    });
  });
  afterAll(() => server.stop(true));
  afterEach(() => asked.splice(0));
  const place = (): string => `127.0.0.1:${server.port}`;

  const index: Answer = (url) =>
    url.pathname === "/v1/search"
      ? Response.json({
          results: [
            { name: "app/small", description: "A small\none", star_count: 3, is_official: false },
            { name: "app/large", description: "L".repeat(60), star_count: 70, is_official: true },
          ],
        })
      : undefined;

  test.each(clients)("by %s asks Docker's index, and shows what it says", async (client) => {
    answer = index;
    const shown = await run(client, { folder: scratch.path, words: ["search", `${place()}/app`] });
    expect(shown.stdout.split("\n").map((line) => line.trimEnd().split(/ {2,}/))).toEqual([
      ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"],
      [`${place()}/app/small`, "A small one", "3"],
      [`${place()}/app/large`, `${"L".repeat(44)}…`, "70", "[OK]"],
      [""],
    ]);
    expect(asked.filter((path) => path.startsWith("/v1/"))).toEqual(["/v1/search?q=app&n=25"]);
  });

  test.each(clients)(
    "by %s filters by stars and by what is official, and refuses other filters and limits",
    async (client) => {
      answer = index;
      const names = async (...words: string[]): Promise<string> => {
        const { stdout, stderr } = await run(client, {
          folder: scratch.path,
          words: ["search", "--format", "{{.Name}}", ...words, `${place()}/app`],
        });
        return (stdout + stderr).trim();
      };
      expect(await names("-f", "stars=4")).toBe(`${place()}/app/large`);
      expect(await names("-f", "is-official=false")).toBe(`${place()}/app/small`);
      expect(await names("-f", "is-automated=true")).not.toContain("app/");
      expect(await names("--limit", "1")).toBe(`${place()}/app/small`);
      expect(await names("-f", "colour=red")).toContain("invalid filter 'colour'");
      expect(await names("-f", "stars=many")).toContain("invalid filter 'stars=many'");
      expect(await names("--limit", "101")).toContain("101 is outside the range of [1, 100]");
    },
  );

  test("of a registry without an index looks through its catalog, page by page", async () => {
    answer = (url) => {
      if (url.pathname !== "/v2/_catalog") return undefined;
      if (url.searchParams.get("last") === "b") return Response.json({ repositories: ["my/app", "other"] });
      const headers = { Link: '</v2/_catalog?last=b&n=1000>; rel="next"' };
      return Response.json({ repositories: ["app", "b"] }, { headers });
    };
    const words = ["search", "--format", "{{.Name}}", `${place()}/app`];
    expect((await run("vitrine", { folder: scratch.path, words })).stdout).toBe(`${place()}/app\n${place()}/my/app\n`);
  });

  test("of a registry that has neither is refused by name", async () => {
    answer = (url) => (url.pathname === "/v2/_catalog" ? new Response("no", { status: 403 }) : undefined);
    const refused = await run("vitrine", { folder: scratch.path, words: ["search", `${place()}/app`] });
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(
      `The registry "${place()}" cannot be searched: it has no /v1/search, and answers 403 to /v2/_catalog`,
    );
  });
});

test("manifest inspect says the same as docker's client, of a list, an image and an attested one, short and verbose", async () => {
  await using registry = await RegistryFixture.start();
  const one = await publish(registry, { tag: "one", config: { architecture: "amd64" } });
  const two = await publish(registry, { tag: "two", config: { architecture: "arm64" } });
  publishIndex(registry, {
    tag: "list",
    entries: [
      { digest: one.digest, architecture: "amd64" },
      { digest: two.digest, architecture: "arm64" },
    ],
  });
  publishAttested(registry, await publish(registry, { tag: "oci", kind: "oci" }));
  for (const words of [["one"], ["-v", "one"], ["list"], ["-v", "list"], ["attested"], ["-v", "attested"]]) {
    const all = ["manifest", "inspect", "--insecure", ...words.slice(0, -1), `${registry.host}/app:${words.at(-1)}`];
    const theirs = await run("docker", { folder: join(scratch.path, "manifest"), words: all });
    const ours = await run("vitrine", { folder: join(scratch.path, "manifest"), words: all });
    expect([theirs.exitCode, ours.stderr]).toEqual([0, ""]);
    expect(ours.stdout).toBe(theirs.stdout);
  }
  const none = await run("vitrine", {
    folder: scratch.path,
    words: ["manifest", "inspect", `${registry.host}/app:no`],
  });
  expect([none.exitCode, none.stderr]).toEqual([1, expect.stringContaining("manifest unknown")]);
});

/** An index of an image and of a manifest that no image has, as BuildKit writes both, as `app:attested`. */
function publishAttested(registry: RegistryFixture, { digest }: { digest: string }): void {
  const put = (tag: string, document: { schemaVersion: 2; mediaType: string; [member: string]: unknown }): object => {
    const bytes = Buffer.from(JSON.stringify(document));
    const name = registry.putManifest("app", tag, { bytes, mediaType: document.mediaType });
    return { mediaType: document.mediaType, digest: name, size: bytes.length };
  };
  const statement = Buffer.from("{}");
  const blob = { digest: registry.putBlob("app", statement), size: statement.length };
  const attestation = put("statements", {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: "application/vnd.oci.empty.v1+json", ...blob },
    layers: [{ mediaType: "application/vnd.in-toto+json", ...blob }],
  });
  const image = {
    mediaType: mediaTypes.ociManifest,
    digest,
    size: registry.manifests.get(`app/manifests/${digest}`)?.bytes.length,
    platform: { architecture: "amd64", os: "linux" },
  };
  const platform = { architecture: "unknown", os: "unknown" };
  put("attested", {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [image, { ...attestation, platform }],
  });
}

describe.each(clients)("a login by %s at a registry with refresh tokens", (client) => {
  test("keeps the token in place of the password, and pulls by it", async () => {
    await using registry = await RegistryFixture.start({
      kind: "token",
      user: "ann",
      password: "secret",
      refreshToken: "refresh-me",
    });
    await publish(registry);
    const folder = join(scratch.path, client, "token");
    const login = ["login", "-u", "ann", "--password-stdin", registry.host];
    const { stdout } = await run(client, { folder, words: login, input: "secret\n" });
    expect(stdout).toContain("Login Succeeded");
    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    expect(config.auths[registry.host].identitytoken).toBe("refresh-me");
    expect(Buffer.from(config.auths[registry.host].auth ?? "", "base64").toString()).not.toContain("secret");
    const pulled = await run(client, { folder, words: ["pull", `${registry.host}/app:v1`] });
    expect(pulled.stdout).toContain("Downloaded newer image");
    expect(registry.count(/^POST .*\/token/)).toBeGreaterThan(0);
    await engine.must("tag", `${registry.host}/app:v1`, `${registry.host}/app:v2`);
    expect((await run(client, { folder, words: ["push", `${registry.host}/app:v2`] })).exitCode).toBe(0);
    await engine.must("rmi", `${registry.host}/app:v1`, `${registry.host}/app:v2`);
  });
});

/** A helper as docker-credential-helpers' protocol has it, which writes down how it was called, and keeps each server in a file. */
const helperScript = `#!/bin/sh
kept="$0.d"; mkdir -p "$kept"; input=$(cat)
echo "$1 $input" >> "$0.calls"
case "$1" in
  store) server=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); printf %s "$input" > "$kept/$(printf %s "$server" | tr /: __)";;
  get) cat "$kept/$(printf %s "$input" | tr /: __)" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
  erase) rm -f "$kept/$(printf %s "$input" | tr /: __)";;
  list) echo "{}";;
esac
`;

describe.each(clients)("credential helpers with %s", (client) => {
  function prepare(name: string, config: unknown, helpers: readonly string[]): string {
    const folder = join(scratch.path, client, name);
    mkdirSync(join(folder, "programs"), { recursive: true });
    for (const helper of helpers) {
      const path = join(folder, "programs", `docker-credential-${helper}`);
      writeFileSync(path, helperScript);
      chmodSync(path, 0o755);
    }
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    return folder;
  }
  const calls = (folder: string, helper: string): string[] => {
    const path = join(folder, "programs", `docker-credential-${helper}.calls`);
    return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
  };

  test("credsStore keeps a login, gives it to a pull, and forgets it at logout", async () => {
    await using registry = await RegistryFixture.start({ kind: "basic", user: "ann", password: "secret" });
    await publish(registry);
    const folder = prepare("store", { credsStore: "fake" }, ["fake"]);
    const words = ["login", "-u", "ann", "--password-stdin", registry.host];
    expect((await run(client, { folder, words, input: "secret" })).stdout).toContain("Login Succeeded");
    expect(readFileSync(join(folder, "config.json"), "utf8")).not.toContain(
      Buffer.from("ann:secret").toString("base64"),
    );
    expect((await run(client, { folder, words: ["pull", "-q", `${registry.host}/app:v1`] })).exitCode).toBe(0);
    await run(client, { folder, words: ["logout", registry.host] });
    // docker's client would ask for a user here, and wait.
    const again = await run("vitrine", { folder, words: ["pull", `${registry.host}/app:v1`] });
    expect([again.exitCode, again.stderr]).toEqual([1, expect.stringContaining("no basic auth credentials")]);
    const verbs = calls(folder, "fake").map((line) => line.split(" ")[0]);
    expect(verbs).toContain("store");
    expect(verbs).toContain("get");
    expect(verbs).toContain("erase");
    await engine.must("rmi", `${registry.host}/app:v1`);
  });

  test("credHelpers stand before credsStore for their registry, and a refresh token is kept as one", async () => {
    await using registry = await RegistryFixture.start({
      kind: "token",
      user: "ann",
      password: "secret",
      refreshToken: "refresh-me",
    });
    await publish(registry);
    const config = { credsStore: "other", credHelpers: { [registry.host]: "own" } };
    const folder = prepare("helpers", config, ["own", "other"]);
    const words = ["login", "-u", "ann", "--password-stdin", registry.host];
    expect((await run(client, { folder, words, input: "secret" })).stdout).toContain("Login Succeeded");
    const stored = calls(folder, "own").find((line) => line.startsWith("store ")) ?? "";
    expect(JSON.parse(stored.slice("store ".length))).toEqual({
      ServerURL: registry.host,
      Username: "<token>",
      Secret: "refresh-me",
    });
    expect(calls(folder, "other").filter((line) => line.startsWith("store"))).toEqual([]);
    expect((await run(client, { folder, words: ["pull", "-q", `${registry.host}/app:v1`] })).exitCode).toBe(0);
    await engine.must("rmi", `${registry.host}/app:v1`);
  });

  test("a helper that is not there is named", async () => {
    const folder = prepare("missing", { credsStore: "none" }, []);
    const words = ["login", "-u", "ann", "--password-stdin", "127.0.0.1:1"];
    const refused = await run(client, { folder, words, input: "secret" });
    expect(refused.exitCode).toBe(1);
  });
});
