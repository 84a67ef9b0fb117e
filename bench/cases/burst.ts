import type { Figure } from "../figures.ts";
import { docker } from "../programs.ts";
import { api, image, type Stage } from "../stage.ts";

const containers = 64;
const rounds = 3;

/** That many `docker run -d` begun at once, until the last has returned. */
export async function burst(stage: Stage): Promise<Figure> {
  const { engine, dockerd } = stage;
  const sockets: Record<string, string> = { vitrine: engine.socket };
  if (typeof dockerd !== "string") sockets[dockerd.name] = dockerd.socket;
  const samples: Record<string, number[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, socket] of Object.entries(sockets)) {
      const begin = performance.now();
      const runs = Array.from({ length: containers }, () =>
        docker(socket, "run", "-d", image, "busybox", "sleep", "600"),
      );
      await Promise.all(runs);
      (samples[name] ??= []).push(performance.now() - begin);
      await removeAll(socket);
    }
  }
  const series = Object.entries(samples).map(([name, taken]) => ({ engine: name, samples: taken }));
  return { title: `${containers} docker run -d at once`, unit: "ms", series };
}

async function removeAll(socket: string): Promise<void> {
  const list = (await api(socket, "GET /containers/json?all=1")) as unknown as { Id: string }[];
  await Promise.all(list.map(({ Id }) => api(socket, `DELETE /containers/${Id}?force=1&v=1`)));
}
