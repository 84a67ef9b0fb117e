import { interleaved, type Figure } from "../figures.ts";
import { api, image, trueCommand, type Stage } from "../stage.ts";

/** One container's whole life through the API: create, start, wait, remove, on the bridge network. */
export async function apiRun(stage: Stage): Promise<Figure> {
  const { engine, dockerd } = stage;
  const own = { vitrine: () => life(engine.socket) };
  const series = await interleaved(
    typeof dockerd === "string" ? own : { ...own, [dockerd.name]: () => life(dockerd.socket) },
    { rounds: 6, inRow: 8, warmUps: 1 },
  );
  return { title: "API: create, start, wait, remove (bridge network)", unit: "ms", series, target: { atMost: 25 } };
}

async function life(socket: string): Promise<void> {
  const { Id } = await api(socket, "POST /containers/create", { Image: image, Cmd: trueCommand });
  const path = `/containers/${String(Id)}` as const;
  await api(socket, `POST ${path}/start`);
  await api(socket, `POST ${path}/wait`);
  await api(socket, `DELETE ${path}`);
}
