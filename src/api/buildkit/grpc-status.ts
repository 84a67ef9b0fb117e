import type { IncomingHttpHeaders } from "node:http2";
import { EngineError, toEngineError, type ErrorCode } from "../../common/index.ts";

/** The one table from our error codes to gRPC's (grpc/grpc, doc/statuscodes.md). */
const codeOf: Readonly<Record<ErrorCode, number>> = {
  cancelled: 1,
  internal: 2,
  invalidArgument: 3,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  conflict: 9,
  notModified: 9,
  unsupported: 12,
  unavailable: 14,
  unauthenticated: 16,
};
const codeFrom = new Map<number, ErrorCode>([
  ...Object.entries(codeOf).map(([code, number]) => [number, code as ErrorCode] as const),
  [4, "unavailable"],
  [9, "conflict"],
  [10, "conflict"],
  [11, "invalidArgument"],
]);

export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
}

export function statusOf(thrown: unknown): GrpcStatus {
  const error = toEngineError(thrown);
  return { code: codeOf[error.code], message: error.message };
}

/** The error of a status that is not OK. */
export function errorOf(status: GrpcStatus): EngineError {
  return new EngineError(codeFrom.get(status.code) ?? "internal", status.message, {
    data: { grpcStatus: status.code },
  });
}

/** Percent-encoded but for printable ASCII, as the protocol has `grpc-message`. */
export function statusTrailers(status: GrpcStatus): Record<string, string> {
  const message = [...Buffer.from(status.message)]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
    )
    .join("");
  return { "grpc-status": String(status.code), ...(message === "" ? {} : { "grpc-message": message }) };
}

/** Undefined where the headers carry no status. */
export function readStatus(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  const code = headers["grpc-status"];
  if (code === undefined) return undefined;
  const message = String(headers["grpc-message"] ?? "");
  return { code: Number(code), message: decoded(message) };
}

function decoded(message: string): string {
  const bytes = message.replace(/%([0-9A-Fa-f]{2})|([^%]+|%)/g, (_, hex: string | undefined, rest: string) =>
    hex === undefined ? Buffer.from(rest).toString("latin1") : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}
