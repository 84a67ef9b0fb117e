// What the client of a build serves to the engine (moby/buildkit, session/*/*.proto; tonistiigi/fsutil, types/*.proto; grpc.health.v1).
import { bigInteger, bytes, integer, mapOf, message, text } from "./protobuf.ts";

/** A file of the client's folder. `mode` has Go's bits (os.FileMode), `modTime` nanoseconds since 1970. */
export interface Stat {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  modTime: bigint;
  linkname: string;
  devmajor: number;
  devminor: number;
  xattrs: ReadonlyMap<string, Uint8Array>;
}

export const statMessage = message<Stat>({
  path: text(1),
  mode: integer(2),
  uid: integer(3),
  gid: integer(4),
  size: integer(5),
  modTime: bigInteger(6),
  linkname: text(7),
  devmajor: integer(8),
  devminor: integer(9),
  xattrs: mapOf(10, bytes),
});

export const packetTypes = { stat: 0, request: 1, data: 2, finish: 3, error: 4 } as const;

/** `stat` is encoded: most are the same as last time, and need no look inside. */
export interface Packet {
  type: number;
  stat: Uint8Array;
  id: number;
  data: Uint8Array;
}

export const packetMessage = message<Packet>({
  type: integer(1),
  stat: bytes(2),
  id: integer(3),
  data: bytes(4),
});

export const emptyMessage = message<Record<never, never>>({});
export const bytesMessage = message<{ data: Uint8Array }>({ data: bytes(1) });

const packets = { request: packetMessage, response: packetMessage };
const pieces = { request: bytesMessage, response: bytesMessage };

/** The methods that a client may offer in `X-Docker-Expose-Session-Grpc-Method`, with their types. */
export const sessionMethods = {
  diffCopy: { path: "/moby.filesync.v1.FileSync/DiffCopy", ...packets },
  /** A file: pieces there, then the end; a folder: packets, the engine being the side that has the files. */
  fileSend: { path: "/moby.filesync.v1.FileSend/DiffCopy", ...pieces },
  folderSend: { path: "/moby.filesync.v1.FileSend/DiffCopy", ...packets },
  credentials: {
    path: "/moby.filesync.v1.Auth/Credentials",
    request: message<{ host: string }>({ host: text(1) }),
    response: message<{ username: string; secret: string }>({ username: text(1), secret: text(2) }),
  },
  secret: {
    path: "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    request: message<{ id: string; annotations: ReadonlyMap<string, string> }>({
      id: text(1),
      annotations: mapOf(2, text),
    }),
    response: bytesMessage,
  },
  checkAgent: {
    path: "/moby.sshforward.v1.SSH/CheckAgent",
    request: message<{ id: string }>({ id: text(1) }),
    response: emptyMessage,
  },
  forwardAgent: { path: "/moby.sshforward.v1.SSH/ForwardAgent", ...pieces },
} as const;

export const healthServing = 1;
export const healthMethods = {
  check: {
    path: "/grpc.health.v1.Health/Check",
    request: message<{ service: string }>({ service: text(1) }),
    response: message<{ status: number }>({ status: integer(1) }),
  },
} as const;
