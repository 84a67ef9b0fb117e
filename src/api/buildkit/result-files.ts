import { readSync } from "node:fs";
import { posix } from "node:path";
import { exporterOptions } from "../../build/index.ts";
import { EngineError, toEngineError } from "../../common/index.ts";
import type { Engine } from "../../engine/index.ts";
import {
  closeFd,
  openDirectory,
  openFlags,
  openInRoot,
  readDirectory,
  readLinkAt,
  statAt,
  statFd,
  type FileStat,
} from "../../kernel/index.ts";
import { createIgnoreRules } from "../../spec/index.ts";
import type { BuildJob } from "./build-job.ts";
import { gatewayMethods as methods } from "./gateway-messages.ts";
import { goFileMode } from "./go-file-mode.ts";
import { unary, type GrpcCall, type GrpcMethods } from "./grpc-server.ts";
import type { Stat } from "./session-messages.ts";

/** What fits into one message of an answer. */
const maxFileBytes = 15 * 1024 * 1024;

/** Looking into the files of a result: every path is resolved inside of it, as in a chroot. */
export function resultFiles(engine: Engine, job: (call: GrpcCall) => Promise<BuildJob>): GrpcMethods {
  const inResult = async <Value>(
    { ref, path, flags }: { ref: string; path: string; flags: number },
    { call, look }: { call: GrpcCall; look: (fd: number) => Value },
  ): Promise<Value> => {
    const { exported } = (await job(call)).result(ref);
    if (!exported) throw new EngineError("notFound", `"${path}": the result has no files`);
    await using tree = await engine.builds.openTree(exported, {
      options: exporterOptions({ type: "local", attributes: {} }),
    });
    const rootFd = openDirectory(tree.root);
    try {
      const fd = openInRoot(rootFd, posix.join("/", path).slice(1) || ".", { flags });
      try {
        return look(fd);
      } finally {
        closeFd(fd);
      }
    } catch (error) {
      const { code } = (error as { cause?: { code?: string } }).cause ?? (error as { code?: string });
      if (code === "ENOENT") throw new EngineError("notFound", `open ${path}: no such file or directory`);
      throw toEngineError(error);
    } finally {
      closeFd(rootFd);
    }
  };
  return {
    [methods.statFile.path]: unary(methods.statFile, async ({ ref, path }, call) => {
      const look = (fd: number): Stat => statOf(posix.basename(path) || ".", statFd(fd), "");
      return { stat: await inResult({ ref, path, flags: openFlags.path }, { call, look }) };
    }),
    [methods.readFile.path]: unary(methods.readFile, async ({ ref, filePath: path, range }, call) => {
      const look = (fd: number): Uint8Array =>
        readPart(fd, { path, offset: range?.offset ?? 0, length: range?.length ?? 0 });
      return { data: await inResult({ ref, path, flags: openFlags.readOnly }, { call, look }) };
    }),
    [methods.readDir.path]: unary(methods.readDir, async ({ ref, dirPath: path, includePattern }, call) => {
      const wanted = includePattern === "" ? undefined : createIgnoreRules([includePattern]);
      const look = (fd: number): Stat[] =>
        readDirectory(fd)
          .filter((name) => wanted?.ignores(name) ?? true)
          .toSorted()
          .flatMap((name) => entryOf(fd, name));
      const flags = openFlags.readOnly | openFlags.directory;
      return { entries: await inResult({ ref, path, flags }, { call, look }) };
    }),
  };
}

function entryOf(directoryFd: number, name: string): Stat[] {
  const stat = statAt(directoryFd, name);
  if (!stat) return [];
  return [statOf(name, stat, stat.type === "symlink" ? readLinkAt(directoryFd, name) : "")];
}

function readPart(fd: number, { path, offset, length }: { path: string; offset: number; length: number }): Uint8Array {
  const stat = statFd(fd);
  if (stat.type !== "file") throw new EngineError("invalidArgument", `read ${path}: it is a ${stat.type}`);
  const wanted = Math.max(0, Math.min(length > 0 ? length : stat.size, stat.size - offset));
  if (wanted > maxFileBytes) {
    throw new EngineError(
      "resourceExhausted",
      `read ${path}: ${wanted} bytes are more than ${maxFileBytes}; ask for a range`,
    );
  }
  const data = Buffer.alloc(wanted);
  let done = 0;
  for (let read = 1; read > 0 && done < wanted; done += read)
    read = readSync(fd, data, done, wanted - done, offset + done);
  return data.subarray(0, done);
}

function statOf(path: string, stat: FileStat, linkname: string): Stat {
  return {
    path,
    mode: goFileMode(stat.type, stat.mode & 0o7777),
    uid: stat.uid,
    gid: stat.gid,
    size: stat.type === "directory" ? 0 : stat.size,
    modTime: stat.mtimeNs,
    linkname,
    devmajor: stat.rdevMajor,
    devminor: stat.rdevMinor,
    xattrs: new Map(),
  };
}
