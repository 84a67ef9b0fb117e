import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import { newScratch } from "../../support/scratch.ts";
import { runProgram, vitrineCommand, waitFor } from "../../support/test-engine.ts";

const engine = busyboxEngine();

function write(root: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

test("our own client lends its folder: what is ignored stays at home, and the classic text is as ever", async () => {
  await using scratch = newScratch();
  write(scratch.path, {
    Dockerfile: "FROM busybox\nCOPY . /all\nRUN cd /all && find . | sort && readlink link\n",
    ".dockerignore": "*.log\nprivate/*\n!private/shown\n",
    "a.log": "no",
    "private/key": "no",
    "private/shown": "yes",
    "deep/er/file": "",
  });
  symlinkSync("/etc/passwd", join(scratch.path, "link"));
  const output = await engine.must("build", "-t", "lent", scratch.path);
  expect(output).toContain("Step 1/3 : FROM busybox\n");
  expect(output).toContain("./deep/er/file\n");
  expect(output).toContain("./private/shown\n");
  expect(output).not.toContain("a.log\n");
  expect(output).not.toContain("private/key");
  expect(output).toContain("\n/etc/passwd\n");
  expect(output).toContain("Successfully tagged lent:latest");
  expect(readdirSync(join(engine.root, "build-contexts")).length).toBeGreaterThan(0);
});

test("a Dockerfile of another folder, or of standard input, builds with the folder beside it", async () => {
  await using scratch = newScratch();
  write(scratch.path, { "context/file": "inside\n", "else/where": "FROM busybox\nCOPY file /\nRUN cat /file\n" });
  const context = join(scratch.path, "context");
  expect(await engine.must("build", "-f", join(scratch.path, "else/where"), context)).toContain("inside\n");
  const run = Bun.spawn([...vitrineCommand, "build", "--no-cache", "-f", "-", context], {
    env: { ...process.env, DOCKER_HOST: `unix://${engine.socket}` },
    stdio: [Buffer.from("FROM busybox\nCOPY file /other\nRUN cat /other\n"), "pipe", "pipe"],
  });
  expect(await new Response(run.stdout).text()).toContain("inside\n");
  expect(await run.exited).toBe(0);
});

test("secrets come from files and variables, agents from their sockets, named contexts from folders; none is in the image", async () => {
  await using scratch = newScratch();
  write(scratch.path, {
    "context/Dockerfile": [
      "FROM busybox",
      "RUN --mount=type=secret,id=file --mount=type=secret,id=variable cat /run/secrets/file /run/secrets/variable",
      "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo an-agent",
      "COPY --from=other thing /thing",
      "RUN cat /thing; ls -A /run/secrets 2>/dev/null; true",
    ].join("\n"),
    "other/thing": "of another folder\n",
    "secret.txt": "hidden-in-a-file\n",
  });
  const socketPath = join(scratch.path, "agent.sock");
  const agent = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => agent.listen(socketPath, resolve));
  const words = ["--secret", `id=file,src=${join(scratch.path, "secret.txt")}`, "--secret", "id=variable,env=SEEN"];
  const places = ["--ssh", `default=${socketPath}`, "--build-context", `other=${join(scratch.path, "other")}`];
  const { stdout, exitCode } = await runProgram(
    [...vitrineCommand, "build", "-t", "lends", ...words, ...places, join(scratch.path, "context")],
    { DOCKER_HOST: `unix://${engine.socket}`, SEEN: "hidden-in-a-variable" },
  );
  agent.close();
  expect(exitCode).toBe(0);
  expect(stdout).toContain("hidden-in-a-file\n");
  expect(stdout).toContain("hidden-in-a-variable");
  expect(stdout).toContain("an-agent\n");
  expect(stdout).toContain("of another folder\n");
  const saved = join(scratch.path, "image.tar");
  await engine.must("save", "-o", saved, "lends");
  expect(readFileSync(saved).includes("hidden-in-a")).toBe(false);
});

test("progress is plain lines, or JSON of each status, and a quiet build prints the image alone", async () => {
  await using scratch = newScratch();
  write(scratch.path, { Dockerfile: "FROM busybox\nRUN echo said; echo failed >&2\n" });
  const plain = await engine.vitrine("build", "--no-cache", "--progress", "plain", scratch.path);
  expect(plain.exitCode).toBe(0);
  expect(plain.stderr).toMatch(/^#\d+ \[2\/2\] RUN echo said; echo failed >&2$/m);
  expect(plain.stderr).toMatch(/^#\d+ \d+\.\d{3} said$/m);
  expect(plain.stderr).toMatch(/^#\d+ DONE \d+\.\ds$/m);
  const raw = await engine.vitrine("build", "--no-cache", "--progress", "rawjson", scratch.path);
  const logs = raw.stderr
    .trim()
    .split("\n")
    .flatMap((line) => (JSON.parse(line) as { logs?: { data: string }[] }).logs ?? []);
  expect(logs.map(({ data }) => Buffer.from(data, "base64").toString()).join("")).toContain("said\n");
  const quiet = await engine.vitrine("build", "--progress", "quiet", scratch.path);
  expect(quiet.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
  const unknown = await engine.vitrine("build", "--progress", "loud", scratch.path);
  expect(unknown.exitCode).not.toBe(0);
  expect(unknown.stderr).toContain('"loud"');
});

test("a client that goes away in the middle leaves no command behind", async () => {
  await using scratch = newScratch();
  write(scratch.path, { Dockerfile: "FROM busybox\nRUN echo begun && sleep 4242\n" });
  const run = Bun.spawn([...vitrineCommand, "build", "--no-cache", scratch.path], {
    env: { ...process.env, DOCKER_HOST: `unix://${engine.socket}` },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const commands = (): string[] =>
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "utf8") === "sleep\u00004242\u0000";
        } catch {
          return false;
        }
      });
  await waitFor("the command to run", () => commands().length === 1);
  run.kill("SIGINT");
  await run.exited;
  await waitFor("the command to be gone", () => commands().length === 0);
});
