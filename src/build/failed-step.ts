// A RUN that failed, kept as an image for as long as somebody looks into it.
import type { ImageStore } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { ImageRunConfig } from "../spec/index.ts";
import { hostArchitecture } from "./config-state.ts";
import { layersOf } from "./stage-images.ts";

export interface FailedStep {
  /** chainID of the layers as the command left them; undefined where there is none. */
  readonly top: string | undefined;
  readonly user: string;
  readonly workingDirectory: string;
  /** `NAME=value`, without what secrets added. */
  readonly environment: readonly string[];
  readonly command: readonly string[];
}

/** What such an image says of itself: it has no name, and an engine that begins removes it. Images committed from it say something else. */
export const failedStepComment = "vitrine.failed-step";

/** Makes the image, which has no name; its CMD is a shell. Whoever asked for it removes it. Returns its id. */
export async function imageOfFailedStep(
  { images, snapshots }: { images: ImageStore; snapshots: Snapshotter },
  { top, user, workingDirectory, environment, command }: FailedStep,
): Promise<string> {
  const layers = layersOf(snapshots, top);
  const [program = ""] = command;
  const config: ImageRunConfig = {
    User: user,
    WorkingDir: workingDirectory,
    Env: [...environment],
    Cmd: [/(^|\/)\w{0,2}sh$/.test(program) ? program : "/bin/sh"],
  };
  const image = {
    architecture: hostArchitecture,
    os: "linux",
    created: new Date().toISOString(),
    comment: failedStepComment,
    config,
    rootfs: { type: "layers", diff_ids: layers.map((id) => snapshots.layer(id)?.diffId ?? "") },
  };
  return (await images.create(Buffer.from(JSON.stringify(image)), { layers })).id;
}
