// Quick containers by the hundred, through docker's command line: no line, exit code or resource is lost.
import { expect, setDefaultTimeout, test } from "bun:test";
import { settledEngine } from "../support/busybox-engine.ts";
import { expectTraces } from "../support/engine-traces.ts";

setDefaultTimeout(600_000);

const { engine, before } = settledEngine();

test("200 × run --rm, eight at a time, each prints its line in both streams and ends with its code", async () => {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let number = next++; number < 200; number = next++) {
      const script = `echo out ${number}; echo err ${number} >&2; exit ${number % 120}`;
      const run = await engine.docker("run", "--rm", "busybox", "sh", "-c", script);
      expect(run).toEqual({ stdout: `out ${number}\n`, stderr: `err ${number}\n`, exitCode: number % 120 });
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  await expectTraces(engine, before);
});

test("50 × a megabyte through run -i --rm cat comes back whole", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const sent = Buffer.concat(Array.from({ length: 16 }, () => bytes));
  for (let number = 0; number < 50; number++) {
    const command = ["docker", "-H", `unix://${engine.socket}`, "run", "-i", "--rm", "busybox", "cat"];
    const run = Bun.spawn(command, { stdin: sent, stdout: "pipe", stderr: "inherit" });
    const back = Buffer.from(await new Response(run.stdout).arrayBuffer());
    expect({ exit: await run.exited, same: back.equals(sent), bytes: back.length }).toEqual({
      exit: 0,
      same: true,
      bytes: sent.length,
    });
  }
  await expectTraces(engine, before);
});
