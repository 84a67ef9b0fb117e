import { EngineError, type ErrorCode } from "../common/index.ts";

const maxErrorBytes = 64 * 1024;
const maxMessageCharacters = 512;

const codes: Readonly<Record<number, ErrorCode>> = {
  400: "invalidArgument",
  401: "unauthenticated",
  403: "permissionDenied",
  404: "notFound",
  405: "unsupported",
  413: "resourceExhausted",
  416: "invalidArgument",
  429: "resourceExhausted",
};

/**
 * A registry's refusal in its own words (distribution specification, "Error Codes"): `manifest unknown: manifest unknown`.
 * `data` has `status` and `errorCode`, such as `MANIFEST_UNKNOWN`. An answer to HEAD has no words: the specification's are taken then.
 */
export async function registryFailure(response: Response, what: string): Promise<EngineError> {
  const text = await boundedText(response);
  const error = firstError(text);
  const code = codes[response.status] ?? (response.status >= 500 ? "unavailable" : "internal");
  const refused = error ?? refusal(response, text);
  const words = refused ?? `${what}: unexpected status ${response.status}${text === "" ? "" : `: ${clip(text)}`}`;
  return new EngineError(code, typeof words === "string" ? words : words.message, {
    data: { status: response.status, ...(typeof words === "string" ? {} : { errorCode: words.errorCode }) },
  });
}

function firstError(text: string): { errorCode: string; message: string } | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { errors, details } = (body ?? {}) as { errors?: unknown; details?: unknown };
  // A token server says it in one member.
  if (typeof details === "string") return { errorCode: "UNAUTHORIZED", message: `unauthorized: ${clip(details)}` };
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== "object" || first === null) return undefined;
  const { code, message } = first as { code?: unknown; message?: unknown };
  if (typeof code !== "string") return undefined;
  const words = code.toLowerCase().replaceAll("_", " ");
  return {
    errorCode: code,
    message: `${clip(words)}: ${typeof message === "string" ? clip(message) : "no reason given"}`,
  };
}

/** RFC 6750 section 3.1 (`error` of a bearer challenge), and what a refusal without a body means. */
function refusal({ status, headers }: Response, text: string): { errorCode: string; message: string } | undefined {
  const challenge = headers.get("www-authenticate") ?? "";
  const isDenied = status === 401 ? /\berror="?insufficient_scope\b/.test(challenge) : status === 403 && text === "";
  if (isDenied) return { errorCode: "DENIED", message: "denied: requested access to the resource is denied" };
  if (status !== 401) return undefined;
  return { errorCode: "UNAUTHORIZED", message: "unauthorized: authentication required" };
}

/** A body of bounded length; what comes after is not read. */
export async function boundedText(response: Response, maxBytes = maxErrorBytes): Promise<string> {
  return Buffer.from(await boundedBytes(response, { maxBytes, tail: "drop" })).toString("utf8");
}

/** All of a body, or a refusal (`tail: "refuse"`) when it has more bytes than that. */
export async function boundedBytes(
  response: Response,
  { maxBytes, tail }: { maxBytes: number; tail: "drop" | "refuse" },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  const reader = response.body?.getReader();
  if (!reader) return new Uint8Array();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      sizeBytes += next.value.length;
      if (sizeBytes > maxBytes) {
        if (tail === "drop") break;
        throw new EngineError("resourceExhausted", `The registry's answer has more than ${maxBytes} bytes`);
      }
      chunks.push(next.value);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
  return Buffer.concat(chunks);
}

function clip(text: string): string {
  return text.trim().slice(0, maxMessageCharacters);
}
