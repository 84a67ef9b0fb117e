import { interleaved, type Figure } from "../figures.ts";
import { api, startContainer, trueCommand, type Stage } from "../stage.ts";

/** One more process in a running container, from its creation to the end of its output. */
export async function exec(stage: Stage): Promise<Figure> {
  const { engine, dockerd } = stage;
  const sockets: Record<string, string> = { vitrine: engine.socket };
  if (typeof dockerd !== "string") sockets[dockerd.name] = dockerd.socket;
  const contestants: Record<string, () => Promise<void>> = {};
  const undo: (() => Promise<unknown>)[] = [];
  for (const [name, socket] of Object.entries(sockets)) {
    const id = await startContainer(socket, { Cmd: ["busybox", "sleep", "3600"] });
    undo.push(() => api(socket, `DELETE /containers/${id}?force=1`));
    contestants[name] = async () => {
      const request = { Cmd: trueCommand, AttachStdout: true, AttachStderr: true };
      const { Id } = await api(socket, `POST /containers/${id}/exec`, request);
      await api(socket, `POST /exec/${String(Id)}/start`, { Detach: false });
    };
  }
  const series = await interleaved(contestants, { rounds: 6, inRow: 8, warmUps: 1 });
  for (const work of undo) await work();
  return { title: "API: exec create, start, exit", unit: "ms", series, target: { atMost: 8 } };
}
