import type { Figure } from "../figures.ts";
import { parentOf, processesNamed, proportionalMegabytes, residentMegabytes } from "../memory.ts";
import { api, startContainer, type Stage } from "../stage.ts";

const containers = 4;
const settleMs = 3000;

/** What watches one container: its monitor, or containerd's shim. */
export async function monitorMemory({ engine, dockerd }: Stage): Promise<Figure> {
  const own = await ofRunning(engine.socket, (pid) => [parentOf(pid)]);
  const series = [{ engine: "vitrine monitor", samples: own }];
  if (typeof dockerd !== "string") {
    const shims = await ofRunning(dockerd.socket, (_, id) => processesNamed("containerd-shim", id));
    series.push({ engine: "containerd-shim", samples: shims });
  }
  const title = "Memory beside each container (proportional)";
  return { title, unit: "MB", series, target: { atMost: 0.5 }, remarks: [`${containers} containers on each engine`] };
}

async function ofRunning(socket: string, watchers: (pid: number, id: string) => number[]): Promise<number[]> {
  const samples: number[] = [];
  const ids: string[] = [];
  for (let count = 0; count < containers; count++)
    ids.push(await startContainer(socket, { Cmd: ["busybox", "sleep", "3600"] }));
  for (const id of ids) {
    const { State } = (await api(socket, `GET /containers/${id}/json`)) as { State: { Pid: number } };
    for (const watcher of watchers(State.Pid, id)) samples.push(proportionalMegabytes(watcher));
  }
  for (const id of ids) await api(socket, `DELETE /containers/${id}?force=1`);
  return samples;
}

/** The engine with nothing to do. Ours is one process and its helper for network namespaces; Docker's are two. */
export async function idleMemory({ engine, dockerd }: Stage): Promise<Figure> {
  await Bun.sleep(settleMs);
  const series = [{ engine: "vitrine", samples: [residentMegabytes(engine.pid)] }];
  if (typeof dockerd !== "string") {
    const both = residentMegabytes(dockerd.pid) + residentMegabytes(dockerd.containerdPid);
    series.push({ engine: "dockerd, containerd", samples: [both] });
  }
  return { title: "Idle engine (resident)", unit: "MB", series, target: { atMost: 70 } };
}
