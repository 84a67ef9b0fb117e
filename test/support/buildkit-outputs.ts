// The client's end of a build's output, from the published protocol: pieces of one file, or the receiving side of fsutil's folder
// protocol (tonistiigi/fsutil, receive.go), which asks for every file.
import type { ServerHttp2Stream } from "node:http2";
import { framed, Unframer } from "./grpc-framing.ts";
import { toWire, WireReader } from "./protobuf-wire.ts";

/** Where outputs go: one file's bytes, or a folder's files by path. */
export class CollectedOutput {
  file = Buffer.alloc(0);
  readonly folder = new Map<string, string>();
  readonly modes = new Map<string, number>();
}

export function takeFile(stream: ServerHttp2Stream, into: CollectedOutput): void {
  const unframer = new Unframer();
  const pieces: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => {
    for (const message of unframer.push(chunk)) pieces.push(new WireReader(message).bytes(1) ?? Buffer.alloc(0));
  });
  stream.on("end", () => {
    into.file = Buffer.concat(pieces);
    finish(stream);
  });
}

export function takeFolder(stream: ServerHttp2Stream, into: CollectedOutput): void {
  const unframer = new Unframer();
  const paths: string[] = [];
  const open = new Map<number, Buffer[]>();
  let listed = false;
  const wanted = new Set<number>();
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  const settle = (): void => void (listed && wanted.size === 0 && stream.write(framed(toWire([[1, 3]]))));
  const take = (packet: WireReader): void => {
    const id = packet.integer(3);
    const stat = packet.message(2);
    if (packet.integer(1) === 0 && !stat) {
      listed = true;
      settle();
    } else if (packet.integer(1) === 0 && stat) {
      const path = stat.text(1);
      const mode = stat.integer(2);
      into.modes.set(path, mode);
      paths.push(path);
      if (mode >= 2 ** 19) return;
      wanted.add(paths.length - 1);
      stream.write(
        framed(
          toWire([
            [1, 1],
            [3, paths.length - 1],
          ]),
        ),
      );
    } else if (packet.integer(1) === 2) {
      const data = packet.bytes(4);
      open.set(id, [...(open.get(id) ?? []), data ?? Buffer.alloc(0)]);
      if (data) return;
      into.folder.set(paths[id] ?? "", Buffer.concat(open.get(id) ?? []).toString("utf8"));
      wanted.delete(id);
      settle();
    } else if (packet.integer(1) === 3) stream.end();
  };
  stream.on("data", (chunk: Buffer) => {
    for (const message of unframer.push(chunk)) take(new WireReader(message));
  });
}

function finish(stream: ServerHttp2Stream): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "0" }, { endStream: true });
}
