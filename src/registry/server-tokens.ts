import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What a token lets its bearer do in one repository. */
export interface TokenGrant {
  readonly type: "repository";
  readonly name: string;
  readonly actions: readonly string[];
}

export interface TokenClaims {
  /** Undefined: nobody in particular. */
  readonly user: string | undefined;
  readonly grants: readonly TokenGrant[];
}

export const tokenLifeSeconds = 300;
const header = encode({ alg: "HS256", typ: "JWT" });
const keyBytes = 32;

/**
 * Bearer tokens: JSON web tokens (RFC 7519) signed with HMAC-SHA256 by a key that is in the root, so that they outlive a restart. Only
 * this registry makes and reads them.
 */
export class Tokens {
  readonly #key: Uint8Array;

  constructor(root: string) {
    const path = join(root, "token.key");
    if (!existsSync(path)) writeKey(path);
    this.#key = readFileSync(path);
    if (this.#key.length !== keyBytes) throw new Error(`"${path}" is no key of ${keyBytes} bytes: delete it`);
  }

  issue({ user, grants }: TokenClaims, nowMs: number = Date.now()): string {
    const iat = Math.floor(nowMs / 1000);
    const claims = { iss: "vitrine registry", sub: user ?? "", iat, exp: iat + tokenLifeSeconds, access: grants };
    const signed = `${header}.${encode(claims)}`;
    return `${signed}.${this.#sign(signed).toString("base64url")}`;
  }

  /** Undefined for what is not ours, was changed, or has expired. */
  read(token: string, nowMs: number = Date.now()): TokenClaims | undefined {
    const [head = "", body = "", signature = "", ...rest] = token.split(".");
    if (rest.length > 0 || head !== header) return undefined;
    const given = Buffer.from(signature, "base64url");
    const right = this.#sign(`${head}.${body}`);
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as {
      sub: string;
      exp: number;
      access: TokenGrant[];
    };
    if (claims.exp * 1000 <= nowMs) return undefined;
    return { user: claims.sub === "" ? undefined : claims.sub, grants: claims.access };
  }

  #sign(text: string): Buffer {
    return createHmac("sha256", this.#key).update(text).digest();
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function writeKey(path: string): void {
  const descriptor = openSync(`${path}.new`, "w", 0o600);
  writeSync(descriptor, crypto.getRandomValues(new Uint8Array(keyBytes)));
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(`${path}.new`, path);
}
