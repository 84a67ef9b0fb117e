import { join } from "node:path";
import { startDebianRegistry } from "../test/support/debian-registry.ts";
import { smallImage, sha256 } from "../test/support/oci-layout.ts";
import { mustBe, pushBlob, pushImage } from "../test/support/registry-calls.ts";
import { newScratch } from "../test/support/scratch.ts";
import { vitrineCommand, waitFor } from "../test/support/test-engine.ts";

/** Two registries with the same contents: `team/app:v1`, a small image, and one large blob of `team/app`. */
export interface RegistryPeers extends AsyncDisposable {
  readonly ours: { readonly url: string; readonly pid: number };
  /** Debian's docker-registry, or a sentence that says why it is not there. */
  readonly debian: { readonly url: string; readonly pid: number } | string;
  readonly largeBlob: string;
}

/** Starts them on folders of their own. `largeBytes` is the size of the blob, which does not compress. */
export async function startRegistries(largeBytes: number): Promise<RegistryPeers> {
  await using undo = new AsyncDisposableStack();
  const scratch = undo.use(newScratch("vr-"));
  const ours = undo.use(await startOurs(join(scratch.path, "ours")));
  const debian = Bun.which("docker-registry")
    ? undo.use(await startDebianRegistry(join(scratch.path, "debian")))
    : '"docker-registry" is not on this machine';
  const large = new Uint8Array(largeBytes);
  for (let done = 0; done < largeBytes; done += 65_536) crypto.getRandomValues(large.subarray(done, done + 65_536));
  const urls = [ours.url, ...(typeof debian === "string" ? [] : [`http://${debian.host}`])];
  for (const url of urls) {
    await pushImage(url, "team/app", { image: smallImage("bench"), tag: "v1" });
    await mustBe(201, await pushBlob(url, "team/app", large));
  }
  const kept = undo.move();
  return {
    ours,
    debian: typeof debian === "string" ? debian : { url: `http://${debian.host}`, pid: debian.pid },
    largeBlob: sha256(large),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function startOurs(root: string): Promise<AsyncDisposable & { url: string; pid: number }> {
  const words = ["registry", "serve", "--root", root, "--listen", "127.0.0.1:0"];
  const child = Bun.spawn([...vitrineCommand, ...words], { stdio: ["ignore", "ignore", "pipe"] });
  const state = { text: "" };
  void (async () => {
    for await (const bytes of child.stderr) state.text += Buffer.from(bytes).toString();
  })();
  const address = (): string | undefined => / on (http\S+)/.exec(state.text)?.[1];
  await waitFor("our registry to answer", async () => {
    if (child.exitCode !== null) throw new Error(`vitrine registry ended: ${state.text}`);
    return address() !== undefined;
  });
  return {
    url: address() ?? "",
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.exited;
    },
  };
}
