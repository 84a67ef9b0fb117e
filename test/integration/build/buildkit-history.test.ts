// What is kept of builds after they ended, and after the engine did.
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { contextIn, failureOf } from "../../support/buildkit-context.ts";
import { peerBuild, PeerControl, StatusRecord } from "../../support/buildkit-peer.ts";
import { busyboxEngine } from "../../support/busybox-engine.ts";
import type { WireReader } from "../../support/protobuf-wire.ts";
import { newScratch } from "../../support/scratch.ts";
import { runProgram, waitFor } from "../../support/test-engine.ts";

const engine = busyboxEngine();
const control = "/moby.buildkit.v1.Control";

async function records(): Promise<WireReader[]> {
  using calls = await PeerControl.open(engine.socket);
  const events = await calls.call(`${control}/ListenBuildHistory`, [[3, true]]);
  return events.flatMap((event) => event.message(2) ?? []);
}

/** What Status tells of a build: of one that ended, all that it told. */
async function told(ref: string): Promise<StatusRecord["told"]> {
  using calls = await PeerControl.open(engine.socket);
  const record = new StatusRecord();
  await calls.listen(`${control}/Status`, [[1, ref]], { take: (one) => record.take(one) });
  return record.told;
}

test("builds, their progress and how they ended are there after a restart; one that the engine's end cut short says so", async () => {
  await using scratch = newScratch();
  const folders = contextIn(scratch.path, {
    Dockerfile: "FROM busybox\nMAINTAINER me\nRUN echo printed-$((40 + 2))\n",
    Failing: "FROM busybox\nRUN exit 9\n",
    Slow: "FROM busybox\nRUN echo up && sleep 7171\n",
  });
  await peerBuild(engine.socket, { folders, direct: true, exporter: { name: "kept:1" } });
  await failureOf(peerBuild(engine.socket, { folders, direct: true, frontendOptions: { filename: "Failing" } }));
  const slow = peerBuild(engine.socket, { folders, direct: true, frontendOptions: { filename: "Slow" } });
  slow.catch(() => {});
  const running = async (): Promise<boolean> => (await runProgram(["pgrep", "-f", "^sleep 7171$"])).stdout !== "";
  await waitFor("the command", running);
  await engine.stop("SIGKILL");
  await slow.catch(() => {});
  await engine.start();
  const [good, failed, cut, ...more] = await records();
  expect(more).toEqual([]);
  expect(good?.map(9)["image.name"]).toBe("docker.io/library/kept:1");
  // Two steps and the export; one warning.
  expect([16, 17, 19].map((number) => good?.integer(number))).toEqual([3, 3, 1]);
  expect(failed?.message(5)?.text(2)).toContain("exit code: 9");
  expect(cut?.message(5)?.text(2)).toBe("The engine ended while it built");
  const { output, vertices } = await told(good?.text(1) ?? "");
  expect(output).toBe("printed-42\n");
  expect(vertices.map(({ name }) => name)).toContain("exporting to image");
  await waitFor("the command to be gone", async () => !(await running()));
});

test("a build that its client forgets is gone from the disk, and a pinned one stays pinned", async () => {
  using calls = await PeerControl.open(engine.socket);
  const [first, second, third] = (await records()).map((record) => record.text(1));
  const update = (ref: string | undefined, field: number): Promise<WireReader[]> =>
    calls.call(`${control}/UpdateBuildHistory`, [
      [1, ref ?? ""],
      [field, true],
    ]);
  await update(first, 3);
  await update(second, 2);
  await update(third, 3);
  expect(readdirSync(join(engine.root, "build-history")).filter((name) => name.endsWith(".record"))).toHaveLength(1);
  await engine.stop();
  await engine.start();
  expect((await records()).map((record) => [record.text(1), record.integer(14)])).toEqual([[second ?? "", 1]]);
});
