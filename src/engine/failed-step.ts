// A build's failed step, open for its client to look into: nothing of it is left once the client has gone.
import { failedStepComment } from "../build/index.ts";
import { EngineError, toEngineError } from "../common/index.ts";
import { failedStepId, type ProgressMessage } from "../spec/index.ts";
import { removeContainer } from "./container-removal.ts";
import { endContainer } from "./container-stop.ts";
import type { Core } from "./core.ts";
import { imageUsers } from "./image-users.ts";

/**
 * The messages of a build; when one fails with `data.failedImage`, the client is told of the image and keeps it until it closes the
 * connection. Then the image goes, with whatever runs on it.
 */
export async function* keepFailedStep(
  core: Core,
  messages: AsyncGenerator<ProgressMessage>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ProgressMessage> {
  try {
    yield* messages;
  } catch (thrown) {
    const { failedImage: image, exitCode } = thrown instanceof EngineError ? thrown.data : {};
    if (typeof image !== "string") throw thrown;
    try {
      yield { id: failedStepId, aux: { Image: image, Message: toEngineError(thrown).message, Code: exitCode } };
      await whenAborted(signal);
    } finally {
      await forget(core, image);
    }
    throw thrown;
  }
}

function whenAborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (!signal || signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** At the engine's beginning: nobody looks into what a killed one had kept. */
export async function forgetFailedSteps(core: Core): Promise<void> {
  const kept = core.images.list().filter(({ config, repoTags }) => {
    return config.comment === failedStepComment && repoTags.length === 0;
  });
  for (const { id } of kept) {
    await forget(core, id).catch((error: unknown) => core.options.log("warning", toEngineError(error).message));
  }
}

async function forget(core: Core, image: string): Promise<void> {
  const users = core.store.all().filter(({ imageId }) => imageId === image);
  for (const { id } of users) {
    const container = core.containers.get(id);
    await container.changes.run(async () => {
      await endContainer(core, container);
      await removeContainer(core, container, { force: true, volumes: true });
    });
  }
  await core.images.remove(image, { force: true, noPrune: false, usedBy: imageUsers(core) });
}
