// HTTP/1.1 (RFC 9112), as much as the Docker Engine API needs: requests with a fixed or chunked body, responses of any framing.
import { EngineError } from "../../common/index.ts";
import type { ByteSocket } from "./byte-socket.ts";

const maxHeadBytes = 64 * 1024;
const maxChunkLineBytes = 1024;

export interface RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ResponseHead {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
}

export type RequestBody = Uint8Array | AsyncIterable<Uint8Array> | undefined;

/** Sends the request. A fixed body carries its length, an iterable goes in chunks. */
export async function writeRequest(socket: ByteSocket, head: RequestHead, body: RequestBody): Promise<void> {
  const headers: Record<string, string> = { ...head.headers };
  const fixed = body instanceof Uint8Array ? body : undefined;
  if (fixed) headers["Content-Length"] = String(fixed.length);
  else if (body) headers["Transfer-Encoding"] = "chunked";
  else if (head.method === "POST" || head.method === "PUT") headers["Content-Length"] = "0";
  let text = `${head.method} ${head.target} HTTP/1.1\r\n`;
  for (const [name, value] of Object.entries(headers)) text += `${name}: ${value.replace(/[\r\n]/g, " ")}\r\n`;
  text += "\r\n";
  await socket.write(fixed ? Buffer.concat([Buffer.from(text), fixed]) : Buffer.from(text));
  if (!fixed && body) await writeChunked(socket, body as AsyncIterable<Uint8Array>);
}

async function writeChunked(socket: ByteSocket, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (chunk.length === 0) continue;
    await socket.write(Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n")]));
  }
  await socket.write(Buffer.from("0\r\n\r\n"));
}

/** Reads a response's status line and headers; `100 Continue` is skipped. Bytes after them stay in the socket. */
export async function readResponseHead(socket: ByteSocket): Promise<ResponseHead> {
  for (;;) {
    const head = parseHead(await readHeadText(socket));
    if (head.status !== 100) return head;
  }
}

async function readHeadText(socket: ByteSocket): Promise<string> {
  let buffered: Buffer = Buffer.alloc(0);
  for (;;) {
    const chunk = await socket.read();
    if (!chunk) throw new EngineError("unavailable", "The engine closed the connection before it answered");
    buffered = buffered.length === 0 ? Buffer.from(chunk) : Buffer.concat([buffered, chunk]);
    const end = buffered.indexOf("\r\n\r\n");
    if (end >= 0) {
      socket.unread(buffered.subarray(end + 4));
      return buffered.toString("latin1", 0, end);
    }
    if (buffered.length > maxHeadBytes) throw malformed(`headers of more than ${maxHeadBytes} bytes`);
  }
}

function parseHead(text: string): ResponseHead {
  const [first = "", ...lines] = text.split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(first);
  if (!status) throw malformed(`status line ${JSON.stringify(first.slice(0, 80))}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status[1]), headers };
}

/** Whether the body's end is known without the connection's end: only then can the connection serve another request. */
export function isDelimited(head: ResponseHead): boolean {
  return head.headers.has("content-length") || isChunked(head) || head.status === 204 || head.status === 304;
}

function isChunked(head: ResponseHead): boolean {
  return /chunked/i.test(head.headers.get("transfer-encoding") ?? "");
}

/** The response's body, decoded. Ends when the body ends; a body cut short throws unavailable. */
export async function* readBody(socket: ByteSocket, head: ResponseHead, method: string): AsyncGenerator<Uint8Array> {
  if (method === "HEAD" || head.status === 204 || head.status === 304) return;
  if (isChunked(head)) {
    yield* readChunks(socket);
    return;
  }
  const length = head.headers.get("content-length");
  if (length !== undefined) {
    yield* readExactly(socket, Number(length));
    return;
  }
  for (let chunk; (chunk = await socket.read());) yield chunk;
}

async function* readExactly(socket: ByteSocket, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let left = sizeBytes;
  while (left > 0) {
    const chunk = await socket.read();
    if (!chunk) throw new EngineError("unavailable", "unexpected EOF");
    if (chunk.length > left) socket.unread(chunk.subarray(left));
    yield chunk.length > left ? chunk.subarray(0, left) : chunk;
    left -= Math.min(chunk.length, left);
  }
}

async function* readChunks(socket: ByteSocket): AsyncGenerator<Uint8Array> {
  for (;;) {
    const line = await readLine(socket);
    const size = /^([0-9a-f]+)\s*(?:;.*)?$/i.exec(line)?.[1];
    if (size === undefined) throw malformed(`chunk size ${JSON.stringify(line)}`);
    if (parseInt(size, 16) === 0) break;
    yield* readExactly(socket, parseInt(size, 16));
    await readLine(socket);
  }
  while ((await readLine(socket)) !== "") continue;
}

async function readLine(socket: ByteSocket): Promise<string> {
  let line = "";
  for (;;) {
    const chunk = await socket.read();
    if (!chunk) throw new EngineError("unavailable", "unexpected EOF");
    const end = chunk.indexOf(10);
    line += Buffer.from(chunk.buffer, chunk.byteOffset, end < 0 ? chunk.length : end).toString("latin1");
    if (line.length > maxChunkLineBytes) throw malformed("an overlong chunk line");
    if (end < 0) continue;
    socket.unread(chunk.subarray(end + 1));
    return line.replace(/\r$/, "");
  }
}

function malformed(what: string): EngineError {
  return new EngineError("internal", `The engine's answer is not HTTP/1.1: ${what}`);
}
