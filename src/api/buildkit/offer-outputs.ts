import { mkdirSync } from "node:fs";
import { EngineError } from "../../common/index.ts";
import { bothStreaming, type GrpcMethod, type GrpcMethods } from "./grpc-server.ts";
import { receiveFolder } from "./receive-folder.ts";
import { sessionMethods as methods, type Packet } from "./session-messages.ts";

/** Where a build's client wants an output: files below a folder, or one file's bytes. */
export type OutputPlace =
  | { readonly kind: "folder"; readonly path: string }
  | {
      readonly kind: "file";
      readonly write: (data: Uint8Array) => void | Promise<void>;
      readonly end: () => void | Promise<void>;
    };

/** Takes what the engine makes. `places` by the exporters' places in the client's list. */
export function offerOutputs(places: ReadonlyMap<number, OutputPlace>): GrpcMethods {
  const take: GrpcMethod = (requests, call) => {
    const place = places.get(Number(call.headers["buildkit-attachable-exporter-id"] ?? 0));
    if (!place) throw new EngineError("notFound", "The client asked for no such output");
    if (place.kind === "folder")
      return bothStreaming(methods.folderSend, (packets) => takeFolder(place.path, packets))(requests, call);
    return bothStreaming(methods.fileSend, (pieces) => takeFile(place, pieces))(requests, call);
  };
  return { [methods.fileSend.path]: take };
}

async function* takeFile(
  { write, end }: Extract<OutputPlace, { kind: "file" }>,
  pieces: AsyncIterable<{ data: Uint8Array }>,
): AsyncGenerator<never> {
  for await (const { data } of pieces) await write(data);
  await end();
  // The call has nothing to say but that it ended.
  yield* [];
}

/** What is in the folder stays, but for what has the name of something that comes. All of it belongs to whoever asked. */
async function* takeFolder(path: string, packets: AsyncIterable<Packet>): AsyncGenerator<Partial<Packet>> {
  mkdirSync(path, { recursive: true });
  const outgoing: Partial<Packet>[] = [];
  let wake = Promise.withResolvers<void>();
  let ended = false;
  const stream = {
    write: async (packet: Partial<Packet>) => {
      outgoing.push(packet);
      wake.resolve();
    },
    end: () => {},
    responses: packets,
    [Symbol.dispose]: () => {},
  };
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const received = receiveFolder(stream, { root: path, known: [], beforeChange: () => {}, owner }).finally(() => {
    ended = true;
    wake.resolve();
  });
  received.catch(() => {});
  for (;;) {
    const packet = outgoing.shift();
    if (packet) {
      yield packet;
      continue;
    }
    if (ended) break;
    await wake.promise;
    wake = Promise.withResolvers();
  }
  await received;
}
