// Whom a client of registries trusts, and what it shows to whom.
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { choosePlatform, parsePlatform, RepositoryClient, serveRegistry } from "../../src/registry/index.ts";
import { parseChallenges } from "../../src/registry/client-auth.ts";
import { checkInsecureRegistry, isInsecure } from "../../src/registry/client-settings.ts";
import { mediaTypes, type Platform } from "../../src/spec/index.ts";
import { RegistryFixture } from "../support/registry-fixture.ts";
import { newScratch } from "../support/scratch.ts";

describe("a challenge", () => {
  const cases: readonly (readonly [header: string, challenges: unknown])[] = [
    ['Basic realm="a, b"', [["basic", { realm: "a, b" }]]],
    [
      'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"',
      [["bearer", { realm: "https://auth.example/token", service: "registry", scope: "repository:a/b:pull,push" }]],
    ],
    [
      'BEARER Realm=x, Basic realm="y\\"z"',
      [
        ["bearer", { realm: "x" }],
        ["basic", { realm: 'y"z' }],
      ],
    ],
    [
      "Negotiate, Basic realm=r",
      [
        ["negotiate", {}],
        ["basic", { realm: "r" }],
      ],
    ],
    ["", []],
    ["=,=", []],
  ];
  for (const [header, expected] of cases) {
    test(`${JSON.stringify(header)} is read`, () => {
      const found = parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
      expect(found).toEqual(expected as typeof found);
    });
  }
});

describe("a registry may speak in the clear", () => {
  const insecureRegistries = ["reg.example:5000", "plain.example", "10.1.0.0/16"];
  const cases: readonly (readonly [domain: string, may: boolean])[] = [
    ["localhost", true],
    ["localhost:5000", true],
    ["127.9.8.7:1", true],
    ["[::1]:5000", true],
    ["reg.example:5000", true],
    ["reg.example:5001", false],
    ["plain.example:99", true],
    ["10.1.255.1:5000", true],
    ["10.2.0.1:5000", false],
    ["localhost.example", false],
    ["docker.io", false],
  ];
  for (const [domain, may] of cases) {
    test(`${domain}: ${may}`, () => {
      expect(isInsecure(domain, { insecureRegistries, certificatesDirectory: "/none" })).toBe(may);
    });
  }

  test("only where the daemon was told a host or a range", () => {
    for (const entry of insecureRegistries) checkInsecureRegistry(entry);
    for (const entry of ["http://x", "10.0.0.0/33", "a/b", ""])
      expect(() => checkInsecureRegistry(entry)).toThrow("neither");
  });
});

describe("of an index", () => {
  const entry = (platform: Platform | undefined, number: number) => ({
    mediaType: mediaTypes.ociManifest,
    digest: `sha256:${String(number).repeat(64)}`,
    size: 1,
    ...(platform ? { platform } : {}),
  });
  const manifests = [
    entry({ os: "unknown", architecture: "unknown" }, 0),
    entry({ os: "linux", architecture: "arm", variant: "v6" }, 1),
    entry({ os: "linux", architecture: "arm", variant: "v7" }, 2),
    entry({ os: "linux", architecture: "arm64", variant: "v8" }, 3),
    entry({ os: "windows", architecture: "amd64" }, 4),
    entry({ os: "linux", architecture: "amd64" }, 5),
  ];
  const cases: readonly (readonly [wanted: string, number: number | undefined])[] = [
    ["linux/amd64", 5],
    ["amd64", 5],
    ["linux/x86_64", 5],
    ["linux/arm/v7", 2],
    ["linux/arm64", 3],
    ["linux/arm64/v8", 3],
    ["linux/s390x", undefined],
  ];
  for (const [wanted, number] of cases) {
    test(`${wanted} is entry ${number}`, () => {
      const choose = () => choosePlatform({ schemaVersion: 2, manifests }, parsePlatform(wanted)).digest[7];
      if (number === undefined) expect(choose).toThrow("no matching manifest for linux/s390x");
      else expect(choose()).toBe(String(number));
    });
  }
});

describe("a registry with TLS", () => {
  test("is spoken to by the authority in its folder, and not without it", async () => {
    await using scratch = newScratch();
    const at = (name: string): string => join(scratch.path, name);
    // Reaches this machine, and is no loopback address by name: certificates count.
    const hostname = "0.0.0.0";
    const made = Bun.spawnSync(
      ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"].concat([
        "-addext",
        `subjectAltName=IP:${hostname}`,
        "-keyout",
        at("key.pem"),
        "-out",
        at("ca.pem"),
      ]),
    );
    expect(made.exitCode).toBe(0);
    await using registry = await serveRegistry({
      root: at("registry"),
      hostname,
      tls: { certificate: readFileSync(at("ca.pem"), "utf8"), key: readFileSync(at("key.pem"), "utf8") },
    });
    const domain = `${hostname}:${registry.port}`;
    const settings = { insecureRegistries: [], certificatesDirectory: at("certs.d") };
    const client = (insecureRegistries: string[]) =>
      new RepositoryClient({ domain, path: "app", settings: { ...settings, insecureRegistries }, actions: "pull" });
    const missing = { data: { status: 404 } };
    expect(await refusal(client([]))).toMatchObject({ code: "unavailable" });
    expect(await refusal(client([domain]))).toMatchObject(missing);
    mkdirSync(at(`certs.d/${domain}`), { recursive: true });
    writeFileSync(at(`certs.d/${domain}/ca.crt`), readFileSync(at("ca.pem")));
    expect(await refusal(client([]))).toMatchObject(missing);
    writeFileSync(at(`certs.d/${domain}/client.cert`), "x");
    expect(await refusal(client([]))).toMatchObject({ message: expect.stringContaining("missing key client.key") });
  });

  test("is not believed when it sends a client to plain HTTP", async () => {
    await using plain = await RegistryFixture.start();
    const certificate = Bun.spawnSync([
      "sh",
      "-c",
      "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=t -keyout - 2>/dev/null",
    ]).stdout.toString();
    using secure = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: certificate, key: certificate },
      fetch: () => Response.redirect(`http://0.0.0.0:${plain.host.split(":")[1]}/v2/`, 307),
    });
    const settings = { insecureRegistries: [], certificatesDirectory: "/none" };
    const client = new RepositoryClient({ domain: `127.0.0.1:${secure.port}`, path: "app", settings, actions: "pull" });
    expect(await refusal(client)).toMatchObject({
      code: "permissionDenied",
      message: expect.stringContaining("plain HTTP"),
    });
    expect(plain.seen).toEqual([]);
  });
});

async function refusal(client: RepositoryClient): Promise<unknown> {
  return client.manifest("none").then(
    () => "it was there",
    (error: unknown) => error,
  );
}
