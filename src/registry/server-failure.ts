/** The error codes of the distribution specification 1.1 ("Error Codes"), and the status that each has unless the case says otherwise. */
const statuses = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  /** Not of the specification, which leaves them open: a registry's own fault, and a query that makes no sense. */
  UNKNOWN: 500,
  PAGINATION_NUMBER_INVALID: 400,
} as const;

export type FailureCode = keyof typeof statuses;

export interface FailureDetails {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly detail?: unknown;
}

/** A refusal that a client is told in the specification's JSON. */
export class RegistryFailure extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly detail: unknown;

  constructor(
    readonly code: FailureCode,
    message: string,
    details: FailureDetails = {},
  ) {
    super(message);
    this.status = details.status ?? statuses[code];
    this.headers = details.headers ?? {};
    this.detail = details.detail;
  }

  toResponse(method: string): Response {
    const body = JSON.stringify({
      errors: [
        { code: this.code, message: this.message, ...(this.detail === undefined ? {} : { detail: this.detail }) },
      ],
    });
    const headers = {
      ...this.headers,
      "Content-Type": "application/json",
      "Content-Length": String(Buffer.byteLength(body)),
    };
    return new Response(method === "HEAD" ? null : body, { status: this.status, headers });
  }
}
