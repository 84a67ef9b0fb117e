import { interleaved, type Figure } from "../figures.ts";
import { podmanRunFlags } from "../podman-peer.ts";
import { docker } from "../programs.ts";
import { image, trueCommand, type Stage } from "../stage.ts";

/** `docker run --rm IMAGE true` with docker's own command line against both engines, and podman's own. */
export async function dockerRun(stage: Stage): Promise<Figure> {
  const { engine, dockerd, podman } = stage;
  const words = ["run", "--rm", image, ...trueCommand];
  const contestants: Record<string, () => Promise<void>> = { vitrine: () => docker(engine.socket, ...words) };
  const remarks: string[] = [];
  if (typeof dockerd === "string") remarks.push(`no dockerd: ${dockerd}`);
  else contestants[dockerd.name] = () => docker(dockerd.socket, ...words);
  if (typeof podman === "string") remarks.push(`no podman: ${podman}`);
  else {
    contestants[podman.name] = () => podman.podman("run", "--rm", ...podmanRunFlags, image, ...trueCommand);
    remarks.push("podman runs without a network");
  }
  const series = await interleaved(contestants, { rounds: 15 });
  return { title: "docker run --rm IMAGE true", unit: "ms", series, target: { ratioAtMost: 1 / 6 }, remarks };
}
