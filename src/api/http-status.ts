import type { ErrorCode } from "../common/index.ts";

/** The one table from our error codes to Docker's HTTP status codes. */
const statusByCode: Readonly<Record<ErrorCode, number>> = {
  invalidArgument: 400,
  notFound: 404,
  alreadyExists: 409,
  conflict: 409,
  notModified: 304,
  unauthenticated: 401,
  permissionDenied: 403,
  unavailable: 503,
  resourceExhausted: 507,
  unsupported: 501,
  cancelled: 499,
  internal: 500,
};

/** `data.httpStatus` overrides the code's own where Docker answers differently (a start's failures are 400 or 500). */
export function httpStatus(code: ErrorCode, data: Readonly<Record<string, unknown>>): number {
  return typeof data.httpStatus === "number" ? data.httpStatus : statusByCode[code];
}
