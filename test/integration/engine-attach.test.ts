// What a container prints and reads: nothing is lost between it and its clients, fast ones, slow ones, and those that come early.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { ContainerCreateRequest } from "../../src/spec/index.ts";
import { Hijacked, demultiplex, textOf } from "../support/api-client.ts";
import { engineLeftAsItWas } from "../support/busybox-engine.ts";
import { waitFor } from "../support/test-engine.ts";

setDefaultTimeout(60_000);

const engine = engineLeftAsItWas();

async function create(request: ContainerCreateRequest): Promise<string> {
  const response = await engine.api("POST", "/containers/create", { Image: "busybox", ...request });
  if (response.status !== 201) throw new Error(await response.text());
  return ((await response.json()) as { Id: string }).Id;
}

async function start(id: string): Promise<void> {
  const response = await engine.api("POST", `/containers/${id}/start`);
  if (response.status !== 204) throw new Error(await response.text());
}

async function ended(id: string): Promise<void> {
  await (await engine.api("POST", `/containers/${id}/wait`)).text();
}

async function remove(id: string): Promise<void> {
  expect((await engine.api("DELETE", `/containers/${id}?force=1&v=1`)).status).toBe(204);
}

function attach(id: string, query = "stream=1&stdin=1&stdout=1&stderr=1"): Promise<Hijacked> {
  return Hijacked.open(engine, `/containers/${id}/attach?${query}`);
}

function docker(...words: string[]): string[] {
  return ["docker", "-H", `unix://${engine.socket}`, ...words];
}

/** Lines of 1 KiB, numbered, so that a lost or doubled one shows. */
const twentyMegabytes = [
  "sh",
  "-c",
  `i=10000001; while [ $i -le 10020000 ]; do echo $i ${"x".repeat(1000)}; i=$((i+1)); done`,
];

describe("a client that came before the start", () => {
  test("sees every byte of a process that ends at once, in both streams", async () => {
    const id = await create({ Cmd: ["sh", "-c", "echo out; echo err >&2; exit 3"] });
    const client = await attach(id, "stream=1&stdout=1&stderr=1");
    await start(id);
    const pieces = demultiplex(await client.output);
    expect(textOf(pieces, "stdout")).toBe("out\n");
    expect(textOf(pieces, "stderr")).toBe("err\n");
    await remove(id);
  });

  test("is let go when the start fails, and when the container is removed", async () => {
    const broken = await create({ Cmd: ["no-such-program"] });
    const first = await attach(broken);
    expect((await engine.api("POST", `/containers/${broken}/start`)).status).toBe(400);
    expect((await first.output).length).toBe(0);
    const second = await attach(broken);
    await remove(broken);
    expect((await second.output).length).toBe(0);
  });

  test("may send its input together with the request", async () => {
    const id = await create({ Cmd: ["cat"], OpenStdin: true, StdinOnce: true });
    const client = await attach(id);
    client.socket.write("early\n");
    await start(id);
    await waitFor("the echo", () => client.text.includes("early\n"));
    client.socket.end("late\n");
    expect(textOf(demultiplex(await client.output))).toBe("early\nlate\n");
    await remove(id);
  });
});

test("fast exits through docker's command line lose nothing, many at once", async () => {
  const runs = Array.from({ length: 16 }, async (_, index) => {
    const { stdout, exitCode } = await engine.docker(
      "run",
      "--rm",
      "busybox",
      "sh",
      "-c",
      `echo line ${index}; exit ${index}`,
    );
    expect({ stdout, exitCode }).toEqual({ stdout: `line ${index}\n`, exitCode: index });
  });
  await Promise.all(runs);
});

test("megabytes piped through docker run -i come back unchanged", async () => {
  const sent = crypto.getRandomValues(new Uint8Array(65_536));
  const bytes = Buffer.concat(Array.from({ length: 64 }, () => sent));
  const run = Bun.spawn(docker("run", "-i", "--rm", "busybox", "cat"), {
    stdin: bytes,
    stdout: "pipe",
    stderr: "inherit",
  });
  const back = Buffer.from(await new Response(run.stdout).arrayBuffer());
  expect(await run.exited).toBe(0);
  expect(back.length).toBe(bytes.length);
  expect(back.equals(bytes)).toBe(true);
});

async function readSlowly(client: Hijacked, meanwhile: () => Promise<void>): Promise<string> {
  client.socket.pause();
  await meanwhile();
  client.socket.resume();
  return textOf(demultiplex(await client.output));
}

function expectNumbered(text: string, count: number): void {
  const lines = text.split("\n");
  expect(lines.length - 1).toBe(count);
  expect(lines.findIndex((line, index) => index < count && Number(line.slice(1, 8)) !== index + 1)).toBe(-1);
}

/** Each line once and in order; says the first that is not, instead of all of them. */
function expectNumbers(text: string, first: number, last: number): void {
  const lines = text.split("\n").slice(0, -1);
  const wrong = lines.findIndex((line, index) => line !== `number ${first + index}`);
  expect({ wrong, there: lines[wrong], count: lines.length }).toEqual({
    wrong: -1,
    there: undefined,
    count: last - first + 1,
  });
}

describe("a client that reads nothing for a while", () => {
  test("gets all of 20 MB, and does not hold up the container, since the log has it", async () => {
    const id = await create({ Cmd: twentyMegabytes });
    const client = await attach(id, "stream=1&stdout=1&stderr=1");
    const text = await readSlowly(client, async () => {
      await start(id);
      await waitFor(
        "the container to end all the same",
        async () => (await engine.inspect(id)).State.Status === "exited",
        40_000,
      );
    });
    expectNumbered(text, 20_000);
    await remove(id);
  });

  test("gets what its monitor still held when the container ended", async () => {
    const id = await create({ Cmd: twentyMegabytes.map((word) => word.replace("10020000", "10000900")) });
    const client = await attach(id, "stream=1&stdout=1&stderr=1");
    const text = await readSlowly(client, async () => {
      await start(id);
      await ended(id);
      // Longer than any patience that a monitor could be tempted to have with it.
      await Bun.sleep(2500);
    });
    expectNumbered(text, 900);
    await remove(id);
  });

  test("with --rm gets all of 20 MB before the container and its log go", async () => {
    const id = await create({ Cmd: twentyMegabytes, HostConfig: { AutoRemove: true } });
    const client = await attach(id, "stream=1&stdout=1&stderr=1");
    const text = await readSlowly(client, async () => {
      await start(id);
      await waitFor("the end", async () => (await engine.inspect(id)).State.Status === "exited", 40_000);
    });
    expectNumbered(text, 20_000);
    await waitFor("its removal", async () => (await engine.api("GET", `/containers/${id}/json`)).status === 404);
  });

  test("gets each line once through many rotations of the log, the last of them after it fell behind", async () => {
    const id = await create({
      Cmd: ["sh", "-c", "seq 1 300000 | sed 's/^/number /'"],
      HostConfig: { LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "40" } } },
    });
    const client = await attach(id, "stream=1&stdout=1&stderr=1");
    const text = await readSlowly(client, async () => {
      await start(id);
      await ended(id);
    });
    expectNumbers(text, 1, 300_000);
    await remove(id);
  });

  test("without a log the container waits for it, and nothing is lost", async () => {
    const id = await create({ Cmd: twentyMegabytes, HostConfig: { LogConfig: { Type: "none" } } });
    const client = await attach(id, "stream=1&stdout=1&stderr=1");
    const text = await readSlowly(client, async () => {
      await start(id);
      const { Pid } = (await engine.inspect(id)).State;
      await waitFor("the container to wait", async () => {
        const wchan = await Bun.file(`/proc/${Pid}/wchan`)
          .text()
          .catch(() => "");
        return wchan.includes("pipe_write") || wchan.includes("wait");
      });
      expect((await engine.inspect(id)).State.Running).toBe(true);
    });
    expectNumbered(text, 20_000);
    await remove(id);
  });
});

describe("a terminal", () => {
  test("echoes, has the size that was asked for, and can be left by keys and entered again", async () => {
    const id = await create({ Cmd: ["sh"], Tty: true, OpenStdin: true, HostConfig: { ConsoleSize: [31, 91] } });
    const first = await attach(id);
    await start(id);
    first.socket.write("stty size\n");
    await waitFor("the size at the start", () => first.text.includes("31 91"));
    first.socket.write("x=kept\n\x10");
    first.socket.write("\x11ignored\n");
    await first.output;
    expect((await engine.inspect(id)).State.Running).toBe(true);
    const second = await attach(id, "stream=1&stdin=1&stdout=1&detachKeys=ctrl-x,x");
    second.socket.write("echo $x-$x\n");
    await waitFor("the shell of before", () => second.text.includes("kept-kept"));
    second.socket.write("\x18x");
    await second.output;
    expect((await engine.api("POST", `/containers/${id}/attach?stream=1&detachKeys=ctrl-nothing`)).status).toBe(400);
    await remove(id);
  });

  test("docker run -it detaches by ctrl-p ctrl-q and leaves the container running", async () => {
    let shown = "";
    const run = Bun.spawn(docker("run", "-it", "--name", "typed", "busybox", "sh"), {
      terminal: {
        cols: 77,
        rows: 22,
        data: (_: unknown, data: Uint8Array) => void (shown += Buffer.from(data).toString()),
      },
    });
    await waitFor("a prompt", () => shown.includes("# "));
    run.terminal?.write("stty size; echo $((6*7))\r");
    await waitFor("its answer", () => shown.includes("22 77") && shown.includes("42\r\n"));
    run.terminal?.write("\x10\x11");
    await run.exited;
    const { State, Id } = await engine.inspect("typed");
    expect(State.Running).toBe(true);
    await remove(Id);
  });
});

describe("logs", () => {
  const logs = async (id: string, query: string): Promise<string> => {
    const response = await engine.api("GET", `/containers/${id}/logs?stdout=1&stderr=1&${query}`);
    return textOf(demultiplex(new Uint8Array(await response.arrayBuffer())));
  };

  test("--tail, --since, --until and -t choose lines", async () => {
    const id = await create({ Cmd: ["sh", "-c", "echo 1; echo 2; sleep 0.3; echo 3; printf 4"] });
    await start(id);
    await ended(id);
    expect(await logs(id, "")).toBe("1\n2\n3\n4");
    expect(await logs(id, "tail=2")).toBe("3\n4");
    expect(await logs(id, "tail=0")).toBe("");
    expect(await logs(id, "tail=all")).toBe("1\n2\n3\n4");
    const stamped = (await logs(id, "timestamps=1")).split("\n");
    expect(stamped.map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z /, ""))).toEqual([
      "1",
      "2",
      "3",
      "4",
    ]);
    const third = Date.parse((stamped[2] ?? "").slice(0, 24).replace(/Z? .*/, "").slice(0, 23) + "Z") / 1000;
    expect(await logs(id, `since=${(third - 0.1).toFixed(3)}`)).toBe("3\n4");
    expect(await logs(id, `until=${(third - 0.1).toFixed(3)}`)).toBe("1\n2\n");
    expect(await logs(id, "stderr=0")).toBe("1\n2\n3\n4");
    await remove(id);
  });

  test("-f follows to the end, from before the first line or from the middle, and over a restart of the container", async () => {
    const id = await create({ Cmd: ["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"] });
    await start(id);
    const followed = await logs(id, "follow=1");
    expect(followed).toBe("1\n2\n3\n4\n5\n");
    await ended(id);
    await start(id);
    expect(await logs(id, "follow=1&tail=0")).toMatch(/^(1\n)?(2\n)?3\n4\n5\n$/);
    expect(await logs(id, "")).toBe(followed + followed);
    await remove(id);
  });

  test("rotate by max-size and keep max-file files, and readers lose nothing that is kept", async () => {
    const id = await create({
      Cmd: ["sh", "-c", "for i in $(seq 1 4000); do echo number $i; done"],
      HostConfig: { LogConfig: { Type: "json-file", Config: { "max-size": "20k", "max-file": "3" } } },
    });
    await start(id);
    await ended(id);
    const folder = `${engine.root}/containers/${id}`;
    const files = [`${id}.log`, `${id}.log.1`, `${id}.log.2`].map((name) => Bun.file(`${folder}/${name}`));
    for (const file of files) expect(file.size).toBeLessThanOrEqual(20_000);
    expect(await Bun.file(`${folder}/${id}.log.3`).exists()).toBe(false);
    const lines = (await logs(id, "")).trim().split("\n");
    expect(lines.at(-1)).toBe("number 4000");
    const first = Number((lines[0] ?? "").slice("number ".length));
    expectNumbers(await logs(id, ""), first, 4000);
    expect(await logs(id, "tail=900")).toBe(`${lines.slice(-900).join("\n")}\n`);
    await remove(id);
  });

  test("attach with logs gives what was printed before and all that follows, through rotations", async () => {
    const id = await create({
      Cmd: ["sh", "-c", "seq 1 500 | sed 's/^/number /'; read go; seq 501 3000 | sed 's/^/number /'"],
      OpenStdin: true,
      HostConfig: { LogConfig: { Type: "json-file", Config: { "max-size": "40k", "max-file": "9" } } },
    });
    await start(id);
    await waitFor("the first lines", async () => (await logs(id, "")).endsWith("number 500\n"));
    const client = await attach(id, "stream=1&logs=1&stdin=1&stdout=1&stderr=1");
    await waitFor("what was printed before", () => client.text.endsWith("number 500\n"));
    client.socket.write("go\n");
    expectNumbers(textOf(demultiplex(await client.output)), 1, 3000);
    await remove(id);
  });

  test("-f through rotations gives each line once", async () => {
    const id = await create({
      Cmd: ["sh", "-c", "sleep 0.3; for i in $(seq 1 3000); do echo number $i; done"],
      HostConfig: { LogConfig: { Type: "json-file", Config: { "max-size": "40k", "max-file": "9" } } },
    });
    await start(id);
    expectNumbers(await logs(id, "follow=1"), 1, 3000);
    await remove(id);
  });
});
