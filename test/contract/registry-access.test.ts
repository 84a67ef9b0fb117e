import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileAccess, serveRegistry, type RegistryServer } from "../../src/registry/index.ts";
import { smallImage } from "../support/oci-layout.ts";
import { errorCode, mustBe, sendImage } from "../support/registry-calls.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let registry: RegistryServer;
let users = "";
const image = smallImage("access");
const [blob = ""] = image.blobs.keys();

beforeAll(async () => {
  scratch = newScratch();
  users = join(scratch.path, "users");
  const line = async (name: string): Promise<string> => {
    const hash = await Bun.password.hash(`${name}-secret`, { algorithm: "bcrypt", cost: 4 });
    // As Apache's htpasswd writes it.
    return `${name}:${hash.replace("$2b", "$2y")}\n`;
  };
  writeFileSync(users, `# people\n${await line("ann")}${await line("bob")}`);
  const rules = join(scratch.path, "rules");
  writeFileSync(rules, "ann * pull,push,delete\nbob team/* pull\nanonymous open/* pull\n");
  const access = new FileAccess({ htpasswdPath: users, rulesPath: rules });
  registry = await serveRegistry({ root: join(scratch.path, "root"), access });
  for (const repository of ["team/app", "open/app", "private"])
    await sendImage(as("ann"), repository, { image, tag: "v1" });
});

afterAll(async () => {
  await registry.close();
  await scratch[Symbol.asyncDispose]();
});

type Send = (path: string, options?: RequestInit) => Promise<Response>;

function as(user: string, password: string = `${user}-secret`): Send {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  return (path, options = {}) =>
    fetch(`${registry.url}${path}`, {
      ...options,
      headers: { ...(options.headers as Record<string, string>), Authorization: authorization },
    });
}

const nobody: Send = (path, options) => fetch(`${registry.url}${path}`, options);

function withToken(token: string): Send {
  return (path, options = {}) =>
    fetch(`${registry.url}${path}`, { ...options, headers: { Authorization: `Bearer ${token}` } });
}

async function tokenFor(send: Send, scope: string): Promise<string> {
  const answer = await mustBe(200, await send(`/token?service=x&scope=${scope}`));
  return ((await answer.json()) as { token: string }).token;
}

/** who, method, path, status */
const cases: readonly (readonly [string, string, string, number])[] = [
  ["nobody", "GET", "/v2/", 401],
  ["nobody", "GET", "/v2/open/app/manifests/v1", 200],
  ["nobody", "POST", "/v2/open/app/blobs/uploads/", 401],
  ["nobody", "GET", "/v2/team/app/manifests/v1", 401],
  ["bob", "GET", "/v2/", 200],
  ["bob", "GET", "/v2/team/app/manifests/v1", 200],
  ["bob", "GET", "/v2/team/app/tags/list", 200],
  ["bob", "GET", "/v2/open/app/manifests/v1", 200],
  ["bob", "GET", "/v2/private/manifests/v1", 403],
  ["bob", "GET", `/v2/private/blobs/${blob}`, 403],
  ["bob", "GET", "/v2/teamwork/manifests/v1", 403],
  ["bob", "POST", "/v2/team/app/blobs/uploads/", 403],
  ["bob", "DELETE", "/v2/team/app/manifests/v1", 403],
  ["bob", "DELETE", `/v2/team/app/blobs/${blob}`, 403],
  ["bob", "GET", `/v2/private/referrers/${image.manifestDigest}`, 403],
  ["ann", "GET", "/v2/private/manifests/v1", 200],
  ["ann", "POST", "/v2/private/blobs/uploads/", 202],
  ["wrong", "GET", "/v2/", 401],
  ["wrong", "GET", "/v2/open/app/manifests/v1", 401],
];

for (const [who, method, path, status] of cases) {
  test(`${who}: ${method} ${path.slice(0, 50)} is ${status}`, async () => {
    const send = who === "nobody" ? nobody : as(who === "wrong" ? "ann" : who, who === "wrong" ? "guess" : undefined);
    const answer = await send(path, { method });
    expect(answer.status).toBe(status);
    if (status === 401)
      expect(answer.headers.get("WWW-Authenticate")).toStartWith(`Bearer realm="${registry.url}/token"`);
    if (status > 400) expect(await errorCode(answer)).toBe(status === 401 ? "UNAUTHORIZED" : "DENIED");
  });
}

test("the challenge names the scope, its token opens exactly that, and a token that was changed opens nothing", async () => {
  const challenge = (await nobody("/v2/private/blobs/uploads/", { method: "POST" })).headers.get("WWW-Authenticate");
  expect(challenge).toContain('scope="repository:private:pull,push"');
  const token = await tokenFor(as("ann"), "repository:private:pull,push");
  const send = withToken(token);
  expect((await send("/v2/private/blobs/uploads/", { method: "POST" })).status).toBe(202);
  expect((await send("/v2/private/manifests/v1")).status).toBe(200);
  const beyond = await send("/v2/private/manifests/v1", { method: "DELETE" });
  expect([beyond.status, beyond.headers.get("WWW-Authenticate")]).toEqual([
    401,
    expect.stringContaining("insufficient_scope"),
  ]);
  expect((await send("/v2/team/app/manifests/v1")).status).toBe(401);
  const [head = "", body = "", signature = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as Record<string, unknown>;
  const forged = Buffer.from(JSON.stringify({ ...claims, exp: 9e9 })).toString("base64url");
  for (const bad of [`${head}.${forged}.${signature}`, `${head}.${body}.`, "x", "..", `${token}.y`]) {
    expect((await withToken(bad)("/v2/private/manifests/v1")).status).toBe(401);
  }
});

test("a token asked for too much holds what the rules allow, and a wrong password gets none", async () => {
  const token = await tokenFor(as("bob"), "repository:team/app:*&scope=repository:private:pull");
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { access: unknown };
  expect(claims.access).toEqual([{ type: "repository", name: "team/app", actions: ["pull"] }]);
  expect((await as("bob", "guess")("/token")).status).toBe(401);
  const body = new URLSearchParams({
    grant_type: "password",
    username: "bob",
    password: "bob-secret",
    scope: "repository:team/app:pull",
  });
  const answer = await mustBe(200, await nobody("/token", { method: "POST", body }));
  const { access_token } = (await answer.json()) as { access_token: string };
  expect((await withToken(access_token)("/v2/team/app/manifests/v1")).status).toBe(200);
});

test("a blob is mounted only from where the asker may pull", async () => {
  const rules = join(scratch.path, "rules2");
  writeFileSync(rules, "bob team/* pull,push\nann * pull,push\n");
  const access = new FileAccess({ htpasswdPath: users, rulesPath: rules });
  await using other = await serveRegistry({ root: join(scratch.path, "root2"), access });
  const call =
    (user: string): Send =>
    (path, options = {}) =>
      fetch(`${other.url}${path}`, {
        ...options,
        headers: {
          ...(options.headers as Record<string, string>),
          Authorization: `Basic ${btoa(`${user}:${user}-secret`)}`,
        },
      });
  await sendImage(call("ann"), "private", { image, tag: "v1" });
  const mount = `/v2/team/x/blobs/uploads/?mount=${blob}&from=private`;
  expect((await call("bob")(mount, { method: "POST" })).status).toBe(202);
  expect((await call("bob")(`/v2/team/x/blobs/${blob}`)).status).toBe(404);
  // Nor when no repository is named, where only others have it.
  const anonymous = mount.replace("&from=private", "");
  expect((await call("bob")(anonymous, { method: "POST" })).status).toBe(202);
  // Ann may, and her token is for the one repository: she is asked for a token for both.
  const tokenFor = async (...scopes: string[]): Promise<string> => {
    const query = scopes.map((scope) => `scope=repository:${scope}`).join("&");
    const answer = await mustBe(200, await call("ann")(`/token?${query}`));
    return ((await answer.json()) as { token: string }).token;
  };
  const mountWith = (token: string): Promise<Response> =>
    fetch(`${other.url}${mount}`, { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  const refused = await mountWith(await tokenFor("team/x:pull,push"));
  expect(refused.status).toBe(401);
  expect(refused.headers.get("WWW-Authenticate")).toContain(
    'scope="repository:team/x:pull,push repository:private:pull",error="insufficient_scope"',
  );
  expect((await mountWith(await tokenFor("team/x:pull,push", "private:pull"))).status).toBe(201);
});

test("the catalog shows a user what that user may pull", async () => {
  const list = async (send: Send): Promise<unknown> => (await mustBe(200, await send("/v2/_catalog"))).json();
  expect(await list(as("ann"))).toEqual({ repositories: ["open/app", "private", "team/app"] });
  expect(await list(as("bob"))).toEqual({ repositories: ["open/app", "team/app"] });
});

test("a user who is added may come in at once; what is no bcrypt hash is refused with its line", async () => {
  const hash = await Bun.password.hash("eve-secret", { algorithm: "bcrypt", cost: 4 });
  expect((await as("eve")("/v2/")).status).toBe(401);
  appendFileSync(users, `eve:${hash}\n`);
  expect((await as("eve")("/v2/")).status).toBe(200);
  const bad = join(scratch.path, "bad");
  writeFileSync(bad, "ann:$apr1$abc$def\n");
  expect(() => new FileAccess({ htpasswdPath: bad })).toThrow(`${bad}:1 is no user with a bcrypt hash`);
});

test("where anyone may pull, clients are still told of logins, and a token for nobody pulls and does not push", async () => {
  const access = new FileAccess({ htpasswdPath: users, anonymousPull: true });
  await using other = await serveRegistry({ root: join(scratch.path, "root3"), access, metrics: true });
  const login = { Authorization: `Basic ${btoa("ann:ann-secret")}` };
  await sendImage(
    (path, options = {}) =>
      fetch(`${other.url}${path}`, {
        ...options,
        headers: { ...(options.headers as Record<string, string>), ...login },
      }),
    "a",
    { image, tag: "v1" },
  );
  expect((await fetch(`${other.url}/v2/`)).headers.get("WWW-Authenticate")).toStartWith("Bearer realm=");
  const answer = await mustBe(200, await fetch(`${other.url}/token?scope=repository:a:pull,push`));
  const { token } = (await answer.json()) as { token: string };
  const headers = { Authorization: `Bearer ${token}` };
  expect((await fetch(`${other.url}/v2/`, { headers })).status).toBe(200);
  expect((await fetch(`${other.url}/v2/a/manifests/v1`, { headers })).status).toBe(200);
  expect((await fetch(`${other.url}/metrics`, { headers })).status).toBe(401);
  expect((await fetch(`${other.url}/metrics`, { headers: login })).status).toBe(200);
  expect((await fetch(`${other.url}/v2/a/manifests/v1`)).status).toBe(200);
  expect((await fetch(`${other.url}/v2/a/blobs/uploads/`, { method: "POST", headers })).status).toBe(401);
});
