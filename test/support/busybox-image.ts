import { makeBusyboxRoot } from "./busybox-container.ts";
import { newScratch } from "./scratch.ts";
import type { TestEngine } from "./test-engine.ts";

/** Imports a busybox as `image`, in well under a second: for tests that need a container rather than an image. `addTo` may add files. */
export async function importBusybox(
  engine: TestEngine,
  image = "busybox",
  addTo: (root: string) => void = () => {},
): Promise<void> {
  await using scratch = newScratch();
  const { lower } = makeBusyboxRoot(scratch.path);
  addTo(lower);
  const tar = Bun.spawnSync(["tar", "-C", lower, "-c", "."]).stdout;
  const response = await fetch(`http://engine/images/create?fromSrc=-&repo=${image}&tag=latest`, {
    unix: engine.socket,
    method: "POST",
    body: new Uint8Array(tar),
  });
  const words = await response.text();
  if (!response.ok || words.includes('"error"')) throw new Error(`Cannot import ${image}: ${words}`);
}
