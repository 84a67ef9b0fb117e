import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitFor } from "./test-engine.ts";
import { freePort } from "./free-port.ts";

/** Debian's docker-registry (the reference implementation) on a loopback port, with its data below a folder of the test's. */
export async function startDebianRegistry(
  folder: string,
  user?: { name: string; password: string },
): Promise<AsyncDisposable & { readonly host: string; readonly pid: number }> {
  const host = `127.0.0.1:${await freePort()}`;
  mkdirSync(folder, { recursive: true });
  const users = join(folder, "users");
  if (user)
    writeFileSync(users, `${user.name}:${await Bun.password.hash(user.password, { algorithm: "bcrypt", cost: 5 })}\n`);
  const config = {
    version: "0.1",
    log: { level: "error", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, "data") }, cache: { blobdescriptor: "inmemory" } },
    http: { addr: host, secret: "test" },
    ...(user ? { auth: { htpasswd: { realm: "test", path: users } } } : {}),
  };
  // JSON is YAML.
  writeFileSync(join(folder, "config.yml"), JSON.stringify(config));
  const server = Bun.spawn(["docker-registry", "serve", join(folder, "config.yml")], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  await waitFor("docker-registry to answer", async () => {
    if (server.exitCode !== null) throw new Error(`docker-registry ended with ${server.exitCode}`);
    return fetch(`http://${host}/v2/`).then(
      ({ status }) => status === (user ? 401 : 200),
      () => false,
    );
  });
  return {
    host,
    pid: server.pid,
    async [Symbol.asyncDispose]() {
      server.kill();
      await server.exited;
    },
  };
}
