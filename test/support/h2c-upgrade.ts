import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";

/** Asks for an upgrade to h2c and hands the connection over once the engine agreed. */
export async function upgraded(path: string, url: string, headers: readonly string[] = []): Promise<Duplex> {
  const socket = connect(path);
  await once(socket, "connect");
  const lines = [
    `POST ${url} HTTP/1.1`,
    "Host: ",
    "Connection: Upgrade",
    "Upgrade: h2c",
    "Content-Length: 0",
    ...headers,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  let head = Buffer.alloc(0);
  for (;;) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) continue;
    socket.pause();
    const status = head.toString("latin1", 0, end);
    if (!status.startsWith("HTTP/1.1 101")) {
      socket.destroy();
      throw new Error(`${status.split("\r\n")[0]}: ${head.toString("utf8", end + 4)}`);
    }
    return withFirst(socket, head.subarray(end + 4));
  }
}

/** The connection with what was read of it already in front. */
function withFirst(socket: Socket, first: Buffer): Duplex {
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk, _encoding, done) => void socket.write(chunk, () => done()),
    final: (done) => void socket.end(() => done()),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  if (first.length > 0) duplex.push(first);
  socket.on("data", (data: Buffer) => void (duplex.push(data) || socket.pause()));
  socket.on("end", () => duplex.push(null));
  socket.on("close", () => duplex.destroy());
  socket.on("error", () => duplex.destroy());
  return duplex;
}
