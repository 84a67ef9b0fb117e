import { createHash } from "node:crypto";
import type { CachePlace } from "../../build/index.ts";
import { EngineError, toEngineError } from "../../common/index.ts";
import type { Descriptor } from "../../spec/index.ts";
import { contentMethods as methods, storeHeader, writeActions, type WriteContent } from "./content-messages.ts";
import type { ConnectedSession } from "./session-registry.ts";

/** Below the 4 MiB that gRPC's servers take at the most. */
const maxPieceBytes = 1024 * 1024;
const maxManifestBytes = 4 * 1024 * 1024;

/** A folder of blobs that a client offers. `digest` is that of the manifest; undefined where only writing is meant. */
export function clientContent(
  { client }: ConnectedSession,
  { store, digest, signal }: { store: string; digest: string | undefined; signal: AbortSignal },
): CachePlace {
  const headers = { [storeHeader]: store };
  const read = async function* (wanted: string, left: AbortSignal): AsyncGenerator<Uint8Array> {
    using call = client.stream(methods.read.path, { ...methods.read, headers, signal: left });
    await call.write({ digest: wanted });
    call.end();
    for await (const { data } of call.responses) yield data;
  };
  const put = async ({ digest: expected, size: total }: Descriptor, open: () => AsyncIterable<Uint8Array>) => {
    using call = client.stream(methods.write.path, { ...methods.write, headers, signal });
    const answers = call.responses[Symbol.asyncIterator]();
    const ask = async (request: Partial<WriteContent>): Promise<void> => {
      await call.write(request);
      const { done } = await answers.next();
      if (done) throw new EngineError("unavailable", `The client ended the writing of "${expected}"`);
    };
    await ask({ action: writeActions.stat, ref: expected, total, expected });
    let offset = 0;
    for await (const chunk of open()) {
      for (let at = 0; at < chunk.length; at += maxPieceBytes) {
        const data = chunk.subarray(at, at + maxPieceBytes);
        await ask({ action: writeActions.write, ref: expected, total, expected, offset, data });
        offset += data.length;
      }
    }
    await ask({ action: writeActions.commit, ref: expected, total, expected, offset });
    call.end();
  };
  return {
    async manifest() {
      if (digest === undefined) throw new EngineError("internal", "A folder was read without a digest");
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of read(digest, signal)) {
        length += chunk.length;
        if (length > maxManifestBytes)
          throw new EngineError("resourceExhausted", `its manifest has more than ${maxManifestBytes} bytes`);
        chunks.push(chunk);
      }
      const bytes = Buffer.concat(chunks);
      const found = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      if (found !== digest) throw new EngineError("invalidArgument", `its manifest is "${found}", not "${digest}"`);
      return bytes;
    },
    blob: (blob, left) => read(blob.digest, left),
    async has(wanted) {
      try {
        const { info } = await client.unary(
          methods.info.path,
          { digest: wanted },
          { ...methods.info, headers, signal },
        );
        return info !== undefined;
      } catch (error) {
        if (toEngineError(error).code === "notFound") return false;
        throw error;
      }
    },
    put,
    putManifest: (bytes, descriptor) => put(descriptor, () => once(bytes)),
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
