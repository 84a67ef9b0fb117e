// curl as the client, by TLS: what it sees is what any HTTP client sees.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileAccess, serveRegistry, type RegistryServer } from "../../src/registry/index.ts";
import { sha256 } from "../support/oci-layout.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let registry: RegistryServer;
const at = (name: string): string => join(scratch.path, name);
const content = Buffer.alloc(3_000_000, crypto.randomUUID());
const digest = sha256(content);
const login = ["-u", "ann:secret"];

beforeAll(async () => {
  scratch = newScratch();
  const hash = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 4 });
  writeFileSync(at("users"), `ann:${hash}\n`);
  writeFileSync(at("blob"), content);
  const names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
  const make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  Bun.spawnSync([...make, "-addext", names, "-keyout", at("key.pem"), "-out", at("ca.crt")]);
  registry = await serveRegistry({
    root: at("registry"),
    access: new FileAccess({ htpasswdPath: at("users") }),
    tls: { certificate: readFileSync(at("ca.crt"), "utf8"), key: readFileSync(at("key.pem"), "utf8") },
  });
});

afterAll(async () => {
  await registry.close();
  await scratch[Symbol.asyncDispose]();
});

async function curl(...words: string[]): Promise<{ status: number; output: string; exitCode: number }> {
  const command = ["curl", "-sS", "--max-time", "20", "--cacert", at("ca.crt"), "-w", "\n%{http_code}", ...words];
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "pipe"] });
  const [text, exitCode] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  const end = text.lastIndexOf("\n");
  return { status: Number(text.slice(end + 1)), output: text.slice(0, end), exitCode };
}

/** Headers that curl was given, by their names in lower case. */
async function heads(...words: string[]): Promise<Record<string, string>> {
  const { output } = await curl("-o", at("body"), "-D", "-", ...words);
  const lines = output.split("\r\n").filter((line) => line.includes(": "));
  return Object.fromEntries(
    lines.map((line) => [line.split(": ")[0]?.toLowerCase(), line.slice(line.indexOf(": ") + 2)]),
  );
}

test("a certificate that nobody vouches for is refused by the client, plain HTTP and old TLS by the server", async () => {
  const stranger = Bun.spawn(["curl", "-s", `${registry.url}/v2/`], { stdio: ["ignore", "ignore", "ignore"] });
  expect(await stranger.exited).toBe(60);
  expect((await curl(`http://127.0.0.1:${registry.port}/v2/`)).exitCode).not.toBe(0);
  expect((await curl("--tls-max", "1.1", `${registry.url}/v2/`)).exitCode).toBe(35);
  expect((await curl(...login, `${registry.url}/v2/`)).status).toBe(200);
});

test("a token by its endpoint opens what its scope names, and the challenge leads there by https", async () => {
  const challenge = await heads(`${registry.url}/v2/team/app/tags/list`);
  expect(challenge["www-authenticate"]).toContain(`Bearer realm="https://127.0.0.1:${registry.port}/token"`);
  const scope = "repository:team/app:pull,push";
  const { output } = await curl(...login, `${registry.url}/token?service=vitrine+registry&scope=${scope}`);
  const { token } = JSON.parse(output) as { token: string };
  const post = (repository: string): ReturnType<typeof curl> =>
    curl("-X", "POST", "-H", `Authorization: Bearer ${token}`, `${registry.url}/v2/${repository}/blobs/uploads/`);
  expect((await post("team/app")).status).toBe(202);
  expect((await post("team/other")).status).toBe(401);
});

test("a blob goes up as a stream without a length and comes down whole, by ranges, and not at all when it is known", async () => {
  const begun = await heads(...login, "-X", "POST", `${registry.url}/v2/team/app/blobs/uploads/`);
  const upload = `${registry.url}${begun.location}`;
  const stream = ["-H", "Transfer-Encoding: chunked", "-H", "Content-Type: application/octet-stream", "-X", "PATCH"];
  expect((await curl(...login, ...stream, "-T", at("blob"), upload)).status).toBe(202);
  expect((await curl(...login, "-X", "PUT", `${upload}?digest=${digest}`)).status).toBe(201);
  const blob = `${registry.url}/v2/team/app/blobs/${digest}`;
  const whole = await heads(...login, blob);
  expect(whole["docker-content-digest"]).toBe(digest);
  expect(sha256(readFileSync(at("body")))).toBe(digest);
  const part = await heads(...login, "-r", "1000-1999", blob);
  expect(part["content-range"]).toBe(`bytes 1000-1999/${content.length}`);
  expect(readFileSync(at("body"))).toEqual(content.subarray(1000, 2000));
  // RFC 9110 lets a server ignore several ranges: then all of it comes.
  expect((await curl(...login, "-r", "0-1,5-6", "-o", at("body"), blob)).status).toBe(200);
  expect(sha256(readFileSync(at("body")))).toBe(digest);
  expect((await curl(...login, "-H", `If-None-Match: "${digest}"`, blob)).status).toBe(304);
  // A download that was cut goes on where it was.
  writeFileSync(at("half"), content.subarray(0, 1_234_567));
  expect((await curl(...login, "-C", "-", "-o", at("half"), blob)).status).toBe(206);
  expect(sha256(readFileSync(at("half")))).toBe(digest);
});

for (const path of [
  "/v2/team/app/blobs/../../../../registry.db",
  "/v2/../registry.db",
  "/v2/team/app/blobs/..%2f..%2f..%2fregistry.db",
  "/v2/team/app/blobs/uploads/..%2f..%2fregistry.db",
  "/v2/team/..%2f..%2fapp/manifests/v1",
  "/v2/team/app/manifests/..%2f..%2ftoken.key",
  "/v2/team/app/blobs/sha256:..%2f..%2f..%2ftoken.key",
  "//v2/%2e%2e/%2e%2e/token.key",
]) {
  test(`no path leaves the store: ${path}`, async () => {
    const { status, output } = await curl(...login, "--path-as-is", `${registry.url}${path}`);
    expect([400, 404]).toContain(status);
    expect(output).toContain('"errors"');
  });
}
