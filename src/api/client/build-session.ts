import { Duplex } from "node:stream";
import { offeredMethods, offerSession, type SessionOffer } from "../buildkit/offer-session.ts";
import { statusResponse } from "../buildkit/control-messages.ts";
import { decodeStatus } from "../buildkit/status-records.ts";
import type { BuildStatus } from "../../build/index.ts";
import type { ApiClient } from "./api-client.ts";
import type { ByteSocket } from "./byte-socket.ts";

export type { OutputPlace } from "../buildkit/offer-outputs.ts";
export type { SessionOffer } from "../buildkit/offer-session.ts";
export type { BuildStatus, BuildVertex, VertexLog, VertexStatus } from "../../build/index.ts";

/** A session that is open; its id names it in `POST /build`. Disposal ends it. */
export interface OpenSession extends Disposable {
  readonly id: string;
  /** What has gone to the engine so far. */
  readonly sentBytes: number;
}

/** Opens `POST /session` and lends the engine what is offered, until disposal. `sharedKey` tells this client's folders from others'. */
export async function openSession(
  client: ApiClient,
  { offer, sharedKey }: { offer: SessionOffer; sharedKey: string },
): Promise<OpenSession> {
  const id = crypto.randomUUID().replaceAll("-", "");
  const socket = await client.upgrade("/session", "h2c", {
    headers: {
      "X-Docker-Expose-Session-Uuid": id,
      "X-Docker-Expose-Session-Sharedkey": sharedKey,
      "X-Docker-Expose-Session-Grpc-Method": offeredMethods.join(", "),
    },
  });
  let sentBytes = 0;
  const connection = duplexOf(socket, (bytes) => (sentBytes += bytes));
  void offerSession(connection, offer);
  return {
    id,
    get sentBytes() {
      return sentBytes;
    },
    [Symbol.dispose]: () => void connection.destroy(),
  };
}

/** One record of a build of version 2. */
export function decodeTrace(base64: string): BuildStatus {
  return decodeStatus(statusResponse.decode(Buffer.from(base64, "base64")));
}

function duplexOf(socket: ByteSocket, onSent: (bytes: number) => void): Duplex {
  const duplex = new Duplex({
    read() {
      socket.read().then(
        (chunk) => this.push(chunk ?? null),
        (error: Error) => this.destroy(error),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      onSent(chunk.length);
      socket.write(chunk).then(() => done(), done);
    },
    final(done) {
      socket.closeWrite().then(() => done(), done);
    },
    destroy(_error, done) {
      socket.close();
      done(null);
    },
  });
  duplex.on("error", () => {});
  return duplex;
}
