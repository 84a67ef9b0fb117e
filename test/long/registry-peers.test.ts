// docker, podman, skopeo and curl push to our registry and pull from it, with users and TLS. Each is Debian's package.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileAccess, serveRegistry, type RegistryServer } from "../../src/registry/index.ts";
import { startHostDockerd } from "../support/host-dockerd.ts";
import { smallImage, writeLayout } from "../support/oci-layout.ts";
import { newScratch, type Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let registry: RegistryServer;
const image = smallImage("peers");
const undo = new AsyncDisposableStack();

async function run(...command: string[]): Promise<string> {
  const child = Bun.spawn(["timeout", "-s", "KILL", "60", ...command], { stdio: ["ignore", "pipe", "pipe"] });
  const [status, output, words] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (status !== 0) throw new Error(`${command.join(" ")}: ${words}${output}`);
  return output.trim();
}

beforeAll(async () => {
  scratch = undo.use(newScratch());
  const at = (name: string): string => join(scratch.path, name);
  const hash = await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 4 });
  writeFileSync(at("users"), `ann:${hash}\n`);
  const names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
  const make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  await run(...make, "-addext", names, "-keyout", at("key.pem"), "-out", at("ca.crt"));
  registry = await serveRegistry({
    root: at("registry"),
    access: new FileAccess({ htpasswdPath: at("users") }),
    tls: { certificate: readFileSync(at("ca.crt"), "utf8"), key: readFileSync(at("key.pem"), "utf8") },
  });
  undo.defer(() => registry.close());
  mkdirSync(at("certs"));
  writeFileSync(at("certs/ca.crt"), readFileSync(at("ca.crt")));
  writeLayout(at("layout"), { image, tag: "v1" });
  const login = ["--dest-creds", "ann:secret", "--dest-cert-dir", at("certs")];
  await run("skopeo", "copy", ...login, `oci:${at("layout")}:v1`, `docker://localhost:${registry.port}/team/app:v1`);
});

afterAll(() => undo.disposeAsync());

test("skopeo: what comes back has the bytes that went in; a copy is mounted; a tag is deleted; without a login nothing is given", async () => {
  const at = (name: string): string => join(scratch.path, name);
  const here = `docker://localhost:${registry.port}`;
  const from = ["--src-creds", "ann:secret", "--src-cert-dir", at("certs")];
  const to = ["--dest-creds", "ann:secret", "--dest-cert-dir", at("certs")];
  const one = ["--creds", "ann:secret", "--cert-dir", at("certs")];
  await run("skopeo", "copy", ...from, `${here}/team/app:v1`, `oci:${at("back")}:v1`);
  await run("diff", "-r", at("layout/blobs"), at("back/blobs"));
  await run("skopeo", "copy", ...from, ...to, `${here}/team/app:v1`, `${here}/other/app:v2`);
  expect(await run("skopeo", "list-tags", ...one, `${here}/other/app`)).toContain('"v2"');
  const format = ["--format", "{{.Digest}}"];
  expect(await run("skopeo", "inspect", ...one, ...format, `${here}/other/app:v2`)).toBe(image.manifestDigest);
  await run("skopeo", "delete", ...one, `${here}/other/app:v2`);
  expect(await run("skopeo", "list-tags", ...one, `${here}/other/app`)).not.toContain('"v2"');
  await expect(run("skopeo", "inspect", "--cert-dir", at("certs"), `${here}/team/app:v1`)).rejects.toThrow(
    "unauthorized",
  );
});

test("podman: logs in, pulls, pushes under another name, and the image has the same id", async () => {
  const at = (name: string): string => join(scratch.path, name);
  const folders = ["--root", at("p"), "--runroot", at("pr"), "--storage-driver", "vfs"];
  const podman = (...words: string[]): Promise<string> => run("podman", ...folders, ...words);
  const flags = ["--cert-dir", at("certs"), "--authfile", at("podman-auth.json")];
  const here = `localhost:${registry.port}`;
  await podman("login", ...flags, "-u", "ann", "-p", "secret", here);
  const id = (await podman("pull", ...flags, `${here}/team/app:v1`)).split("\n").at(-1) ?? "";
  const [config = ""] = image.blobs.keys();
  expect(`sha256:${id}`).toBe(config);
  await podman("tag", id, `${here}/podman/app:v1`);
  await podman("push", ...flags, `${here}/podman/app:v1`);
  const inspect = ["inspect", "--creds", "ann:secret", "--cert-dir", at("certs"), "--config", "--raw"];
  expect(await run("skopeo", ...inspect, `docker://${here}/podman/app:v1`)).toBe(
    Buffer.from(image.blobs.get(config) ?? []).toString(),
  );
});

test("docker: logs in, pulls, pushes with its layer mounted, and the config has the bytes that it had", async () => {
  const at = (name: string): string => join(scratch.path, name);
  const plain = await serveRegistry({ root: at("plain"), access: new FileAccess({ htpasswdPath: at("users") }) });
  undo.defer(() => plain.close());
  const here = `127.0.0.1:${plain.port}`;
  await run(
    "skopeo",
    "copy",
    "--dest-creds",
    "ann:secret",
    "--dest-tls-verify=false",
    `oci:${at("layout")}:v1`,
    `docker://${here}/team/app:v1`,
  );
  const dockerd = undo.use(await startHostDockerd());
  const docker = (...words: string[]): Promise<string> => dockerd.docker(...words);
  await docker("login", "-u", "ann", "-p", "secret", here);
  await docker("pull", "-q", `${here}/team/app:v1`);
  const [config = ""] = image.blobs.keys();
  expect(await docker("image", "inspect", "--format", "{{.Id}}", `${here}/team/app:v1`)).toBe(config);
  await docker("tag", `${here}/team/app:v1`, `${here}/docker/app:v1`);
  expect(await docker("push", `${here}/docker/app:v1`)).toContain("Mounted from team/app");
  expect(await docker("push", `${here}/docker/app:v1`)).toContain("Layer already exists");
  const inspect = ["inspect", "--creds", "ann:secret", "--tls-verify=false", "--config", "--raw"];
  expect(await run("skopeo", ...inspect, `docker://${here}/docker/app:v1`)).toBe(
    Buffer.from(image.blobs.get(config) ?? []).toString(),
  );
});

test("skopeo and podman: where anyone may pull, they pull without a login and push with one", async () => {
  const at = (name: string): string => join(scratch.path, name);
  const access = new FileAccess({ htpasswdPath: at("users"), anonymousPull: true });
  await using open = await serveRegistry({ root: at("open"), access });
  const name = `docker://localhost:${open.port}/open/app:v1`;
  const push = ["skopeo", "copy", "--dest-tls-verify=false", `oci:${at("layout")}:v1`, name];
  await expect(run(...push)).rejects.toThrow("unauthorized");
  await run(...push.toSpliced(2, 0, "--dest-creds", "ann:secret"));
  const folders = ["--root", at("p2"), "--runroot", at("p2r"), "--storage-driver", "vfs"];
  const [config = ""] = image.blobs.keys();
  const pull = ["podman", ...folders, "pull", "-q", "--tls-verify=false", name];
  expect(`sha256:${await run(...pull)}`).toBe(config);
});

test("docker and podman pull through a cache, and again when the registry behind it is gone; a push to it is refused by name", async () => {
  const at = (name: string): string => join(scratch.path, name);
  const upstream = await serveRegistry({ root: at("behind") });
  undo.defer(() => upstream.close());
  const layout = `oci:${at("layout")}:v1`;
  await run("skopeo", "copy", "--dest-tls-verify=false", layout, `docker://127.0.0.1:${upstream.port}/team/app:v1`);
  const cacheOptions = { url: upstream.url, ttlMs: 3_600_000 };
  await using cache = await serveRegistry({ root: at("cache"), upstream: cacheOptions });
  const name = `127.0.0.1:${cache.port}/team/app:v1`;
  const [config = ""] = image.blobs.keys();
  const dockerd = undo.use(await startHostDockerd());
  const folders = ["--root", at("p3"), "--runroot", at("p3r"), "--storage-driver", "vfs"];
  for (const turn of ["first", "cached"]) {
    if (turn === "cached") await upstream.close();
    expect(await dockerd.docker("pull", name)).toContain(`Digest: ${image.manifestDigest}`);
    expect(await dockerd.docker("image", "inspect", "--format", "{{.Id}}", name)).toBe(config);
    expect(`sha256:${await run("podman", ...folders, "pull", "-q", "--tls-verify=false", name)}`).toBe(config);
    if (turn === "first") {
      await dockerd.docker("rmi", name);
      await run("podman", ...folders, "rmi", "-f", name);
    }
  }
  await expect(dockerd.docker("push", name)).rejects.toThrow(
    `This registry is a cache of "127.0.0.1:${upstream.port}"`,
  );
}, 120_000);
