import type { IncomingHttpHeaders } from "node:http2";
import { EngineError, toEngineError, type ErrorCode } from "../../common/index.ts";
import { bytes, integer, many, message, text } from "./protobuf.ts";

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

/** What a status says beside its sentence, in a form that its type tells. */
export interface StatusDetail {
  typeUrl: string;
  value: Uint8Array;
}

export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
  readonly details?: readonly StatusDetail[];
}

/** google.rpc.Status */
export const statusMessage = message<{ code: number; message: string; details: readonly StatusDetail[] }>({
  code: integer(1),
  message: text(2),
  details: many(3, message<StatusDetail>({ typeUrl: text(1), value: bytes(2) })),
});

/** A failure that is told to clients as this status, whatever its own code would say. */
export class StatusError extends EngineError {
  constructor(
    readonly status: GrpcStatus,
    cause?: unknown,
  ) {
    super(codeFrom.get(status.code) ?? "internal", status.message, { cause, data: { grpcStatus: status.code } });
  }
}

export function statusOf(thrown: unknown): GrpcStatus {
  if (thrown instanceof StatusError) return thrown.status;
  const error = toEngineError(thrown);
  return { code: codeOf[error.code], message: error.message };
}

/** The error of a status that is not OK. */
export function errorOf(status: GrpcStatus): EngineError {
  return new StatusError(status);
}

/** What does not fit is left out: clients drop a whole call whose trailers are too long. */
const maxDetailBytes = 24 * 1024;

/** Percent-encoded but for printable ASCII, as the protocol has `grpc-message`. */
export function statusTrailers(status: GrpcStatus): Record<string, string> {
  const sentence = [...Buffer.from(status.message)]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
    )
    .join("");
  const { code, details = [] } = status;
  const encoded = details.length > 0 ? statusMessage.encode({ code, message: status.message, details }) : undefined;
  return {
    "grpc-status": String(code),
    ...(sentence === "" ? {} : { "grpc-message": sentence }),
    ...(encoded === undefined || encoded.length > maxDetailBytes
      ? {}
      : { "grpc-status-details-bin": Buffer.from(encoded).toString("base64").replace(/=+$/, "") }),
  };
}

/** Undefined where the headers carry no status. */
export function readStatus(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  const code = headers["grpc-status"];
  if (code === undefined) return undefined;
  const written = String(headers["grpc-message"] ?? "");
  return { code: Number(code), message: decoded(written) };
}

function decoded(written: string): string {
  const bytes = written.replace(/%([0-9A-Fa-f]{2})|([^%]+|%)/g, (_, hex: string | undefined, rest: string) =>
    hex === undefined ? Buffer.from(rest).toString("latin1") : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}
