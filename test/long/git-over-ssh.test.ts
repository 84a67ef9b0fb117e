import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseGitReference } from "../../src/build/git-reference.ts";
import { GitSource } from "../../src/build/git-source.ts";
import { EngineError, Paths } from "../../src/common/index.ts";
import { commit } from "../support/git-server.ts";
import { newScratch } from "../support/scratch.ts";
import { freePort } from "../support/free-port.ts";

function run(...command: string[]): string {
  const result = Bun.spawnSync(command);
  if (result.exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${result.stderr.toString()}`);
  return result.stdout.toString();
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error("It did not come true within 10 s");
  }
}

/** sshd(8) on a loopback port, which lets in by one key, and an agent with that key. */
async function serveSsh(
  folder: string,
  port: number,
): Promise<AsyncDisposable & { agent: string; newHostKey(): void }> {
  const key = join(folder, "key");
  const host = join(folder, "host");
  for (const path of [key, host]) run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path);
  writeFileSync(join(folder, "authorized"), readFileSync(`${key}.pub`));
  const lines = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${host}`,
    `AuthorizedKeysFile ${join(folder, "authorized")}`,
    `PidFile ${join(folder, "pid")}`,
    "PasswordAuthentication no",
    "PermitRootLogin yes",
    "StrictModes no",
    "UsePAM no",
  ];
  writeFileSync(join(folder, "sshd_config"), `${lines.join("\n")}\n`);
  mkdirSync("/run/sshd", { recursive: true });
  const agent = join(folder, "agent");
  const start = (): Bun.Subprocess =>
    Bun.spawn(["/usr/sbin/sshd", "-D", "-e", "-f", join(folder, "sshd_config")], {
      stdio: ["ignore", "ignore", "ignore"],
    });
  const keeper = Bun.spawn(["ssh-agent", "-D", "-a", agent], { stdio: ["ignore", "ignore", "ignore"] });
  const server = start();
  await until(() => existsSync(agent) && existsSync(join(folder, "pid")));
  const added = Bun.spawnSync(["ssh-add", "-q", key], { env: { ...process.env, SSH_AUTH_SOCK: agent } });
  if (added.exitCode !== 0) throw new Error(added.stderr.toString());
  return {
    agent,
    newHostKey() {
      run("rm", host, `${host}.pub`);
      run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host);
      process.kill(server.pid, "SIGHUP");
    },
    async [Symbol.asyncDispose]() {
      for (const child of [server, keeper]) {
        child.kill();
        await child.exited;
      }
    },
  };
}

test("a repository comes by ssh with the client's agent, and a host whose key has changed is refused", async () => {
  await using scratch = newScratch();
  const paths = new Paths(join(scratch.path, "root"), join(scratch.path, "run"));
  mkdirSync(paths.temporary, { recursive: true });
  const id = commit(join(scratch.path, "app"), { file: "by ssh" });
  const port = await freePort();
  await using server = await serveSsh(scratch.path, port);
  const source = new GitSource({ paths });
  const reference = parseGitReference(`ssh://root@127.0.0.1:${port}${scratch.path}/app/.git`);
  if (!reference) throw new Error("It is a repository");
  const request = { reference, sshAgent: server.agent };
  const found = await source.find(request);
  expect(found.commit).toBe(id);
  {
    await using checkout = await source.checkout(request, found);
    expect(readFileSync(join(checkout.root, "file"), "utf8")).toBe("by ssh");
  }
  expect(readFileSync(join(paths.root, "ssh_known_hosts"), "utf8")).toContain(`[127.0.0.1]:${port} `);

  server.newHostKey();
  let error: unknown;
  // sshd takes its new key up a moment after the signal.
  for (let attempt = 0; attempt < 100 && error === undefined; attempt++) {
    error = await source.find(request).then(
      () => Bun.sleep(50),
      (thrown: unknown) => (String(thrown).includes("Connection refused") ? Bun.sleep(50) : thrown),
    );
  }
  expect(error).toBeInstanceOf(EngineError);
  expect(String(error)).toContain("Host key verification failed");
}, 60_000);
