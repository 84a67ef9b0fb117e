// The classic page in Python and Flask: Debian's packages, on a base made with debootstrap. Needs Debian's mirror.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { makeDebianBase } from "../../scripts/make-debian-base.ts";
import { TestEngine, vitrineCommand, waitFor } from "../support/test-engine.ts";

const engine = new TestEngine();
const timeoutMs = 240_000;

beforeAll(() => engine.start());
afterAll(() => engine[Symbol.asyncDispose](), 60_000);

test(
  "a base made with debootstrap is Debian with apt alone, and making it leaves nothing behind",
  async () => {
    await makeDebianBase({
      reference: "vitrine/debian",
      suite: "bookworm",
      vitrine: vitrineCommand,
      environment: { DOCKER_HOST: `unix://${engine.socket}` },
    });
    expect(await engine.must("run", "--rm", "vitrine/debian", "cat", "/etc/debian_version")).toStartWith("12.");
    const python = await engine.vitrine("run", "--rm", "vitrine/debian", "python3", "--version");
    expect(python.exitCode).toBe(127);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith("vitrine-debian-"))).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("vitrine-debian-");
  },
  timeoutMs,
);

test(
  "the example builds: apt-get and pip install what the base lacks",
  async () => {
    const output = await engine.must("build", "-t", "helloworld-python", "examples/helloworld-python");
    expect(output).toContain("Step 3/8 : RUN apt-get update");
    expect(output).toContain("Successfully installed helloworld-1.0");
    expect(output).toContain("Successfully tagged helloworld-python:latest");
  },
  timeoutMs,
);

test(
  "its page greets, tells its hostname, and escapes what the environment says",
  async () => {
    const page = async (name: string, ...flags: string[]): Promise<string> => {
      await engine.must("run", "-d", "--name", name, ...flags, "helloworld-python");
      const { IPAddress: address } = (await engine.inspect(name)).NetworkSettings;
      const fetched = () => fetch(`http://${address}:80`).catch(() => undefined);
      await waitFor("the page", async () => (await fetched())?.ok === true, 60_000);
      return (await (await fetched())?.text()) ?? "";
    };
    const hostname = async (name: string) => (await engine.inspect(name)).Config.Hostname;
    expect(await page("plain")).toBe(`<h3>Hello World!</h3><b>Hostname:</b> ${await hostname("plain")}<br/>`);
    expect(await page("named", "-e", "NAME=<b>")).toContain("<h3>Hello &lt;b&gt;!</h3>");
    await engine.must("stop", "plain");
    expect((await engine.inspect("plain")).State.ExitCode).toBe(0);
  },
  timeoutMs,
);
