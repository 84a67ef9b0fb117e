import { EngineError, type ErrorCode } from "../../common/index.ts";

const codes: Readonly<Record<number, ErrorCode>> = {
  304: "notModified",
  400: "invalidArgument",
  401: "unauthenticated",
  403: "permissionDenied",
  404: "notFound",
  409: "conflict",
  499: "cancelled",
  501: "unsupported",
  503: "unavailable",
};

const maxErrorBodyBytes = 64 * 1024;

/** An error answer as EngineError: its message is the body's `message`, `data.status` the HTTP status. */
export async function failureOf(status: number, body: AsyncIterable<Uint8Array>): Promise<EngineError> {
  let text = "";
  try {
    text = await readText(body, maxErrorBodyBytes);
  } catch {
    // A connection that breaks in the middle of an error leaves the status as the message.
  }
  let message = text.trim();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && "message" in parsed) message = String(parsed.message).trim();
  } catch {
    // Plain text is the message itself: engines older than API 1.24 and proxies answer so.
  }
  if (message === "") message = `request returned status ${status}`;
  return new EngineError(codes[status] ?? "internal", message, { data: { status, fromEngine: true } });
}

/** Whether the engine itself refused, as against a connection that failed or input that the client refused. */
export function isEngineRefusal(thrown: unknown): thrown is EngineError {
  return thrown instanceof EngineError && thrown.data["fromEngine"] === true;
}

/** All of a body as text; throws resourceExhausted beyond the limit. */
export async function readText(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes)
      throw new EngineError("resourceExhausted", `The engine's answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
