import { createHash, randomUUID } from "node:crypto";
import { closeSync, createReadStream, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../common/index.ts";
import { isDigest } from "../../spec/index.ts";
import { contentMethods as methods, storeHeader, writeActions, type WriteContent } from "./content-messages.ts";
import { bothStreaming, serverStreaming, unary, type GrpcCall, type GrpcMethods } from "./grpc-server.ts";

type Answer = Partial<ReturnType<typeof methods.write.response.decode>>;

/** Serves folders of blobs (OCI image layouts) by the names that builds know them by: read, and written blob by blob. */
export function offerContent(stores: Readonly<Record<string, string>>): GrpcMethods {
  const storeOf = (call: GrpcCall): string => {
    const name = String(call.headers[storeHeader] ?? "");
    const folder = Object.hasOwn(stores, name) ? stores[name] : undefined;
    if (folder === undefined) throw new EngineError("notFound", `unknown store "${name}"`);
    return folder;
  };
  return {
    [methods.info.path]: unary(methods.info, ({ digest }, call) => ({
      info: { digest, size: sizeOf(storeOf(call), digest) },
    })),
    [methods.read.path]: serverStreaming(methods.read, async function* ({ digest, offset }, call) {
      const folder = storeOf(call);
      sizeOf(folder, digest);
      let at = offset;
      for await (const data of createReadStream(blobPath(folder, digest), {
        start: offset,
        highWaterMark: 512 * 1024,
      })) {
        yield { offset: at, data: data as Uint8Array };
        at += (data as Uint8Array).length;
      }
    }),
    [methods.write.path]: bothStreaming(methods.write, (requests, call) => write(storeOf(call), requests)),
  };
}

/** Paths of the methods. */
export const contentPaths: readonly string[] = Object.values(methods).map(({ path }) => path);

function blobPath(folder: string, digest: string): string {
  // A digest is the only thing of a request that becomes a part of a path.
  if (!isDigest(digest)) throw new EngineError("invalidArgument", `"${digest}" is no sha256 digest`);
  return join(folder, "blobs", digest.replace(":", "/"));
}

function sizeOf(folder: string, digest: string): number {
  const stat = statSync(blobPath(folder, digest), { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new EngineError("notFound", `content ${digest}: not found`);
  return stat.size;
}

/** The blob is there whole or not at all. */
async function* write(folder: string, requests: AsyncIterable<WriteContent>): AsyncGenerator<Answer> {
  const temporary = join(folder, "ingest", randomUUID());
  mkdirSync(join(folder, "ingest"), { recursive: true });
  const fd = openSync(temporary, "wx", 0o644);
  const hash = createHash("sha256");
  let offset = 0;
  try {
    for await (const { action, data, expected, offset: said } of requests) {
      if (action !== writeActions.stat && said !== offset)
        throw new EngineError("invalidArgument", `The piece is for ${said}, and ${offset} is next`);
      for (let done = 0; done < data.length;) done += writeSync(fd, data, done);
      hash.update(data);
      offset += data.length;
      if (action === writeActions.commit) {
        const digest = `sha256:${hash.copy().digest("hex")}`;
        if (digest !== expected) throw new EngineError("invalidArgument", `The blob is "${digest}", not "${expected}"`);
        const path = blobPath(folder, digest);
        mkdirSync(join(path, ".."), { recursive: true });
        renameSync(temporary, path);
        yield { action, offset, digest };
        return;
      }
      yield { action, offset };
    }
  } finally {
    closeSync(fd);
    rmSync(temporary, { force: true });
  }
}
