// Agents of the client in a build's commands: OpenSSH's own programs on both ends of the connection.
import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { runProgram } from "../../support/test-engine.ts";

/** With ssh-add(1) and the libraries that it needs. */
const engine = busyboxEngine((root) => {
  const program = Bun.which("ssh-add");
  if (program === null) throw new Error("This test needs ssh-add (package openssh-client)");
  const libraries = Bun.spawnSync(["ldd", program])
    .stdout.toString()
    .matchAll(/(\/\S+) \(0x/g);
  for (const path of [program, ...[...libraries].map(([, library = ""]) => library)]) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
});

async function makeKey(path: string, passphrase: string): Promise<string> {
  const made = await runProgram(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path]);
  expect(made.exitCode).toBe(0);
  return readFileSync(`${path}.pub`, "utf8").split(" ")[1] ?? "";
}

test("a command signs by the client's key, out of a file or by an agent that runs; the key stays at home", async () => {
  await using scratch = newScratch();
  const lines = [
    "FROM busybox",
    "RUN --mount=type=ssh,id=work ssh-add -L",
    // -T signs and checks: the agent answers more than one question.
    "RUN --mount=type=ssh,id=work ssh-add -L > /key.pub && ssh-add -T /key.pub && echo signed",
  ];
  writeFileSync(join(scratch.path, "Dockerfile"), `${lines.join("\n")}\n`);
  const keys = newScratch();
  await using _ = keys;
  const file = join(keys.path, "key");
  const key = await makeKey(file, "");
  const agents = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("vitrine-agent-"));
  const before = agents();
  const byFile = await engine.vitrine("build", "--no-cache", "--ssh", `work=${file}`, scratch.path);
  expect(byFile.stderr).toBe("");
  expect(byFile.stdout).toContain(key);
  expect(byFile.stdout).toContain("signed\n");
  expect(agents()).toEqual(before);
  const socket = join(keys.path, "agent.sock");
  const agent = Bun.spawn(["ssh-agent", "-D", "-a", socket], { stdout: "ignore" });
  try {
    for (let tries = 0; (await runProgram(["ssh-add", "-q", file], { SSH_AUTH_SOCK: socket })).exitCode !== 0;) {
      if ((tries += 1) > 100) throw new Error("The agent takes no key");
    }
    const bySocket = await engine.vitrine("build", "--no-cache", "--ssh", `work=${socket}`, scratch.path);
    expect(bySocket.stdout).toContain("signed\n");
  } finally {
    agent.kill();
  }
});

test("a key with a passphrase, what is no key, and a socket beside a key are refused by name", async () => {
  await using scratch = newScratch();
  writeFileSync(join(scratch.path, "Dockerfile"), "FROM busybox\n");
  const locked = join(scratch.path, "locked");
  await makeKey(locked, "open sesame");
  const none = join(scratch.path, "none");
  writeFileSync(none, "no key\n", { mode: 0o600 });
  const refusal = async (ssh: string): Promise<string> => {
    const { exitCode, stderr } = await engine.vitrine("build", "--ssh", ssh, scratch.path);
    expect(exitCode).not.toBe(0);
    return stderr;
  };
  expect(await refusal(`default=${locked}`)).toContain(`ssh key "${locked}" has a passphrase`);
  expect(await refusal(`default=${none}`)).toContain(`ssh key "${none}" cannot be used`);
  expect(await refusal(`default=${join(scratch.path, "absent")}`)).toContain(
    "is neither an agent's socket nor a key's file",
  );
  expect(await refusal(`default=${engine.socket},${locked}`)).toContain("an agent's socket stands alone");
});
