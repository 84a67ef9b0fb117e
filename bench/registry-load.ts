import type { Socket } from "bun";

/** What one connection has of its answer. */
interface Progress {
  head: string;
  /** Of the body; undefined while the head comes. */
  leftBytes: number | undefined;
}

/**
 * Sends `requests` GETs over so many connections that stay open, one at a time on each, and reads every answer to its end. Written on bare
 * sockets (RFC 9112, answers with Content-Length or chunked by one registry are told apart by their heads), so that the client takes
 * less of the machine than the registries do. Throws for any status but 200.
 */
export async function loadRegistry(
  url: string,
  { connections, requests }: { connections: number; requests: number },
): Promise<void> {
  const { hostname, port, pathname, host } = new URL(url);
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const request = `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nAccept: ${accept}\r\n\r\n`;
  const state = { toSend: requests, toCome: requests };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const next = (socket: Socket<Progress>): void => {
    if (state.toSend-- <= 0) return void socket.end();
    socket.data = { head: "", leftBytes: undefined };
    socket.write(request);
  };
  const take = (socket: Socket<Progress>, bytes: Buffer): void => {
    const { data } = socket;
    let body = bytes.length;
    if (data.leftBytes === undefined) {
      data.head += bytes.toString("latin1");
      const end = data.head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = /\r\nContent-Length: (\d+)\r\n/i.exec(data.head.slice(0, end + 2))?.[1];
      if (!data.head.startsWith("HTTP/1.1 200") || length === undefined) {
        return void reject(new Error(`"${url}" answers with ${data.head.slice(0, end)}`));
      }
      data.leftBytes = Number(length);
      body = data.head.length - end - 4;
    }
    data.leftBytes -= body;
    if (data.leftBytes > 0) return;
    if (--state.toCome === 0) resolve();
    next(socket);
  };
  const sockets = await Promise.all(
    Array.from({ length: connections }, () =>
      Bun.connect<Progress>({
        hostname,
        port: Number(port),
        data: { head: "", leftBytes: undefined },
        socket: { open: next, data: take, error: (_, error) => reject(error), close: () => {} },
      }),
    ),
  );
  try {
    await promise;
  } finally {
    for (const socket of sockets) socket.end();
  }
}
